"""Writes and reads a fitted chain of corrections, which can be applied to later plates.

The file is an .npz of plain arrays and a JSON header. It contains no pickle, so loading a file
cannot run code.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from phenomae import __version__
from phenomae.correction.chain import Chain
from phenomae.correction.correction import FittedCorrection, State
from phenomae.correction.steps import Step, make_step
from phenomae.signatures import FORMAT, require_format, say_unvouched
from phenomae.whole_files import hash_json, remove_abandoned, whole_file

KIND = "correction"
_HEADER = "header"


def write_chain(path: Path, chain: Chain, identity: str) -> None:
    """Write a fitted chain; `identity` is the hash of the settings and wells that determine it."""
    arrays: dict[str, Any] = {}
    for place, correction in enumerate(chain.corrections):
        arrays |= {f"{place} {name}": array for name, array in correction.state().items()}
    # numpy would pickle arrays of objects.
    assert all(array.dtype != object for array in arrays.values())
    header = {
        "kind": KIND,
        "format": FORMAT,
        "identity": identity,
        "width": chain.width,
        "names": chain.names,
        "steps": [
            {"method": step.name, "batch": step.batch, "settings": step.correction.get_params()}
            for step in chain.steps
        ],
        "content": _hash_arrays(arrays),
        "version": __version__,
    }
    # Through JSON, as it will be read.
    header = json.loads(json.dumps(header))
    header["checksum"] = hash_json(header)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.savez(file, **{_HEADER: np.array(json.dumps(header))}, **arrays)


def _hash_arrays(arrays: State) -> str:
    """Return the SHA-256 of arrays with their names, types and shapes."""
    checksum = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        checksum.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        checksum.update(np.ascontiguousarray(array).tobytes())
    return checksum.hexdigest()


def read_chain(path: Path) -> Chain:
    """Return the chain in `path`; raises ValueError if `write_chain` did not write the file."""
    content, header = _open(path)
    corrections: list[FittedCorrection[Any]] = []
    steps: list[Step] = []
    for place, item in enumerate(header["steps"]):
        requested = f"apply {path} ({item['method']}:{item['batch'] or ''})"
        prefix = f"{place} "
        state = {
            name.removeprefix(prefix): array
            for name, array in content.items()
            if name.startswith(prefix)
        }
        step = make_step(item["method"], item["settings"], item["batch"], requested)
        assert isinstance(step.correction, FittedCorrection)  # joint corrections are never saved
        corrections.append(step.correction.restore(state))
        steps.append(step)
    return Chain(steps, corrections, header["width"], names=header.get("names"))


def read_saved_identity(path: Path) -> str:
    """Return the identity of a saved chain.

    Raises ValueError if the file is damaged or not a saved chain.
    """
    return _open(path)[1]["identity"]


def _open(path: Path) -> tuple[State, dict[str, Any]]:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file (expected a saved correction)")
    try:
        # Without pickle, because a pickle can run code and users may get the file from others.
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        header = json.loads(str(content[_HEADER]))
        known, _ = header["kind"] == KIND, header["format"]
    except Exception as error:  # zipfile and numpy raise many types of error on damaged files
        raise ValueError(
            f"{path} is damaged or not a correction: expected an .npz that correct --save wrote "
            f"({type(error).__name__})"
        ) from None
    if not known:
        raise ValueError(f"{path} holds {header['kind']}, not a {KIND}")
    require_format(header, path)
    arrays = {name: array for name, array in content.items() if name != _HEADER}
    if "content" not in header:
        say_unvouched(path, header)
    elif header["content"] != _hash_arrays(arrays):
        raise ValueError(
            f"{path} is damaged: its numbers have changed since phenomae wrote them; save the "
            "correction again"
        )
    return arrays, header
