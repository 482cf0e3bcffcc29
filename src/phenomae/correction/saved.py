"""Writes and reads a fitted chain of corrections, which can be applied to later plates.

The file is an .npz of plain arrays and a JSON header. It contains no pickle, so loading a file
cannot run code.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from phenomae.artefacts import FORMAT, whole_file
from phenomae.correction.chain import Chain
from phenomae.correction.correction import FittedCorrection, State
from phenomae.correction.steps import Step, make_step

KIND = "correction"
_HEADER = "header"


def write_chain(path: Path, chain: Chain, identity: str) -> None:
    """Write a fitted chain; `identity` is the hash of the settings and wells that determine it."""
    header = {
        "kind": KIND,
        "format": FORMAT,
        "identity": identity,
        "width": chain.width,
        "steps": [
            {"method": step.name, "batch": step.batch, "settings": step.correction.get_params()}
            for step in chain.steps
        ],
    }
    arrays: dict[str, Any] = {_HEADER: np.array(json.dumps(header))}
    for place, correction in enumerate(chain.corrections):
        arrays |= {f"{place} {name}": array for name, array in correction.state().items()}
    # numpy would pickle arrays of objects.
    assert all(array.dtype != object for array in arrays.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


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
    return Chain(steps, corrections, header["width"])


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
        known = header["kind"] == KIND
    except Exception as error:  # zipfile and numpy raise many types of error on damaged files
        raise ValueError(
            f"{path} is damaged or not a correction: expected an .npz that correct --save wrote "
            f"({type(error).__name__})"
        ) from None
    if not known or header["format"] != FORMAT:
        raise ValueError(
            f"{path} holds {header['kind']} of format {header['format']}, but this phenomae reads "
            f"{KIND} of format {FORMAT}: save the correction again with this version"
        )
    return content, header
