"""The folder of a training run: config.toml, environment.txt, log.jsonl, checkpoints, weights.

Other artefacts are written to a temporary folder and renamed. A run is written in place, because
its log and pictures are read during the training; `artefact.json` has an identity only once the run
is finished.
"""

import hashlib
import json
import os
import platform
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import tomli_w

from phenomae.artefacts import (
    is_begun,
    refuse_inside,
    remove_artefact,
    remove_partial_files,
    remove_replaced,
    set_aside,
)
from phenomae.locks import writer_lock
from phenomae.outputs import TableOutput
from phenomae.signatures import Origin, read_signature, require_same_work, sign
from phenomae.whole_files import sha256_of, whole_file

if TYPE_CHECKING:
    import polars

KIND = "run"
WEIGHTS = "weights"
SHOWN = ("log.jsonl", "reconstructions.png")
"""Files of a run that reports and comparisons show."""
FILES = (
    "config.toml",
    "environment.txt",
    *SHOWN,
    f"{WEIGHTS}/config.json",
    f"{WEIGHTS}/model.safetensors",
)
UNSEALED = 64 * "0"
"""What `sha256` of a checkpoint's notes is before `seal_checkpoint`."""
# Besides the line with its loss, a step may have one line of each of these kinds in the log.
_KINDS = ("passed_over", "recall", "validation_loss")


class Stopped(Exception):  # noqa: N818
    """Raised when a training has saved its state after a signal to stop; the exit code is 75."""


@dataclass(frozen=True, repr=False)
class Run(TableOutput):
    """The folder of a finished training run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    def __repr__(self) -> str:
        settings = self.settings
        return f"Run({str(self.path)!r}, family={self.family!r}, steps={settings['steps']})"

    @property
    def family(self) -> str:
        """The network family, as named in the command that made the run."""
        (family,) = self._config
        return family

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of the run, including those of the network."""
        (settings,) = self._config.values()
        return settings

    def to_polars(self) -> "polars.DataFrame":
        """Return the log: one row per line of `log.jsonl`, null for values that a line lacks."""
        import polars as pl

        # Types are inferred from all rows, because the first lines may lack recall.
        return pl.DataFrame(read_log(self.path), infer_schema_length=None)

    @property
    def _config(self) -> dict[str, Any]:
        with open(self.path / "config.toml", "rb") as file:
            return tomllib.load(file)["pretrain"]


@contextmanager
def run_folder(
    folder: Path,
    origin: Origin,
    command: str,
    *,
    settings: dict[str, Any] | None = None,
    overwrite: bool = False,
    machine: dict[str, str] | None = None,
) -> Iterator[Callable[[], None]]:
    """Create the run folder, or open one that was started for the same work, and lock it.

    Writes `settings` (None: those of the origin) to `config.toml`, with which the run can be
    repeated, and package versions and `machine` to `environment.txt`. With `overwrite`, an
    unfinished run of other work is removed first, and a finished run is kept as RUN.replaced until
    this run is finished. Raises ValueError if `folder` is a run of other work and `overwrite` is
    false, if `folder` is not a run or lies in another artefact, or if another call trains it.
    """
    refuse_inside(folder)
    if overwrite and is_begun(folder):
        with writer_lock(folder, folder.name):
            _make_room(folder, origin)
    with writer_lock(folder, folder.name) as require_held:
        if is_begun(folder):
            require_same_work(folder, read_signature(folder, KIND), origin)
        else:
            sign(folder, origin, identity=None, files={})
        remove_partial_files(folder)
        _write_text(folder / "config.toml", _config(command, settings or origin.settings))
        _write_text(folder / "environment.txt", _environment(machine or {}))
        yield require_held


def is_finished(folder: Path) -> bool:
    """Return whether `folder` is a run that was trained to its end."""
    return is_begun(folder) and read_signature(folder, KIND)["identity"] is not None


def finish_run(folder: Path, origin: Origin, identity: str) -> None:
    """Sign a run whose files are complete; `identity` is a hash of its weights.

    A run that it replaces is removed afterwards, so that a complete run exists at any time.
    """
    # Checkpoints have their own checksums and may be deleted; trackers write files of their own.
    own = {name: folder / name for name in FILES if (folder / name).exists()}
    sign(folder, origin, identity, {name: sha256_of(path) for name, path in own.items()})
    remove_replaced(folder)


def cut_log(folder: Path, step: int) -> None:
    """Remove the lines of `log.jsonl` after `step`, which a run that continues writes again.

    If `step` is 0, lines of step 0 are removed, too. Lines about skipped steps stay, because
    skipped steps are not taken again.
    """
    if (folder / "log.jsonl").exists():
        kept = [
            record
            for record in read_log(folder)
            if "passed_over" in record or (step and record["step"] <= step)
        ]
        lines = "".join(json.dumps(record) + "\n" for record in kept)
        _write_text(folder / "log.jsonl", lines)


def append_log(folder: Path, **record: Any) -> None:
    """Append a line to `log.jsonl`, with the current Unix time as `time`."""
    path = folder / "log.jsonl"
    try:
        with open(path, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps({**record, "time": round(time.time(), 3)}) + "\n")
    except OSError as error:
        # On a full disk `write` raises an error without a file name.
        raise OSError(error.errno, error.strerror, str(path)) from None


def read_log(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the records of `log.jsonl`, sorted by step; truncated lines are left out.

    A run that continues may log a step again; only the later record of a step is returned.
    Raises ValueError if a line is JSON but no record.
    """
    path = Path(folder) / "log.jsonl"
    if not path.exists():
        return []
    records: dict[tuple[int, str], dict[str, Any]] = {}
    for line in path.read_text(errors="replace").splitlines():
        try:
            record = json.loads(line)
        # A kill in the middle of a write leaves half a line.
        except (json.JSONDecodeError, RecursionError):
            continue
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise ValueError(f"{path} is damaged: a line of it is no record of a step")
        kind = next((name for name in _KINDS if name in record), "")
        records[record["step"], kind] = record
    return [records[key] for key in sorted(records)]


def seal_checkpoint(path: Path) -> None:
    """Write the SHA-256 of a safetensors file into it, over the zeros that `UNSEALED` are.

    The checksum is of the file with the zeros. Raises ValueError if they are not in its header.
    """
    with open(path, "rb+") as file:
        header = _read_header(file)
        place = header.find(UNSEALED.encode())
        if place < 0:
            raise ValueError(f"{path} has no place for a checksum")
        checksum = _hash_unsealed(file, header)
        file.seek(place)
        file.write(checksum.encode())


def is_sealed(path: Path) -> bool | None:
    """Return whether a checkpoint has the checksum that it records; None if it records none."""
    with open(path, "rb") as file:
        header = _read_header(file)
        # The metadata is JSON in JSON.
        found = re.search(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"', header)
        if found is None:
            return None
        unsealed = header[: found.start(1)] + UNSEALED.encode() + header[found.end(1) :]
        return _hash_unsealed(file, unsealed) == found[1].decode()


def find_damaged_checkpoints(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the checkpoints of a run, one sentence for each that is damaged."""
    for path in sorted((folder / "checkpoints").glob("step-*.safetensors")):
        if is_sealed(path) is False:
            yield f"checkpoints/{path.name} has changed since phenomae wrote it"


def _read_header(file: BinaryIO) -> bytes:
    """Return the length and the header with which a safetensors file begins."""
    length = file.read(8)
    # Not more than safetensors itself reads: the length of a damaged file can be anything.
    return length + file.read(min(int.from_bytes(length, "little"), 100_000_000))


def _hash_unsealed(file: BinaryIO, header: bytes) -> str:
    """Return the SHA-256 of a file as if it began with `header`, which was just read from it."""
    checksum = hashlib.sha256(header)
    file.seek(len(header))
    while block := file.read(2**20):
        checksum.update(block)
    return checksum.hexdigest()


def _config(command: str, settings: dict[str, Any]) -> str:
    # TOML has no null; a key that is left out gets its default, which is None for these settings.
    table: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    for word in reversed(command.split()):
        table = {word: table}
    return f"# phenomae {command} STORE RUN --config config.toml\n" + tomli_w.dumps(table)


def _make_room(folder: Path, origin: Origin) -> None:
    """Remove or set aside a run, unless it is an unfinished run of the same work."""
    if not is_begun(folder):
        return
    found = read_signature(folder, KIND)
    if found["identity"] is not None:
        set_aside(folder)
    elif not _is_same(folder, found, origin):
        remove_artefact(folder)


def _is_same(folder: Path, found: dict[str, Any], origin: Origin) -> bool:
    try:
        require_same_work(folder, found, origin)
    except ValueError:
        return False
    return True


def _environment(machine: dict[str, str]) -> str:
    lines = [f"written {time.strftime('%Y-%m-%dT%H:%M:%S%z')}", f"python {sys.version.split()[0]}"]
    lines += [f"machine {platform.platform()}", *(f"{key} {machine[key]}" for key in machine)]
    return "\n".join([*lines, *_list_packages()]) + "\n"


@cache  # because it reads a file of every package
def _list_packages() -> list[str]:
    # All installed packages, because numerical differences mostly come from dependencies.
    return sorted(f"{item.name}=={item.version}" for item in distributions())


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
