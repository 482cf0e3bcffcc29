"""Artefacts know their content: nothing that was lost, changed, added or mixed is read as whole."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from phenomae import cli, signatures
from phenomae.correction.saved import read_chain
from phenomae.maps.read import read_map
from phenomae.reporting.check import INPUT, check
from phenomae.runs import is_sealed
from phenomae.wells import open_wells, read_wells

PHENOMAE = [sys.executable, "-m", "phenomae"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
KINDS = {
    "wells": "embed",
    "map": "map",
    "store": "ingest",
    "weights": "pretrain",
    "checkpoint": "pretrain",
    "results": "benchmark",
}


def last_checkpoint(run: Path) -> Path:
    return max((run / "checkpoints").glob("*.safetensors"))


def copy_to(whole: Path, folder: Path) -> Path:
    if whole.is_file():
        return Path(shutil.copy(whole, folder / whole.name))
    return shutil.copytree(whole, folder / whole.name)


def flip(file: Path, rng: random.Random) -> tuple[bytes, str]:
    """Flip one bit of a file; return what it held and which bit it was."""
    content = file.read_bytes()
    place, bit = rng.randrange(len(content)), rng.randrange(8)
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    file.write_bytes(changed)
    return content, f"bit {bit} of byte {place} of {file}"


def list_failures(kind: str, path: Path, count: int, seed: int) -> list[str]:
    """Return what `flip_bits.py` prints; see there."""
    script = Path(__file__).with_name("flip_bits.py")
    words = [sys.executable, str(script), kind, str(path), str(count), str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    ended = [] if done.returncode == 0 else [f"exit code {done.returncode}: {done.stderr[-500:]}"]
    return [*done.stdout.splitlines(), *ended]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_refused_or_changes_nothing(works, tmp_path, kind):
    path = copy_to(works[KINDS[kind]].whole, tmp_path)
    assert list_failures(kind, path, 25, seed=0) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_flipped_bits(works, tmp_path, kind, seed):
    path = copy_to(works[KINDS[kind]].whole, tmp_path)
    assert list_failures(kind, path, 85, seed=seed) == []


def test_check_finds_what_readers_pass_over(works, tmp_path, capsys):
    """A log, a picture, a checkpoint, metadata of a plate: files that are not read on the way."""
    rng = random.Random(0)
    run, store = (copy_to(works[name].whole, tmp_path) for name in ("pretrain", "ingest"))
    table = check(run)
    assert table.select("kind", "state").row(0) == ("run", "complete")
    assert "complete" in capsys.readouterr().out
    names = ("log.jsonl", "reconstructions.png", last_checkpoint(run).relative_to(run))
    for name in names:
        content, _ = flip(run / name, rng)
        with pytest.raises(ValueError, match=rf"{name} has changed since phenomae wrote it"):
            check(run)
        (run / name).write_bytes(content)
    check(run)
    plate = next(store.glob("*.zarr")) / "zarr.json"
    plate.write_text(plate.read_text().replace('"A"', '"B"', 1))
    with pytest.raises(ValueError, match=r"ingest is damaged: .*zarr"):
        check(store)


def test_check_follows_the_sources(works, tmp_path, capsys):
    made = works["benchmark"].made
    table = check(made["benchmark"])
    states = {Path(output).name: state for output, state in table.select("output", "state").rows()}
    assert states == {
        "benchmark": "complete",
        "map.h5ad": "complete",
        "correct": "complete",
        "embed": "complete",
        "ingest": "complete",
        "pretrain": "complete",
        "raw": INPUT,
        "wells": INPUT,
        "annotations": INPUT,
    }
    alone = copy_to(made["benchmark"], tmp_path)
    states = dict(check(alone).select("output", "state").rows())
    assert states[str(alone)] == "complete"
    assert states["map"] == "not found here"
    found = check(alone, among=[made["map"].parent])
    assert found["state"].to_list().count("complete") == 6
    with pytest.raises(ValueError, match="among nowhere: there is no such folder"):
        check(alone, among=["nowhere"])
    (tmp_path / "mine.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"mine.csv is nothing that phenomae made: expected"):
        check(tmp_path / "mine.csv")
    capsys.readouterr()


def test_check_verifies_single_files(works, tmp_path):
    made, rng = works["map"].made, random.Random(1)
    table, saved = tmp_path / "table.csv", tmp_path / "fit.npz"
    assert cli.run(["export", str(made["map"]), str(table)]) == 0
    out = tmp_path / "corrected"
    assert cli.run(["correct", str(made["embed"]), str(out), "--save", str(saved)]) == 0
    for path in (table, saved):
        check(path)
        refused = 0
        for _ in range(40):  # some bits of a zip file mean nothing
            content, _ = flip(path, rng)
            signatures._verified.clear()
            try:
                check(path)
            except ValueError:
                refused += 1
            path.write_bytes(content)
        assert refused == 40 if path == table else refused > 30
    read_chain(saved)
    record = json.loads((tmp_path / "table.csv.artefact.json").read_text())
    assert record["sources"] == {"source": read_map(made["map"]).identity}


def make_foreign(folder: Path) -> None:
    file = next(folder.glob("*.parquet"))
    shutil.copy(file, folder / f"another{file.suffix}")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "lost": (lambda folder: next(folder.glob("*.parquet")).unlink(), r"B1P1.parquet is missing"),
    "foreign": (make_foreign, r"another.parquet does not belong to it .*move it elsewhere"),
    "unfinished": (
        lambda folder: edit(folder, identity=None),
        r"is unfinished: run the command that makes it again",
    ),
    "newer": (
        lambda folder: edit(folder, format=3),
        r"has format 3, of phenomae .*, but phenomae .* reads formats up to 2: install a newer",
    ),
    "settings edited": (
        lambda folder: replace_text(folder / "artefact.json", '"pool": "mean"', '"pool": "cls"'),
        r"is damaged: what is recorded of its origin and files has changed",
    ),
}


def edit(folder: Path, **changes: object) -> None:
    path = folder / "artefact.json"
    signature = {**json.loads(path.read_text()), **changes}
    del signature["checksum"]
    path.write_text(json.dumps({**signature, "checksum": signatures.hash_json(signature)}))


def replace_text(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("damage", DAMAGE)
def test_wells_that_lost_or_gained_a_file_are_refused(works, tmp_path, damage):
    change, sentence = DAMAGE[damage]
    wells = copy_to(works["embed"].whole, tmp_path)
    change(wells)
    for read in (read_wells, open_wells):
        with pytest.raises(ValueError, match=sentence):
            read(wells)
    assert cli.run(["correct", str(wells), str(tmp_path / "out"), "--quiet"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [wells.name]


def test_files_of_other_programs_do_not_disturb(works, tmp_path):
    wells = copy_to(works["embed"].whole, tmp_path)
    (wells / "notes.txt").write_text("plate 2 was warm")
    (wells / "._B1P1.parquet").write_bytes(b"\0\5\26\7")  # what macOS writes on other disks
    assert read_wells(wells).table.height > 0


def as_version_1(folder: Path) -> None:
    """Sign as version 0.1 did: without files and checksum."""
    path = folder / "artefact.json"
    signature = json.loads(path.read_text())
    del signature["files"], signature["checksum"]
    path.write_text(json.dumps({**signature, "format": 1, "version": "0.1.0"}))


def test_what_version_1_made_is_read_and_not_vouched_for(works, tmp_path, capsys):
    made = works["correct"].made
    wells = copy_to(made["embed"], tmp_path)
    as_version_1(wells)
    out = [str(wells), str(tmp_path / "out")]
    assert cli.run(["correct", *out]) == 0
    said = capsys.readouterr().err
    assert f"{wells} was made by phenomae 0.1.0, which recorded no checksums" in said
    assert check(wells)["state"][0] == "not known: made without checksums"
    # Its own output of the same settings is told to be of that version.
    as_version_1(tmp_path / "out")
    capsys.readouterr()
    assert cli.run(["correct", *out]) == 0
    said = capsys.readouterr().err
    assert "is already there, made by phenomae 0.1.0 with the same settings" in said
    assert "overwrite makes it anew" in said


@pytest.mark.parametrize("name", ["qc", "features", "correct", "benchmark"])
def test_overwrite_keeps_what_is_not_the_artefacts(works, tmp_path, name, capsys):
    work = works[name]
    out = work.out(tmp_path)
    assert cli.run(work.words(out)) == 0
    (out / "notes.txt").write_text("mine")
    (out / "pictures").mkdir()
    (out / "pictures/plate.pdf").write_text("mine, too")
    assert cli.run([*work.words(out), *work.other, "--overwrite"]) == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "pictures/plate.pdf").read_text() == "mine, too"
    assert "notes.txt, which is not a file of the artefact" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name]
    check(out)


def test_overwrite_keeps_labels_that_others_wrote_into_a_store(works, tmp_path):
    work = works["ingest"]
    store = work.out(tmp_path)
    assert cli.run(work.words(store)) == 0
    plate = next(store.glob("*.zarr"))
    image = next(plate.glob("*/*/0"))
    labels = image / "labels/cells/zarr.json"
    labels.parent.mkdir(parents=True)
    labels.write_text("{}")
    assert cli.run([*work.words(store), *work.other, "--overwrite"]) == 0
    assert labels.read_text() == "{}"
    check(store)


@pytest.mark.parametrize("name", ["simulate", "qc", "features", "correct", "map", "benchmark"])
def test_an_output_inside_another_artefact_is_refused(works, tmp_path, name, capsys):
    wells = copy_to(works["embed"].whole, tmp_path)
    work = works[name]
    out = wells / work.out(tmp_path).name
    before = sorted(wells.iterdir())
    assert cli.run(work.words(out)) == 1
    assert f"is inside {wells}, which phenomae made" in capsys.readouterr().err
    assert sorted(wells.iterdir()) == before


def test_a_link_is_resolved_once_and_stays(works, tmp_path):
    work = works["features"]
    (tmp_path / "disk").mkdir()
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "disk/wells")
    assert cli.run(work.words(link)) == 0
    assert cli.run([*work.words(link), *work.other, "--overwrite"]) == 0
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "out"]
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["wells"]
    check(link)


def test_a_failed_command_leaves_nothing(works, tmp_path, capsys):
    made = works["benchmark"].made
    deep = tmp_path / "new/deeper"
    wells = str(made["embed"])
    for words in (
        ["correct", wells, str(deep / "out"), "--batch", "nothing"],
        ["correct", wells, str(deep / "out"), "--features", "0:9999"],
        ["map", wells, str(deep / "out.h5ad"), "--by", "compound"],
        ["ask", "signal", wells, str(deep / "out"), "--by", "compound"],
        ["ask", "probe", wells, str(deep / "out"), "--by", "compound"],
        ["benchmark", str(made["map"]), str(deep / "out"), "--annotations", "nowhere"],
        ["features", str(made["ingest"]), str(deep / "out"), "--where", "plate = 'P9'"],
        ["qc", str(made["ingest"]), str(deep / "out"), "--where", "plate = 'P9'"],
    ):
        assert cli.run(words) == 1, words
        assert list(tmp_path.iterdir()) == [], words
    capsys.readouterr()


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command in a process of its own, which ends with the test."""
    running: list[subprocess.Popen[str]] = []

    def call(words: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*PHENOMAE, *words], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        running.append(process)
        return process

    yield call
    for process in running:
        process.kill()
        process.communicate()


def wait_for(lock: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a process holds a lock, which it then writes itself into, or has ended."""
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            if lock.stat().st_size:
                return
        time.sleep(0.002)


def test_while_one_call_writes_another_says_who_does(works, tmp_path, start, capsys):
    work = works["features"]
    out = work.out(tmp_path)
    first = start(work.words(out))
    lock = tmp_path / "out.partial/writer.lock"
    wait_for(lock, first)
    os.kill(first.pid, signal.SIGSTOP)
    assert lock.exists(), "the command was faster than the signal"
    for flags in ([], [*work.other, "--overwrite"]):
        assert cli.run([*work.words(out), *flags]) == 1
        said = capsys.readouterr().err
        assert f"{out} is being written by another call, process {first.pid} on " in said
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0
    assert not list(out.glob("*.lock"))
    check(out)


def kill_one(works: dict[str, Any], folder: Path, start: Callable) -> tuple[Any, Path, int]:
    """Kill a command that holds its lock; return its work, its output and its process."""
    work = works["features"]
    out = work.out(folder)
    first = start(work.words(out))
    wait_for(folder / "out.partial/writer.lock", first)
    first.kill()
    first.wait()
    if out.exists():
        pytest.skip("the command was faster than the signal")
    return work, out, first.pid


def test_a_killed_call_is_told_and_its_lock_taken_over(works, tmp_path, start, capsys):
    work, out, pid = kill_one(works, tmp_path, start)
    assert cli.run(work.words(out)) == 0
    said = capsys.readouterr().err
    assert f"an earlier call, process {pid} on " in said
    check(out)


def test_where_there_are_no_locks_a_second_call_asks(works, tmp_path, start, monkeypatch, capsys):
    """As on some network file systems."""

    def flock(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    work, out, _ = kill_one(works, tmp_path, start)
    monkeypatch.setattr("fcntl.flock", flock)
    assert cli.run(work.words(out)) == 1
    assert "if it has ended, delete " in capsys.readouterr().err
    (tmp_path / "out.partial/writer.lock").unlink()
    assert cli.run(work.words(out)) == 0
    check(out)


def run_pair(work: Any, out: Path, rng: random.Random) -> str:
    """Start a command and other work on one output, at random moments; return what they said."""
    first_words = work.words(out)
    second_words = [*work.words(out), *work.other, *rng.choice([[], ["--overwrite"]])]
    both = [first_words, second_words]
    rng.shuffle(both)
    processes = []
    for words in both:
        processes.append(
            subprocess.Popen(
                [*PHENOMAE, *words], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
            )
        )
        time.sleep(rng.uniform(0, 1.5))
    if rng.random() < 0.5 and processes[0].poll() is None:
        os.kill(processes[0].pid, signal.SIGSTOP)
        time.sleep(rng.uniform(0, 1.5))
        os.kill(processes[0].pid, signal.SIGCONT)
    said = [process.communicate()[1] for process in processes]
    assert all(process.returncode in (0, 1) for process in processes), said
    return "\n".join(said)


PAIRED = ("features", "correct", "map", "benchmark", "ingest")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(100))
def test_pairs_of_commands_never_mix(works, tmp_path, number, contents):
    rng = random.Random(number)
    work = works[PAIRED[number % len(PAIRED)]]
    (tmp_path / "pair").mkdir()
    out = work.out(tmp_path / "pair")
    said = run_pair(work, out, rng)
    check(out)
    wholes = []
    for flags in ([], work.other):
        whole = work.out(make_folder(tmp_path / f"whole{len(wholes)}"))
        assert cli.run([*work.words(whole), *flags, "--quiet"]) == 0
        wholes.append(contents(whole))
    assert contents(out) in wholes
    # One of the two says what is going on, unless the second call replaced what the first made.
    explained = ("is being written by", "already there", "made with another", "overwrite")
    assert any(words in said for words in explained) or contents(out) == wholes[1], said


def make_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_checkpoint_is_sealed(works):
    assert is_sealed(last_checkpoint(works["pretrain"].whole)) is True


def test_tables_of_results_are_verified(works, tmp_path):
    from phenomae.evaluation.results import Results

    folder = copy_to(works["benchmark"].whole, tmp_path)
    assert isinstance(Results(folder).to_polars("recall"), pl.DataFrame)
    table = (folder / "recall.csv").read_text()
    (folder / "recall.csv").write_text(table.replace("0.", "1.", 1))
    with pytest.raises(ValueError, match=r"recall.csv has changed since phenomae wrote it"):
        Results(folder).to_polars("recall")
