"""Average precision of every profile, which ranks its positives and its negatives by cosine.

The values are those of copairs 0.5.5 (Kalinin et al. 2025, Nature Communications 16, 5181), which
keeps and sorts a list of all pairs: a gigabyte for 4,600 profiles, and more with their square. Here
cosines are computed block by block on all cores, and negatives ahead of a positive are counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64

from phenomae.cores import available_cores
from phenomae.evaluation.questions.pairing import Codes, Pairing
from phenomae.evaluation.recall.tiles import SIDE, run_pieces

_CELLS = 1 << 23  # cosines in memory at once, of all threads: 100 MB
_ROWS = 256  # rows of a block at most, because more make no matrix product faster
_FEW = 24  # positives up to which counting the negatives for each is faster than sorting them
SCORES = {"code": pl.Int64, "positives": pl.Int64, "pairs": pl.Int64, "precision": pl.Float64}
Scores = list[tuple[int, int, int, int, float]]
Keys = Float32[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class Block:
    """Profiles that are ranked with the same candidates."""

    rows: Codes
    """The profiles that rank."""
    codes: Codes
    """The group whose members are the positives, for each of `rows`; equal ones are adjacent."""
    pool: Codes
    """The profiles among which their negatives are."""


def precisions_of_profiles(unit: Float64[np.ndarray, "n d"], pairing: Pairing) -> pl.DataFrame:
    """Return group (code), positives, pairs and average precision of every profile with a group.

    `unit` has profiles of length 1. Rows are sorted by group, then by profile; profiles of several
    groups have a row for each. Average precision is the mean over the positives of
    i / (i + negatives ahead of the positive), where i counts the positives down to this one. The
    key of the order is 1 - cosine in single precision, and positives precede negatives with the
    same key, both as in copairs. The precision is NaN without a positive. Profiles whose plate has
    no candidate for a negative are left out.
    """
    count = int(pairing.groups.max(initial=-1)) + 1
    if pairing.members is not None:
        count = pairing.members.shape[1]
    members = pairing.list_members(np.arange(count))
    blocks = list(_cut_blocks(pairing, max(map(len, members), default=0)))
    sizes = [1 + len(block.rows) * len(block.pool) // SIDE**2 for block in blocks]
    found = run_pieces(blocks, partial(_rank, unit, pairing, members), "average precision", sizes)
    # Blocks are by plate, but means over rows in another order differ in the last bits.
    rows = pl.DataFrame(
        [row for some in found for row in some], schema={"row": pl.Int64} | SCORES, orient="row"
    )
    return rows.sort("code", "row").drop("row")


def _cut_blocks(pairing: Pairing, largest: int) -> Iterator[Block]:
    """Yield blocks of rows whose cosines with candidates, or with a group, fit in memory."""
    if pairing.members is None:
        rows = np.flatnonzero(pairing.groups >= 0)
        codes = pairing.groups[rows]
    else:
        rows, codes = np.nonzero(pairing.members)
    candidates = np.flatnonzero((pairing.groups >= 0) == (pairing.against == "groups"))
    plates = np.zeros_like(pairing.groups) if pairing.plates is None else pairing.plates
    order = np.lexsort([rows, codes, plates[rows]])
    rows, codes = rows[order], codes[order]
    candidates = candidates[np.argsort(plates[candidates], kind="stable")]
    for plate in np.unique(plates[rows]):
        low, high = np.searchsorted(plates[candidates], [plate, plate + 1])
        first, last = np.searchsorted(plates[rows], [plate, plate + 1])
        if low == high:
            continue
        widest = max(int(high - low), largest)
        step = max(1, min(_ROWS, _CELLS // available_cores() // widest))
        for start in range(int(first), int(last), step):
            part = slice(start, min(start + step, int(last)))
            yield Block(rows[part], codes[part], candidates[low:high])


def _rank(
    unit: Float64[np.ndarray, "n d"], pairing: Pairing, members: list[Codes], block: Block
) -> Scores:
    """Return row, code, positives, pairs and average precision of every row of a block."""
    wrong = _order_keys(unit, block.rows, block.pool)
    # Controls are of no group, and those of a block are on its plate: only a tier removes some.
    all_are_negatives = pairing.against == "controls" and pairing.apart is None
    scores: Scores = []
    starts = np.flatnonzero(np.diff(block.codes, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(block.codes)], strict=True):
        code = int(block.codes[start])
        own = members[code]
        right = _order_keys(unit, block.rows[start:stop], own)
        for place in range(start, stop):
            row, negatives = int(block.rows[place]), wrong[place]
            if not all_are_negatives:
                negatives = negatives[_may_be_negatives(pairing, row, block.pool)]
            positives = right[place - start][pairing.may_be_positives(row, own)]
            count = len(positives), len(positives) + len(negatives)
            scores.append((row, code, *count, _precision(positives, negatives)))
    return scores


def _order_keys(unit: Float64[np.ndarray, "n d"], rows: Codes, others: Codes) -> Keys:
    """Return 1 - cosine of some rows and others, rounded as copairs rounds it."""
    keys = np.empty((len(rows), len(others)), np.float32)
    own = unit[rows]
    # In pieces, because each thread copies the profiles of the others: up to all of them.
    for start in range(0, len(others), SIDE):
        part = slice(start, start + SIDE)
        keys[:, part] = own @ unit[others[part]].T
    return np.subtract(np.float32(1), keys, out=keys)


def _may_be_negatives(pairing: Pairing, row: int, pool: Codes) -> np.ndarray:
    allowed = pairing.may_be_negatives(row, pool)
    if pairing.members is None:
        allowed &= pairing.groups[pool] != pairing.groups[row]
    return allowed


def _precision(positives: Float32[np.ndarray, " a"], negatives: Float32[np.ndarray, " b"]) -> float:
    """Return the average precision of keys in ascending order; NaN without positives."""
    if not len(positives):
        return float("nan")
    keys = np.sort(positives)
    if len(keys) <= _FEW:
        ahead = np.array([np.count_nonzero(negatives < key) for key in keys])
    else:
        ahead = np.searchsorted(np.sort(negatives), keys)
    place = np.arange(1, len(keys) + 1)
    return float((place / (place + ahead)).mean())
