"""A run is a folder: config.toml, environment.txt, log.jsonl, weights/."""

import json
import platform
import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import tomli_w

from phenomae.artefacts import (
    Origin,
    is_begun,
    read_signature,
    remove_artefact,
    remove_replaced,
    require_same_work,
    set_aside,
    sign,
    whole_file,
)


class Stopped(Exception):  # noqa: N818
    """Work that was asked to stop and has saved what it had: to be started again (exit code 75)."""


KIND = "run"
WEIGHTS = "weights"
_KINDS = ("passed_over", "recall", "validation_loss")
"""What tells lines of `log.jsonl` that are of one step apart; the others have its loss."""


def begin_run(
    folder: Path,
    origin: Origin,
    command: str,
    *,
    settings: dict[str, Any] | None = None,
    overwrite: bool = False,
    machine: dict[str, str] | None = None,
) -> None:
    """Make the run folder, or find one that was begun for the same work.

    Writes `config.toml`, which repeats the run (`phenomae COMMAND --config RUN/config.toml`), from
    `settings` (None: those of the origin), and `environment.txt`, with what `machine` says about
    where it runs. With `overwrite` an unfinished run of other work is removed first, and a finished
    run lies beside as RUN.replaced until this one is finished. Raises ValueError where `folder`
    holds other work (and `overwrite` is false) or something else.
    """
    if overwrite:
        _make_room(folder, origin)
    if is_begun(folder):
        require_same_work(folder, read_signature(folder, KIND), origin)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        sign(folder, origin, identity=None)
    _write_text(folder / "config.toml", _config(command, settings or origin.settings))
    _write_text(folder / "environment.txt", _environment(machine or {}))


def is_finished(folder: Path) -> bool:
    """Say whether `folder` is a run that came to its end."""
    return is_begun(folder) and read_signature(folder, KIND)["identity"] is not None


def finish_run(folder: Path, origin: Origin, identity: str) -> None:
    """Sign a run whose files are all there; `identity` stands for its weights.

    The run that it replaces is removed after that, so that one of the two is always whole.
    """
    sign(folder, origin, identity)
    remove_replaced(folder)


def cut_log(folder: Path, step: int) -> None:
    """Take out of `log.jsonl` what a run that goes on after `step` steps writes again (0: all).

    What it says of steps that were passed over stays.
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
    """Add one line to `log.jsonl`; every line carries the clock as `time`."""
    path = folder / "log.jsonl"
    try:
        with open(path, "a") as file:
            file.write(json.dumps({**record, "time": round(time.time(), 3)}) + "\n")
    except OSError as error:  # a full disk does not say which file it was
        raise OSError(error.errno, error.strerror, str(path)) from None


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the records of `log.jsonl`; a last line that a stop cut short is left out.

    A stopped run repeats the steps since its last checkpoint; the later record of a step counts.
    """
    path = folder / "log.jsonl"
    if not path.exists():
        return []
    records: dict[tuple[int, str], dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        kind = next((name for name in _KINDS if name in record), "")
        records[record["step"], kind] = record
    return [records[key] for key in sorted(records)]


def _config(command: str, settings: dict[str, Any]) -> str:
    table: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    for word in reversed(command.split()):
        table = {word: table}
    return f"# phenomae {command} STORE RUN --config config.toml\n" + tomli_w.dumps(table)


def _make_room(folder: Path, origin: Origin) -> None:
    """Take a run out of the way, unless it is the very work that is to be gone on with."""
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
    packages = sorted(f"{item.name}=={item.version}" for item in distributions())
    lines = [f"written {time.strftime('%Y-%m-%dT%H:%M:%S%z')}", f"python {sys.version.split()[0]}"]
    lines += [f"machine {platform.platform()}", *(f"{key} {machine[key]}" for key in machine)]
    return "\n".join([*lines, *packages]) + "\n"


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as partial:
        partial.write_text(text)
