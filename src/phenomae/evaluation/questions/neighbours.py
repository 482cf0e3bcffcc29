"""Nearest neighbours of profiles by cosine, with some candidates excluded (NSC, NSCB)."""

from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float64, Int

from phenomae.maps.p_values import p_values

Codes = Int[np.ndarray, " k"]
_BINS = 1 << 22  # codes that are counted in an array of all codes
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


Agree = Bool[np.ndarray, "labels labels"]
"""Which labels match, for labels that stand for several names; None where equal ones match."""


def count_matches(labels: Codes, *excluded: Codes, agree: Agree | None = None) -> Codes:
    """Return the number of candidates with a matching label for each row.

    Candidates of a row are the rows that share none of the codes in `excluded` with it.
    """
    # Inclusion-exclusion over the subsets of `excluded`, which visits no pair of rows. The empty
    # subset counts all rows with the label, the row itself too, which every other one takes away.
    found = np.zeros(len(labels), dtype=np.int64)
    for size in range(len(excluded) + 1):
        for subset in combinations(excluded, size):
            sizes = _sizes(labels, *subset) if agree is None else _agreeing(labels, agree, *subset)
            found += (-1) ** size * sizes
    return found


def matched_share(
    labels: Codes, nearest: Codes, used: Bool[np.ndarray, " k"], agree: Agree | None = None
) -> float:
    """Return the fraction of `used` rows whose nearest row's label matches; NaN for no rows."""
    if not used.any():
        return np.nan
    return float(_match(labels[used], labels[nearest[used]], agree).mean())


def _match(one: Codes, other: Codes, agree: Agree | None) -> Bool[np.ndarray, " k"]:
    return one == other if agree is None else agree[one, other]


def count_right(
    labels: Codes,
    nearest: Codes,
    used: Bool[np.ndarray, " k"],
    units: Codes,
    agree: Agree | None = None,
) -> tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    """Return how many `used` rows each unit has, and how many whose nearest row's label matches.

    `units` are codes, such as those of the compounds of the rows; unused ones have 0 rows.
    """
    right = used & _match(labels, labels[nearest], agree)
    count = int(units.max()) + 1
    every, matched = (np.bincount(units[rows], minlength=count) for rows in (used, right))
    return every, matched


def compare_with_chance(
    observed: float, null: Float64[np.ndarray, " shuffles"]
) -> tuple[float | None, float | None, float]:
    """Return mean and standard deviation of the null distribution, and the p-value."""
    mean = float(null.mean()) if len(null) else None
    spread = float(null.std(ddof=1)) if len(null) > 1 else None
    return mean, spread, float(p_values(np.array([observed]), null)[0])


def _agreeing(labels: Codes, agree: Agree, *codes: Codes) -> Codes:
    """Return for every row the number of rows with a matching label and the same codes."""
    joint = np.zeros(len(labels), dtype=np.int64)
    for other in codes:
        joint = np.unique(joint * (int(other.max()) + 1) + other, return_inverse=True)[1]
    keys, kind, counts = np.unique(
        joint * len(agree) + labels, return_inverse=True, return_counts=True
    )
    found, own = counts.copy(), keys % len(agree)
    # Rows with the same codes mostly have one label, as those of one compound do.
    _, starts, sizes = np.unique(keys // len(agree), return_index=True, return_counts=True)
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        stretch = slice(start, start + size)
        found[stretch] = agree[np.ix_(own[stretch], own[stretch])] @ counts[stretch]
    return found[kind]


def _sizes(*codes: Codes) -> Codes:
    """Return for every row the number of rows with the same codes."""
    joint = codes[0]
    for other in codes[1:]:
        kinds = int(other.max()) + 1
        if joint.max() * kinds > _BINS:
            joint = np.unique(joint, return_inverse=True)[1]
        joint = joint * kinds + other
    if joint.max() <= _BINS:
        # A tenth of the time of sorting, which permutation tests spend on this.
        return np.bincount(joint)[joint]
    _, index, counts = np.unique(joint, return_inverse=True, return_counts=True)
    return counts[index]
