"""Nearest neighbours of profiles by cosine, with some candidates excluded (NSC, NSCB)."""

import numpy as np
from jaxtyping import Bool, Float64, Int

Codes = Int[np.ndarray, " k"]
_CELLS = 1 << 22  # cosines that are in memory at once: 32 MB


def nearest_others(unit: Float64[np.ndarray, "k d"], *excluded: Codes) -> Codes:
    """Return for every row the index of the candidate row with the highest cosine.

    `excluded` are arrays of codes, such as those of compounds and batches: rows with the same code
    in any of these arrays are not candidates of each other. Of several rows with the highest
    cosine, the first is returned; -1 if a row has no candidate.
    """
    nearest = np.full(len(unit), -1)
    rows = max(1, _CELLS // len(unit))
    for start in range(0, len(unit), rows):
        block = slice(start, start + rows)
        cosines = unit[block] @ unit.T
        for codes in excluded:
            cosines[codes[block, None] == codes] = -np.inf
        found = cosines.argmax(axis=1)
        allowed = cosines[np.arange(len(found)), found] > -np.inf
        nearest[block] = np.where(allowed, found, -1)
    return nearest


def count_matches(labels: Codes, compounds: Codes, batches: Codes | None = None) -> Codes:
    """Return the number of candidates with the same label for each row.

    Candidates are rows of other compounds and, if `batches` is given, of other batches.
    """
    # Inclusion-exclusion: all rows of a compound have the same label, so the rows of a compound are
    # a subset of the rows of its label.
    found = _sizes(labels) - _sizes(compounds)
    if batches is None:
        return found
    return found - _sizes(labels, batches) + _sizes(compounds, batches)


def matched_share(labels: Codes, nearest: Codes, used: Bool[np.ndarray, " k"]) -> float:
    """Return the fraction of `used` rows whose nearest row has the same label; NaN for no rows."""
    if not used.any():
        return np.nan
    return float((labels[nearest[used]] == labels[used]).mean())


def _sizes(first: Codes, second: Codes | None = None) -> Codes:
    """Return for every row the number of rows with the same code or pair of codes (codes >= 0)."""
    codes = first if second is None else first * (second.max() + 1) + second
    _, index, counts = np.unique(codes, return_inverse=True, return_counts=True)
    return counts[index]
