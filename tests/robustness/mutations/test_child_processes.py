"""Every kind of file that phenomae reads, changed at random, each read in a process of its own.

A command ends with code 0, or with code 1 and one sentence; never with a traceback, a signal or a
hang, and where it fails there is nothing under the name of its output. Artefacts are changed in
three ways: as they are, which their checksums find; signed again, so that the readers behind the
checksums meet the damage; and as format 1, which has no checksums. Maps lose their checksum in the
last two.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from changes import mutate

LIMIT_S = 120
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}

TABLES = {
    "pairs.csv": "entity1,entity2\nG001,G002\nG002,G003\nG005,G009\n",
    "complexes.txt": "one\tG001 G002 G003\ntwo\tG005 G009 G011\n",
    "sets.gmt": "one\tfirst\tG001\tG002\tG003\ntwo\tsecond\tG005\tG009\tG011\n",
    "mechanisms.csv": "compound,mechanism\nG001,A|B\nG002,B\nG003,A\nG005,C\nG009,C\n",
    "unexpressed.txt": "G001\nG002\nG003\n",
    "correct.toml": '[correct]\nmethod = "center-scale"\nbatch = "plate"\n',
    "map.toml": '[map]\nby = "gene"\nmin_wells = 1\nwhere = "plate != \'x\'"\n',
    "ingest.toml": '[ingest]\non_bad = "skip"\nworkers = 1\nbits = 16\n',
}
# What is changed, and a command that reads it. A first word before a slash, or alone, is what a
# command of `works` made; `tables` are those above.
READERS = (
    ("tables/pairs.csv", "benchmark map OUT --annotations CHANGED --shuffle 3"),
    ("tables/complexes.txt", "ask complexes map OUT --complexes CHANGED --min-genes 2"),
    ("tables/sets.gmt", "ask enrichment map OUT --complexes CHANGED --shuffle 3 --resamples 3"),
    ("tables/mechanisms.csv", "ask mechanisms embed OUT --mechanisms CHANGED --shuffle 3"),
    ("tables/unexpressed.txt", "ask signal correct OUT --by gene --unexpressed CHANGED"),
    ("tables/correct.toml", "correct embed OUT --config CHANGED"),
    ("tables/map.toml", "map embed OUT --config CHANGED"),
    ("tables/ingest.toml", "ingest simulate OUT --config CHANGED"),
    ("simulate", "ingest CHANGED OUT --workers 1"),
    ("ingest", "features CHANGED OUT --kind count"),
    ("ingest", "store check CHANGED"),
    ("ingest", "ingest simulate CHANGED --workers 1"),
    ("pretrain", "report OUT --run CHANGED"),
    ("embed", "correct CHANGED OUT --batch plate"),
    ("embed", "map CHANGED OUT"),
    ("features", "map CHANGED OUT"),
    ("correct", "export CHANGED OUT.csv"),
    ("correct", "ask neighbours CHANGED OUT --by gene"),
    ("map", "benchmark CHANGED OUT --annotations simulate/relationships.csv --shuffle 3"),
    ("map", "export CHANGED OUT.csv"),
    ("benchmark", "report OUT --results CHANGED --map map"),
    ("pretrain", "embed ingest CHANGED OUT --device cpu --precision float32"),
    ("pretrain", "check CHANGED"),
    ("published", "weights import CHANGED OUT --channels 1,2,3,4,5,6"),
    ("benchmark", "check CHANGED"),
)


@dataclass(frozen=True)
class Change:
    """One changed copy, and what came of reading it."""

    done: str
    code: int
    out: str
    err: str
    left: list[str]
    """What lies in the folder of the output afterwards."""

    def require_clear_end(self) -> None:
        """Fail unless the command succeeded, or failed with one sentence and left nothing."""
        shown = f"{self.done}: code {self.code}\n{self.out[-500:]}\n{self.err[-3000:]}"
        assert self.code in (0, 1), shown
        assert "Traceback" not in self.err, shown
        if self.code == 1:
            assert self.err.startswith("phenomae: "), shown
            assert self.err.count("\n") == 1, shown
            assert [name for name in self.left if not name.endswith(".partial")] == [], shown


def read_changed(seed: int, made: dict[str, Path], home: Path, resign) -> Change:
    """Change a copy of what a reader of the table reads, and run that reader in a new process."""
    rng = random.Random(seed)
    what, line = READERS[seed % len(READERS)]
    first, _, rest = what.partition("/")
    source = made[first] / rest if rest else made[first]
    inside = home / "inputs"
    inside.mkdir(parents=True)
    changed = inside / source.name
    (shutil.copytree if source.is_dir() else shutil.copy)(source, changed)
    way = rng.choice(["as it is", "signed again", "format 1"])
    if way == "format 1" and (changed / "artefact.json").exists():
        make_format_1(changed / "artefact.json")
    elif way != "as it is" and changed.suffix == ".h5ad":
        changed.write_bytes(changed.read_bytes()[:-73])  # its checksum
    done = mutate(rng, changed if source.is_dir() else inside)
    if way == "signed again" and (changed / "artefact.json").exists():
        try:
            resign(changed)
        except (ValueError, KeyError, OSError, TypeError, RecursionError):
            way = "a changed signature"
    if not changed.exists():  # renamed, or removed
        changed = next(inside.iterdir(), changed)
    out = home / "outputs" / f"out{made['map'].suffix if ' map ' in f' {line} ' else ''}"
    out.parent.mkdir()
    command = list(fill(line, {**made, "CHANGED": changed, "OUT": out}))
    code, said, err = run(command)
    names = ", ".join(f"{kind} {path.relative_to(inside)}" for kind, path in done)
    left = sorted(path.name for path in out.parent.iterdir())
    shutil.rmtree(home)
    return Change(f"seed {seed} ({way}; {names}) {line}", code, said, err, left)


def fill(line: str, places: dict[str, Path]) -> Iterator[str]:
    """Yield the words of a command line with names of artefacts replaced by paths."""
    command, *words = line.split()
    yield command
    for word in words:
        first, slash, rest = word.partition("/")
        stem, dot, suffix = first.partition(".")
        yield f"{places[stem]}{dot}{suffix}{slash}{rest}" if stem in places else word


def make_format_1(path: Path) -> None:
    signature = json.loads(path.read_text())
    del signature["files"], signature["checksum"]
    path.write_text(json.dumps({**signature, "format": 1}))


def run(words: list[str]) -> tuple[int, str, str]:
    """Run a command in a new process; a hang ends as subprocess.TimeoutExpired."""
    ended = subprocess.run(
        [sys.executable, "-m", "phenomae", *words, "--quiet"],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LIMIT_S,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="session")
def made(works, tmp_path_factory) -> dict[str, Path]:
    """What every command made, and the tables."""
    tables = tmp_path_factory.mktemp("tables")
    for name, text in TABLES.items():
        (tables / name).write_text(text)
    return {**{name: work.whole for name, work in works.items()}, "tables": tables}


@pytest.mark.parametrize("seed", range(0, len(READERS), 4))
def test_a_changed_file_ends_in_a_result_or_in_one_sentence(seed, made, tmp_path, resign):
    read_changed(seed, made, tmp_path / "home", resign).require_clear_end()


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(1, 21))
def test_two_thousand_changed_files(hundred, made, tmp_path, resign):
    changes = [
        read_changed(seed, made, tmp_path / "home", resign)
        for seed in range(100 * hundred, 100 * hundred + 100)
    ]
    for change in changes:
        change.require_clear_end()
    assert 10 < sum(change.code for change in changes) < 95  # or the changes show little
