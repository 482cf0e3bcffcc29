"""A fitted chain of corrections as a file, to be applied to plates that come later."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from phenomae.artefacts import FORMAT, whole_file
from phenomae.correction.chain import Chain
from phenomae.correction.correction import State
from phenomae.correction.methods import METHODS
from phenomae.correction.settings import Step

KIND = "correction"
_HEADER = "header"


def write_chain(path: Path, chain: Chain, identity: str) -> None:
    """Write a fitted chain as a plain .npz; `identity` stands for what made it."""
    header = {
        "kind": KIND,
        "format": FORMAT,
        "identity": identity,
        "width": chain.width,
        "steps": [
            {"method": step.method, "batch": step.batch, "settings": step.settings}
            for step in chain.steps
        ],
    }
    arrays: dict[str, Any] = {_HEADER: np.array(json.dumps(header))}
    for place, correction in enumerate(chain.corrections):
        arrays |= {f"{place} {name}": array for name, array in correction.state().items()}
    assert all(array.dtype != object for array in arrays.values())  # or numpy would pickle
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


def read_chain(path: Path) -> Chain:
    """Return the chain that `write_chain` wrote; raises ValueError where it is no such file."""
    held, header = _open(path)
    corrections, steps = [], []
    for place, item in enumerate(header["steps"]):
        asked = f"--apply {path} ({item['method']}:{item['batch'] or ''})"
        step = Step(item["method"], item["batch"], item["settings"], asked)
        prefix = f"{place} "
        state = {
            name.removeprefix(prefix): array
            for name, array in held.items()
            if name.startswith(prefix)
        }
        corrections.append(METHODS[step.method](**step.settings).restore(state))
        steps.append(step)
    return Chain(steps, corrections, header["width"])


def read_saved_identity(path: Path) -> str:
    """Return what made a saved chain; raises ValueError as `read_chain` does."""
    return _open(path)[1]["identity"]


def _open(path: Path) -> tuple[State, dict[str, Any]]:
    if not path.is_file():
        raise ValueError(f"{path}: there is no saved correction of that name")
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        header = json.loads(str(held[_HEADER]))
        known = header["kind"] == KIND
    except Exception as error:  # damaged bytes make zipfile and numpy raise whatever they meet
        raise ValueError(
            f"{path} is damaged or no correction: expected an .npz that correct --save wrote "
            f"({type(error).__name__})"
        ) from None
    if not known or header["format"] != FORMAT:
        raise ValueError(
            f"{path} holds {header['kind']} of format {header['format']}, but this phenomae reads "
            f"{KIND} of format {FORMAT}: save it anew with this version"
        )
    return held, header
