"""Every command that writes, on inputs so small that it takes a second, and what it makes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from phenomae import cli

CLOCKS = ("time", "seconds", "crops_per_s", "data_wait", "mfu")

SIMULATE = "--genes 12 --complexes 4 --guides 1 --batches 2 --controls 4 --sites 1 --field-size 64"
PRETRAIN = (
    "--crop-size 32 --patch-size 8 --embed-dim 16 --depth 1 --num-heads 2 --decoder-embed-dim 16 "
    "--decoder-depth 1 --decoder-num-heads 2 --steps 12 --crops-per-step 8 --checkpoint-every 4 "
    "--log-every 3 --validation-every 5 --device cpu --precision float32"
)
# Command, its words (OUT is what it makes, other names are what commands before it made), and the
# flags that make it other work. Each stands on those above it.
TABLE = {
    "simulate": (f"simulate OUT {SIMULATE}", "--seed 1"),
    "ingest": ("ingest simulate OUT --workers 2", "--bits 8"),
    "pretrain": (f"pretrain vit-mae ingest OUT {PRETRAIN}", "--seed 1"),
    "published": ("weights export pretrain OUT", ""),
    "imported": ("weights import published OUT", "--channels 1,2,3,4,5,6"),
    "embed": ("embed ingest pretrain OUT --device cpu --precision float32", "--crops-at-once 7"),
    "qc": ("qc ingest OUT", "--z 9"),
    "features": ("features ingest OUT", "--kind count"),
    "correct": ("correct embed OUT --batch plate", "--method center-scale"),
    "map": ("map correct OUT", "--through wells"),
    "benchmark": (
        "benchmark map OUT --annotations simulate/relationships.csv --shuffle 3",
        "--seed 1",
    ),
}


@dataclass(frozen=True)
class Work:
    """One command on small inputs."""

    name: str
    line: str
    other: list[str]
    """Flags that make it other work; none where it has no setting."""
    made: dict[str, Path]
    """What this command and those above it made, undisturbed."""

    @property
    def whole(self) -> Path:
        """What the command makes when nothing disturbs it."""
        return self.made[self.name]

    def out(self, folder: Path) -> Path:
        """Return where the command may write in a folder."""
        return folder / f"out{self.whole.suffix}"

    def words(self, out: Path) -> list[str]:
        """Return the command line that writes `out`."""
        return [self._place(word, out) for word in self.line.split()]

    def _place(self, word: str, out: Path) -> str:
        if word == "OUT":
            return str(out)
        first, slash, rest = word.partition("/")
        if word == self.line.split()[0] or first not in self.made:
            return word
        return f"{self.made[first]}{slash}{rest}"


@pytest.fixture(scope="session")
def works(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Work]:
    """Every command by its name, with what it made undisturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    made: dict[str, Path] = {}
    works = {}
    for name, (line, other) in TABLE.items():
        made[name] = folder / (f"{name}.h5ad" if name == "map" else name)
        works[name] = Work(name, line, other.split(), dict(made))
        assert cli.run(["--quiet", *works[name].words(made[name])]) == 0
    return works


@pytest.fixture
def work(works: dict[str, Work], request: pytest.FixtureRequest) -> Work:
    """The command that a test is parametrised with (`indirect`)."""
    return works[request.param]


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, object]]:
    """A function that returns every file of an artefact by its name.

    Clocks are left out, and what `artefact.json` of a run says of the files that hold them.
    """
    return _contents


def _parts_of_tensors(name: str, content: bytes) -> dict[str, object]:
    """Return the header and each tensor of a file of tensors, so that a test tells which differ."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    parts = {f"{name} metadata": header.pop("__metadata__", None)}
    for tensor, its in header.items():
        begin, end = its["data_offsets"]
        parts[f"{name} {tensor}"] = content[start + begin : start + end]
    return parts


def _contents(path: Path) -> dict[str, object]:
    if path.is_file():
        return {"": path.read_bytes()}
    files = sorted(file for file in path.rglob("*") if file.is_file())
    content = {str(file.relative_to(path)): file.read_bytes() for file in files}
    found: dict[str, object] = {}
    for name, its in content.items():
        # The parts first, because a failure shows the first differences only.
        found |= _parts_of_tensors(name, its) if name.endswith(".safetensors") else {}
    found |= content
    found.pop("environment.txt", None)
    if path.joinpath("artefact.json").exists():
        signature = json.loads((path / "artefact.json").read_text())
        if signature["kind"] == "run":
            del signature["checksum"]
            for name in ("environment.txt", "log.jsonl"):
                signature["files"].pop(name, None)
            found["artefact.json"] = signature
    if "log.jsonl" in found:
        records = map(json.loads, (path / "log.jsonl").read_text().splitlines())
        found["log.jsonl"] = [
            {key: value for key, value in record.items() if key not in CLOCKS} for record in records
        ]
    return found
