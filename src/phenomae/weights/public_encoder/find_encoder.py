"""Finds a public encoder by name: `hf:FOLDER`, or `hf:OWNER/NAME[@REVISION]` on the hub.

A folder comes first, and what looks like a path is never looked for on the hub, so that a mistyped
path is an error of its own and not one of the network.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenomae.paths import PathLike
from phenomae.weights.hub import fetch, is_hub_id
from phenomae.weights.public_encoder.json_file import read_json
from phenomae.weights.public_encoder.settings import PREFIX

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
TENSORS = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Lists the files of a model whose tensors are in several files."""
_PICKLE = "weights in pickle files, which can run code, are not opened"
_REVISION = re.compile(r"\w[\w./-]*")
_FILE = re.compile(r"\w[\w.-]*\.safetensors")


@dataclass(frozen=True)
class EncoderFiles:
    """The files of a public encoder on this machine."""

    folder: Path
    name: str
    """OWNER/NAME on the hub, or the name of the folder."""
    revision: str | None
    """The commit on the hub; None for a folder."""
    tensors: tuple[Path, ...]
    """The safetensors files."""


def find_encoder(run: PathLike) -> EncoderFiles:
    """Return the files of `hf:...`, fetched from the hub unless it is a folder.

    Raises ValueError if there is no such folder or repository, if it cannot be fetched, or if it
    has no config.json or no safetensors files.
    """
    text = str(run).removeprefix(PREFIX)
    folder = Path(text).expanduser()
    if text and folder.is_dir():
        if not (folder / CONFIG).is_file():
            raise ValueError(f"{folder} has no {CONFIG}: {PREFIX} opens folders of transformers")
        return EncoderFiles(folder, folder.resolve().name, None, _list_tensors(folder))
    if text and folder.exists():
        raise ValueError(f"{folder} is a file: give the folder with {CONFIG} and {TENSORS}")
    repository, at, revision = text.partition("@")
    owner = repository.partition("/")[0]
    if not is_hub_id(repository) or (at and not _REVISION.fullmatch(revision)):
        raise ValueError(
            f"{PREFIX}{text}: there is no such folder, and it is no OWNER/NAME or "
            "OWNER/NAME@REVISION on the hub"
        )
    # weights/dino could be a repository, but here it is a path with a typing error.
    if not at and Path(owner).is_dir():
        raise ValueError(
            f"{PREFIX}{text}: the folder {owner} has no {repository.partition('/')[2]}; for the "
            f"repository on the hub give {PREFIX}{repository}@main"
        )
    return _fetch(repository, revision or None)


def _fetch(repository: str, revision: str | None) -> EncoderFiles:
    folder, commit = fetch(repository, (CONFIG,), revision, (PROCESSOR, TENSORS))
    if not (folder / TENSORS).exists():
        folder, _ = fetch(repository, (CONFIG,), commit, (INDEX,))
        if not (folder / INDEX).exists():
            raise ValueError(f"{repository} has no {TENSORS} on the hub; {_PICKLE}")
    names = _name_files(folder)
    if names != (TENSORS,):
        folder, commit = fetch(repository, (CONFIG, *names), commit)
    return EncoderFiles(folder, repository, commit, _list_tensors(folder))


def _list_tensors(folder: Path) -> tuple[Path, ...]:
    paths = tuple(folder / name for name in _name_files(folder))
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{folder} has no {path.name}; {_PICKLE}")
    return paths


def _name_files(folder: Path) -> tuple[str, ...]:
    """Return the names of the safetensors files of a model: one, or those that its index lists."""
    if (folder / TENSORS).exists() or not (folder / INDEX).exists():
        return (TENSORS,)
    listed = read_json(folder / INDEX).get("weight_map")
    names: set[Any] = set(listed.values()) if isinstance(listed, dict) else set()
    # A name with a slash would lead out of the folder.
    if not names or not all(isinstance(name, str) and _FILE.fullmatch(name) for name in names):
        raise ValueError(f"{folder / INDEX} is damaged: weight_map must name safetensors files")
    return tuple(sorted(names))
