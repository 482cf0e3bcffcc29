"""Packs matrices of different widths, one per batch, side by side into one array.

An .npz file without pickle can store only plain arrays, so matrices of different widths are stored
as one array and a list of widths.
"""

import numpy as np
from jaxtyping import Float64

from phenomae.correction.correction import State

Matrices = dict[str, Float64[np.ndarray, "d _"]]
"""One matrix per batch, all with the same number of rows."""


def join(matrices: Matrices, name: str) -> State:
    """Return one array of all matrices, their batch names and their widths, keyed by `name`."""
    parts = list(matrices.values())
    return {
        f"{name}_batches": np.array(list(matrices), dtype=np.str_),
        f"{name}_widths": np.array([part.shape[1] for part in parts], dtype=np.int64),
        # Without batches there are no matrices, and hstack raises for an empty list.
        name: np.hstack(parts) if parts else np.zeros((0, 0)),
    }


def split(state: State, name: str) -> Matrices:
    """Return the matrices that `join` packed under `name`."""
    names, widths = state[f"{name}_batches"].tolist(), state[f"{name}_widths"]
    if not names:
        return {}
    parts = np.split(state[name], np.cumsum(widths)[:-1], axis=1)
    return dict(zip(names, parts, strict=True))
