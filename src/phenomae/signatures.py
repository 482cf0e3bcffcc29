"""The signature of an artefact, `artefact.json`: what made it, and the SHA-256 of its files.

Readers verify the files that they read. What the signature lists is verified, and nothing else is
read, so that a file that is missing, changed or foreign is an error and never a result.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from phenomae.cores import available_cores
from phenomae.progress import info
from phenomae.whole_files import PARTIAL, hash_json, sha256_of, write_bytes

FORMAT = 2  # raised when the layout of an artefact changes, so that old ones are recognised
_WITHOUT_CHECKSUMS = 1  # the format of artefacts before version 0.2, which list no files
SIGNATURE = "artefact.json"
LOCK = "writer.lock"
CLAIMS = ".claims"  # while shards fill a folder: which of them does what
MADE_BY = {
    "store": "ingest makes",
    "run": "pretrain makes",
    "wells": "embed, features, correct and import make",
    "tokens": "embed makes with tokens",
    "map": "map makes",
    "results": "benchmark makes",
    "correction": "correct makes with save",
}
"""The commands that make each kind of artefact, for messages."""
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
_CHANGED = "has changed since phenomae wrote it (its SHA-256 is another)"
_FOREIGN = f"does not belong to it ({SIGNATURE} does not list it)"
_ADVICE = "copy it again, or make it again with overwrite"
_verified: dict[tuple[str, str], tuple[int, int, int]] = {}
_unvouched: set[str] = set()


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

    def identify(self, files: Mapping[str, str]) -> str:
        """Return the identity of an artefact of this origin with these files (name: SHA-256)."""
        return hash_json({"format": FORMAT, **asdict(self), "files": dict(files)})


def settings_dict(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as plain JSON values (paths become text, tuples lists)."""
    assert is_dataclass(settings)
    assert not isinstance(settings, type)
    return json.loads(json.dumps(asdict(settings), default=str))


def sign(folder: Path, origin: Origin, identity: str | None, files: Mapping[str, str]) -> None:
    """Write `artefact.json`; an identity of None marks an unfinished artefact."""
    write_bytes(folder / SIGNATURE, signature_of(origin, identity, files))


def sign_complete(folder: Path, origin: Origin) -> None:
    """Sign an artefact that consists of the files in its folder."""
    files = hash_files(folder)
    sign(folder, origin, origin.identify(files), files)


def signature_of(
    origin: Origin, identity: str | None, files: Mapping[str, str], **more: Any
) -> bytes:
    """Return the content of `artefact.json`; `files` are names with their SHA-256.

    `more` is recorded as well.
    """
    from phenomae import __version__

    content = {
        "format": FORMAT,
        **json.loads(json.dumps(asdict(origin), default=str)),
        "identity": identity,
        "files": dict(files),
        "version": __version__,
        **more,
    }
    # The last key is a checksum of all others, so that a flipped bit in a setting is found.
    return (json.dumps({**content, "checksum": hash_json(content)}, indent=2) + "\n").encode()


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files of an artefact, by their path in it with forward slashes.

    The signature, the lock, hidden and partial files are left out.
    """
    names = list(list_files(folder))
    return dict(zip(names, _hash_all([folder / name for name in names]), strict=True))


def list_files(folder: Path) -> Iterator[str]:
    """Yield the paths of the files that can be part of an artefact, sorted."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and all(map(_is_own_name, name.parts)):
            yield name.as_posix()


def _is_own_name(name: str) -> bool:
    return not (name.startswith(".") or name.endswith(PARTIAL) or name in (SIGNATURE, LOCK))


def _hash_all(paths: Collection[Path]) -> list[str]:
    if len(paths) < 2:
        return [sha256_of(path) for path in paths]
    with ThreadPoolExecutor(available_cores()) as pool:  # hashing releases the GIL
        return list(pool.map(sha256_of, paths))


def read_signature(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """Return the content of `artefact.json` of a folder, which may be unfinished.

    Raises ValueError if it is missing or damaged, or of another kind or a newer format.
    """
    path = folder / SIGNATURE
    if not path.exists():
        what = kind or "phenomae artefact"
        hint = _absence(folder)
        raise ValueError(f"{folder} holds no {what}: {hint}")
    return parse_signature(path.read_bytes(), folder, kind)


def read_verified(
    folder: Path, kind: str | None = None, names: Collection[str] | None = None
) -> dict[str, Any]:
    """Return the signature of a finished artefact after its files were verified; see `verify`.

    Raises ValueError as `read_signature` and `verify` do, or if the artefact is unfinished.
    """
    signature = read_signature(folder, kind)
    if signature["identity"] is None:
        raise ValueError(
            f"{folder} is unfinished: run the command that makes it again to go on "
            f"(its {SIGNATURE} has no identity)"
        )
    verify(folder, signature, names)
    return signature


def read_identity(folder: Path, kind: str) -> str:
    """Return the identity of the finished artefact `folder`, whose files are verified."""
    return read_verified(folder, kind)["identity"]


def parse_signature(content: bytes, folder: Path | str, kind: str | None = None) -> dict[str, Any]:
    """Parse the content of `artefact.json`; raises ValueError as `read_signature` does."""
    return {"files": None, **_parse(content, folder, f"{folder}/{SIGNATURE}", kind)}


def record_of(origin: Origin, content: str, **more: Any) -> dict[str, Any]:
    """Return the record of an artefact of one file, which the file holds itself.

    `content` is a hash of all that the file holds beside the record, `more` is recorded as well.
    """
    from phenomae import __version__

    record = {
        "format": FORMAT,
        **json.loads(json.dumps(asdict(origin), default=str)),
        **more,
        "content": content,
        "identity": origin.identify({"content": content}),
        "version": __version__,
    }
    return {**record, "checksum": hash_json(record)}


def record_beside(path: Path) -> Path:
    """Return the file with the record of a file that cannot hold it itself, such as a CSV."""
    return path.with_name(f"{path.name}.{SIGNATURE}")


def parse_record(
    text: str | bytes, path: Path, place: str, kind: str | None = None
) -> dict[str, Any]:
    """Parse the record of an artefact of one file; `content` is None for format 1.

    `place` names the record in messages. Raises ValueError as `read_signature` does.
    """
    record = {"content": None, **_parse(text, path, place, kind)}
    if record["content"] is None:
        say_unvouched(path, record)
    return record


def _parse(text: str | bytes, where: Path | str, place: str, kind: str | None) -> dict[str, Any]:
    damaged = f"{place} is damaged: expected the JSON that phenomae wrote"
    try:
        signature = json.loads(text)
        found_kind, _ = signature["kind"], signature["format"]
    except (KeyError, TypeError, RecursionError, ValueError):
        raise ValueError(damaged) from None
    require_format(signature, where)
    if kind is not None and found_kind != kind:
        made_by = f", which {MADE_BY[kind]}" if kind in MADE_BY else ""
        raise ValueError(f"{where} holds {found_kind}, not {kind}{made_by}")
    parts = [signature.get(name) for name in ("settings", "sources")]
    if not all(isinstance(part, dict) for part in parts) or "identity" not in signature:
        raise ValueError(damaged)
    renamed = RENAMED_SETTINGS.get(found_kind, {})
    settings = {renamed.get(name, name): value for name, value in signature["settings"].items()}
    return {**signature, "settings": settings}


def verify_file(path: Path, checksum: str) -> None:
    """Raise ValueError unless a file has this SHA-256; see `verify`."""
    for problem in find_problems(path.parent, {path.name: checksum}, {path.name}):
        raise _damaged(path.parent, problem)


def verify_content(content: bytes, name: str, folder: Path | str, found: Mapping[str, Any]) -> None:
    """Do as `verify` for the bytes of a file, which may have been read from another machine."""
    if found["files"] is None:
        say_unvouched(folder, found)
    elif hashlib.sha256(content).hexdigest() != found["files"].get(name):
        raise _damaged(folder, f"{name} {_CHANGED}")


def _damaged(folder: Path | str, problem: str) -> ValueError:
    advice = "move it elsewhere" if problem.endswith(_FOREIGN) else _ADVICE
    return ValueError(f"{folder} is damaged: {problem}; {advice}")


def require_format(signature: dict[str, Any], where: Path | str) -> None:
    """Raise ValueError if a signature is of a newer format, or lacks its own checksum."""
    from phenomae import __version__

    found = signature["format"]
    if found == _WITHOUT_CHECKSUMS:
        return
    if isinstance(found, int) and found > FORMAT:
        raise ValueError(
            f"{where} has format {found}, of phenomae {signature.get('version')}, but phenomae "
            f"{__version__} reads formats up to {FORMAT}: install a newer phenomae"
        )
    rest = {key: value for key, value in signature.items() if key != "checksum"}
    if found != FORMAT or signature.get("checksum") != hash_json(rest):
        raise ValueError(
            f"{where} is damaged: what is recorded of its origin and files has changed since "
            "phenomae wrote it (its checksum is another)"
        )


def verify(
    folder: Path, signature: Mapping[str, Any], names: Collection[str] | None = None
) -> None:
    """Raise ValueError, naming the file, if one is missing or changed, or does not belong there.

    A file does not belong there if the signature does not list it, but files with its suffix.
    `names` limits this to some files; each of them must be listed if it exists. A file that was
    verified in this process is hashed again only if its size or time has changed.
    """
    if (files := signature["files"]) is None:
        say_unvouched(folder, signature)
        return
    for problem in find_problems(folder, files, names):
        raise _damaged(folder, problem)


def find_problems(
    folder: Path, files: Mapping[str, str], names: Collection[str] | None = None
) -> Iterator[str]:
    """Yield what is wrong with the files of an artefact; see `verify`."""
    listed = [name for name in files if names is None or name in names]
    for name in _find_strangers(folder, files, names):
        yield f"{name} {_FOREIGN}"
    yield from (f"{name} is missing" for name in listed if not (folder / name).is_file())
    there = [name for name in listed if (folder / name).is_file()]
    fresh = [name for name in there if not _is_known(folder / name, files[name])]
    before = [_stamp(folder / name) for name in fresh]
    found = _hash_all([folder / name for name in fresh])
    for name, stamp, checksum in zip(fresh, before, found, strict=True):
        if checksum != files[name]:
            yield f"{name} {_CHANGED}"
        else:
            _verified[str((folder / name).absolute()), checksum] = stamp


def _find_strangers(
    folder: Path, files: Mapping[str, str], names: Collection[str] | None
) -> Iterator[str]:
    if names is not None:
        yield from (name for name in names if name not in files and (folder / name).exists())
        return
    suffixes = {(Path(name).parent, Path(name).suffix) for name in files}
    for parent, suffix in sorted(suffixes):
        for path in sorted((folder / parent).glob(f"*{suffix}")):
            name = path.relative_to(folder).as_posix()
            if name not in files and path.is_file() and _is_own_name(path.name):
                yield name


def _is_known(path: Path, checksum: str) -> bool:
    return _verified.get((str(path.absolute()), checksum)) == _stamp(path)


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def say_unvouched(folder: Path | str, signature: Mapping[str, Any]) -> None:
    """Print, once, that an artefact of an old version cannot be verified."""
    if str(folder) not in _unvouched:
        _unvouched.add(str(folder))
        info(
            f"{folder} was made by phenomae {signature.get('version') or '0.1'}, which recorded no "
            "checksums: whether its files are complete and unchanged is not known"
        )


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


def already_there(path: Path | str, signature: Mapping[str, Any]) -> str:
    """Return the line that says that an output is there, and that an older version made it."""
    from phenomae import __version__

    made_by = signature.get("version") or "0.1"  # maps of that version record none
    if made_by == __version__:
        return f"{path} is already there, made with the same settings (overwrite replaces it)"
    return (
        f"{path} is already there, made by phenomae {made_by} with the same settings; this is "
        f"{__version__}, and overwrite makes it anew"
    )


def _absence(folder: Path) -> str:
    if folder.name and folder.with_name(folder.name + PARTIAL).exists():
        return "it is unfinished; run the command that makes it again to go on"
    if not folder.exists():
        return "there is nothing of that name"
    return f"{SIGNATURE} is missing"
