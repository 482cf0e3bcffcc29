"""Outputs that are complete or absent, record what made them, and are never made twice.

A folder is filled as `NAME.partial`, with an `artefact.json` that records kind, settings and
sources, and is renamed to NAME when it is complete. After a stop, the same command finds the
partial folder and continues in it. This is why results of a killed command are never read as whole.
"""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from phenomae.progress import info

FORMAT = 1  # raised when the layout of an artefact changes, so that old ones are recognised
SIGNATURE = "artefact.json"
RENAMED_SETTINGS: dict[str, dict[str, str]] = {
    "map": {"least_wells": "min_wells"},
    "answer": {
        "least_genes": "min_genes",
        "least_inactive": "min_inactive",
        "least_wells": "min_wells",
        "most_controls": "max_controls",
        "most_names": "max_names",
        "most_wells": "max_wells",
    },
}
"""Settings that older versions recorded under another name: kind -> {old name: new name}.

An artefact with old names is read as if it had the new ones, and is taken for the same work.
"""
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")  # how safetensors, written in Rust, reports errno


@dataclass(frozen=True)
class Origin:
    """What determines an artefact: its kind, settings, and the identities of its sources."""

    kind: str
    settings: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """A hash of kind, settings and sources: 32 hexadecimal digits."""
        return hash_json({"format": FORMAT, **asdict(self)})


def settings_dict(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as plain JSON values (paths become text, tuples lists)."""
    assert is_dataclass(settings)
    assert not isinstance(settings, type)
    return json.loads(json.dumps(asdict(settings), default=str))


def hash_json(value: Any) -> str:
    """Return a hash of a JSON value, independent of the order of its keys: 32 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def hash_bytes(content: bytes) -> str:
    """Return a hash of bytes: 32 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:32]


def hash_file(path: Path) -> str:
    """Return a hash of the bytes of a file: 32 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


@contextmanager
def whole_file(path: Path, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; if the block succeeds, rename it to `path`.

    `sync` waits for the disk, so that even a power cut leaves the whole file or none. Errors of the
    system, such as a full disk, are raised as an OSError that names `path`, in whatever form the
    library that writes reports them.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        mode = _create_file(partial)
        yield partial
        # Some writers (safetensors) make another file, that only its owner may read.
        partial.chmod(mode)
        if sync:
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
    except Exception as error:
        number = _system_error(error, partial)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def _create_file(path: Path) -> int:
    """Create an empty file, in place of one that is there, and return its mode.

    The mode is what the caller's umask leaves of 0o666. A link of that name is removed and not
    followed, so that in a folder of many people nobody can plant one that leads to another file.
    """
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _system_error(error: Exception, partial: Path) -> int | None:
    """Return the errno behind a failure to write `partial`; None if it had another cause."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.filename in (None, str(partial)) else None
    match = _RUST_ERROR.search(str(error))
    return int(match[1]) if match else None


def write_bytes(path: Path, content: bytes, sync: bool = True) -> None:
    """Write a file completely or not at all.

    Callers let libraries encode into memory and write the bytes here: on a full disk some libraries
    raise errors of their own, some raise none, and some end the process.
    """
    with whole_file(path, sync) as partial:
        partial.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file completely or not at all."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


@contextmanager
def artefact_folder(path: Path, origin: Origin, overwrite: bool = False) -> Iterator[Path | None]:
    """Yield the folder to fill for the artefact `path`, or None if it is already complete.

    The folder is `path` + `.partial`; whatever an earlier, stopped call left in it is still there.
    If the block succeeds, the folder is signed and renamed to `path`. The block may write the
    signature itself (`sign`) if the identity depends on content. If it raises ValueError before it
    writes anything, the folder is removed.

    Raises ValueError if `path` or its partial folder was made with other settings and `overwrite`
    is false, if `path` was not made by phenomae, or if it has no name (`.`).
    """
    if not path.name:
        raise ValueError(f"{path} cannot be replaced: name a folder to create")
    if path.exists() and not (path / SIGNATURE).exists():
        raise ValueError(f"{path} is there and was not made by phenomae: choose another name")
    partial = path.with_name(path.name + ".partial")
    if path.exists() and not overwrite:
        require_same_work(path, read_signature(path), origin)
        remove_replaced(path)
        info(f"{path} is already there, made with the same settings (overwrite replaces it)")
        yield None
        return
    if path.exists():
        read_signature(path, origin.kind)  # refuses to replace an artefact of another kind
    _begin(partial, origin, overwrite)
    try:
        yield partial
    except ValueError:
        _remove_empty(partial)
        raise
    if read_signature(partial).get("identity") is None:
        sign(partial, origin, origin.identity)
    _replace_folder(partial, path)


def _remove_empty(partial: Path) -> None:
    """Remove a folder that holds its signature alone, as after an error in the input."""
    if [path.name for path in partial.glob("*")] == [SIGNATURE]:
        shutil.rmtree(partial)


def sign(folder: Path, origin: Origin, identity: str | None) -> None:
    """Write `artefact.json`; an identity of None marks an unfinished artefact."""
    write_bytes(folder / SIGNATURE, signature_of(origin, identity))


def signature_of(origin: Origin, identity: str | None) -> bytes:
    """Return the content of `artefact.json`."""
    from phenomae import __version__

    signature = {"format": FORMAT, **asdict(origin), "identity": identity, "version": __version__}
    return (json.dumps(signature, indent=2) + "\n").encode()


def read_signature(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """Return the content of `artefact.json` of a folder.

    Raises ValueError if it is missing, unfinished, or of another kind or format.
    """
    path = folder / SIGNATURE
    if not path.exists():
        what = kind or "phenomae artefact"
        hint = _absence(folder)
        raise ValueError(f"{folder} holds no {what}: {hint}")
    return parse_signature(path.read_bytes(), folder, kind)


def parse_signature(content: bytes, folder: Path | str, kind: str | None = None) -> dict[str, Any]:
    """Parse the content of `artefact.json`; raises ValueError as `read_signature` does."""
    damaged = f"{folder}/{SIGNATURE} is damaged: expected the JSON that phenomae wrote"
    try:
        signature = json.loads(content)
        found_format, found_kind = signature["format"], signature["kind"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(damaged) from None
    if found_format != FORMAT:
        raise ValueError(
            f"{folder} has format {found_format}, but this phenomae reads format {FORMAT}: "
            "make it again with this version"
        )
    if kind is not None and found_kind != kind:
        raise ValueError(f"{folder} holds {found_kind}, not {kind}")
    parts = [signature.get(name) for name in ("settings", "sources")]
    if not all(isinstance(part, dict) for part in parts) or "identity" not in signature:
        raise ValueError(damaged)
    renamed = RENAMED_SETTINGS.get(found_kind, {})
    settings = {renamed.get(name, name): value for name, value in signature["settings"].items()}
    return {**signature, "settings": settings}


def read_identity(folder: Path, kind: str) -> str:
    """Return the identity of the finished artefact `folder`."""
    return read_signature(folder, kind)["identity"]


def require_same_work(path: Path | str, found: dict[str, Any], origin: Origin) -> None:
    """Raise ValueError, naming the setting that differs, unless `found` records the same work."""
    if found["kind"] != origin.kind:
        raise ValueError(f"{path} holds {found['kind']}, not {origin.kind}: choose another name")
    # Through JSON, as `found` was: tuples become lists and paths text.
    expected = json.loads(json.dumps(asdict(origin), default=str))
    for part, label in (("settings", "setting"), ("sources", "source")):
        for key in sorted({*found[part], *expected[part]}):
            old, new = found[part].get(key), expected[part].get(key)
            if old != new:
                raise ValueError(
                    f"{path} was made with another {label}: {key} = {old!r}, now {new!r}; "
                    "choose another name, or overwrite to replace it"
                )


def _begin(partial: Path, origin: Origin, overwrite: bool) -> None:
    """Create the partial folder, or find the one that a stopped call began for the same work."""
    if (partial / SIGNATURE).exists():
        try:
            require_same_work(partial, read_signature(partial), origin)
            return
        except ValueError:
            # A call that stopped before it wrote anything (on a wrong setting) lost no work.
            begun = any(not item.name.startswith(SIGNATURE) for item in partial.iterdir())
            if begun and not overwrite:
                raise
    elif is_begun(partial):
        raise ValueError(f"{partial} is in the way and was not made by phenomae: move it")
    if partial.exists():
        remove_artefact(partial)
    partial.mkdir(parents=True)
    sign(partial, origin, identity=None)


def is_begun(folder: Path) -> bool:
    """Return whether a folder holds more than what a stop in its first moment leaves."""
    partial = SIGNATURE + ".partial"
    return folder.exists() and any(path.name != partial for path in folder.iterdir())


def set_aside(path: Path) -> None:
    """Rename an artefact to NAME.replaced, where it is kept until its successor is complete."""
    remove_replaced(path)
    os.replace(path, _replaced(path))


def remove_replaced(path: Path) -> None:
    """Remove the artefact that `path` has replaced, if it is still there."""
    old = _replaced(path)
    if old.is_dir() and any(old.iterdir()):
        read_signature(old)  # raises, so that no folder of another program is removed
    if old.is_dir():
        remove_artefact(old)


def remove_artefact(folder: Path) -> None:
    """Remove a folder, its signature last, so that it stays recognisable if this is stopped."""
    for item in sorted(folder.iterdir()):
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        elif item.name != SIGNATURE:
            item.unlink()
    (folder / SIGNATURE).unlink(missing_ok=True)
    folder.rmdir()


def _replaced(path: Path) -> Path:
    # Not `.old`, a name that people give to artefacts they want to keep.
    return path.with_name(path.name + ".replaced")


def _replace_folder(partial: Path, path: Path) -> None:
    """Rename `partial` to `path`; a stop in between loses neither."""
    if path.exists():
        set_aside(path)
    os.replace(partial, path)
    remove_replaced(path)


def _absence(folder: Path) -> str:
    if folder.name and folder.with_name(folder.name + ".partial").exists():
        return "it is unfinished; run the command that makes it again to go on"
    if not folder.exists():
        return "there is nothing of that name"
    return f"{SIGNATURE} is missing"
