"""The nearest other profile by cosine, where some others do not count."""

import numpy as np
from jaxtyping import Bool, Float64, Int

Codes = Int[np.ndarray, " k"]
_CELLS = 1 << 22  # cosines held at once: 32 MB


def nearest_others(unit: Float64[np.ndarray, "k d"], *apart: Codes) -> Codes:
    """Return the row of every row's highest cosine among those that differ from it in all `apart`.

    `apart` are codes of the rows: of their compounds and batches, say. Of equal cosines the first
    row counts. -1 where no row differs in all.
    """
    nearest = np.full(len(unit), -1)
    rows = max(1, _CELLS // len(unit))
    for start in range(0, len(unit), rows):
        block = slice(start, start + rows)
        cosines = unit[block] @ unit.T
        for codes in apart:
            cosines[codes[block, None] == codes] = -np.inf
        found = cosines.argmax(axis=1)
        allowed = cosines[np.arange(len(found)), found] > -np.inf
        nearest[block] = np.where(allowed, found, -1)
    return nearest


def count_right(labels: Codes, compounds: Codes, batches: Codes | None = None) -> Codes:
    """Return how many rows of a row's label are of another compound, and of another batch if given.

    All rows of a compound have one label, so that those of the compound, and of the batch, are
    taken off the label's, and those of both put back.
    """
    found = _sizes(labels) - _sizes(compounds)
    if batches is None:
        return found
    return found - _sizes(labels, batches) + _sizes(compounds, batches)


def matched_share(labels: Codes, nearest: Codes, asked: Bool[np.ndarray, " k"]) -> float:
    """Return the share of the rows asked whose nearest has their label; NaN where none is asked."""
    if not asked.any():
        return np.nan
    return float((labels[nearest[asked]] == labels[asked]).mean())


def _sizes(first: Codes, second: Codes | None = None) -> Codes:
    """Return for every row how many rows have its code, or its two codes; codes are 0 or more."""
    codes = first if second is None else first * (second.max() + 1) + second
    _, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
    return counts[place]
