"""Keeps matrices of different widths, one a batch, side by side in one array."""

import numpy as np
from jaxtyping import Float64

from phenomae.correction.correction import State

Matrices = dict[str, Float64[np.ndarray, "d _"]]
"""One matrix a batch, all of as many rows."""


def join(matrices: Matrices, name: str) -> State:
    """Return the matrices as one array, with the names of their batches and their widths."""
    parts = list(matrices.values())
    return {
        f"{name}_batches": np.array(list(matrices), dtype=np.str_),
        f"{name}_widths": np.array([part.shape[1] for part in parts], dtype=np.int64),
        name: np.hstack(parts) if parts else np.zeros((0, 0)),
    }


def split(state: State, name: str) -> Matrices:
    """Return the matrices that were joined."""
    names, widths = state[f"{name}_batches"].tolist(), state[f"{name}_widths"]
    if not names:
        return {}
    parts = np.split(state[name], np.cumsum(widths)[:-1], axis=1)
    return dict(zip(names, parts, strict=True))
