"""Brackets around the thresholds of each stratum, from the pairs of a sample of the genes.

Which genes are drawn changes how long a search takes, not what is found: a bracket that misses its
threshold is noticed.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int

from phenomae.evaluation.recall.mean_cosines import MeanCosines, PairTile
from phenomae.evaluation.recall.strata import Strata
from phenomae.evaluation.recall.tiers import TierName

_SAMPLE = 2048  # genes of the sample: 2 million pairs, 1.5 % of those of 17,000 genes
_ERRORS = 6  # standard errors of a rank in the sample on both sides of a bracket
_FEWEST = 400  # pairs of a stratum in the sample; of fewer, the bracket holds the whole stratum
_COLLECTED = 1 << 24  # values in the brackets of a tier that are in memory at most: 128 MB
_ROUNDING = 1e-6  # products of other rows round differently

Brackets = Float64[np.ndarray, "s 2t 2"]
"""Interval of each threshold of each stratum; from inf to -inf if it has none."""


def bracket_strata(values: MeanCosines) -> dict[TierName, Brackets]:
    """Return for each tier an interval around each threshold that most probably contains it."""
    size = min(len(values), _SAMPLE)
    rows = np.sort(np.random.default_rng(0).permutation(len(values))[:size])
    parts: dict[TierName, list[PairTile]] = {tier: [] for tier in values.tiers}
    for panel in values.take(rows).run(list, "recall, sample"):
        for tile in panel:
            parts[tile.tier].append(tile)
    share = size / len(values)
    return {tier: _bracket(values.tiers[tier].strata, parts[tier], share) for tier in values.tiers}


def _bracket(strata: Strata, sample: Sequence[PairTile], share: float) -> Brackets:
    """Return the brackets of one tier; `share` is that of the genes in the sample."""
    genes, codes, values = _flatten(sample, len(strata))
    # One number sorts by stratum, then by value: values are between -1 and 1.
    ordered = np.sort(4.0 * codes + values)
    starts = np.searchsorted(ordered, 4.0 * np.arange(len(strata) + 1) - 2)
    sizes = np.diff(starts)
    places = np.floor(strata.ranks / np.maximum(strata.sizes, 1)[:, None] * sizes[:, None])
    places = np.clip(places, 0, np.maximum(sizes - 1, 0)[:, None])
    has = sizes >= _FEWEST
    limits = np.full(places.shape, np.inf)
    limits[has] = _at(ordered, starts, places)[has]
    margins = np.column_stack(
        [_margins(genes, codes, values < limit[codes], sizes) for limit in limits.T]
    )
    margins *= _ERRORS * np.sqrt(1 - share) * sizes[:, None]
    ends = np.stack([places - margins, places + margins + 1], axis=2)
    brackets = np.empty(ends.shape)
    for side, rounding in enumerate((-_ROUNDING, _ROUNDING)):
        inside = np.clip(ends[..., side], 0, np.maximum(sizes - 1, 0)[:, None])
        brackets[..., side] = _at(ordered, starts, inside) + rounding
    whole = ~has[:, None, None] | (ends < 0) | (ends >= sizes[:, None, None])
    brackets = np.where(whole, [-np.inf, np.inf], brackets)
    without = (strata.ranks < 0) | (strata.ranks >= strata.sizes[:, None])
    brackets[without | ~strata.enough[:, None]] = [np.inf, -np.inf]
    _drop_large(brackets, ordered, sizes, strata)
    return brackets


def _flatten(
    sample: Sequence[PairTile], none: int
) -> tuple[Int[np.ndarray, "n 2"], Int[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Return genes, stratum and value of the pairs of the tiles that have a value."""
    parts = []
    for tile in sample:
        strata = np.zeros(tile.means.shape, np.intp) if tile.strata is None else tile.strata
        rows, columns = np.nonzero(strata < none)
        genes = np.column_stack([rows + tile.first, columns + tile.second])
        parts.append((genes, strata[rows, columns], tile.means[rows, columns].astype(np.float64)))
    genes, codes, values = map(np.concatenate, zip(*parts, strict=True))
    return genes, codes, values


def _at(
    ordered: Float64[np.ndarray, " n"],
    starts: Int[np.ndarray, " s"],
    places: Float64[np.ndarray, "s 2t"],
) -> Float64[np.ndarray, "s 2t"]:
    """Return the values at places among the sorted values of each stratum."""
    codes = 4.0 * np.arange(len(places))[:, None]
    found = (starts[:-1, None] + places).astype(np.intp)
    return ordered[np.minimum(found, len(ordered) - 1)] - codes


def _margins(
    genes: Int[np.ndarray, "n 2"],
    codes: Int[np.ndarray, " n"],
    below: np.ndarray,
    sizes: Int[np.ndarray, " s"],
) -> Float64[np.ndarray, " s"]:
    """Return the standard error of the share of each stratum that is below its threshold."""
    # The share among pairs of sampled genes is a U-statistic of degree two: its variance is four
    # times that of the genes' own shares, divided by their number (Hoeffding 1948).
    count, pairs = int(genes.max(initial=0)) + 1, np.maximum(sizes, 1)
    shares = np.bincount(codes[below], minlength=len(sizes)) / pairs
    spread = np.zeros((count, len(sizes)))
    for side in genes.T:
        keys = side * len(sizes) + codes
        spread += np.bincount(keys[below], minlength=spread.size).reshape(spread.shape)
        spread -= shares * np.bincount(keys, minlength=spread.size).reshape(spread.shape)
    of_genes = 2 * spread.std(axis=0) / (2 * pairs / count) / np.sqrt(count)
    return of_genes + np.sqrt(shares * (1 - shares) / pairs)


def _drop_large(
    brackets: Brackets,
    ordered: Float64[np.ndarray, " n"],
    sizes: Int[np.ndarray, " s"],
    strata: Strata,
) -> None:
    """Empty the largest brackets, until all values in the others fit into memory."""
    # Many equal values, as of a map with one feature, are in a bracket together.
    codes = 4.0 * np.arange(len(strata))[:, None]
    low, high = np.clip(brackets[..., 0], -2, 2), np.clip(brackets[..., 1], -2, 2)
    held = np.searchsorted(ordered, codes + high, "right") - np.searchsorted(ordered, codes + low)
    shares = np.where(sizes[:, None] < _FEWEST, 1, held / np.maximum(sizes, 1)[:, None])
    expected = np.where(brackets[..., 0] < brackets[..., 1], shares * strata.sizes[:, None], 0)
    largest_last = np.argsort(expected, axis=None)
    too_many = largest_last[np.cumsum(expected.ravel()[largest_last]) > _COLLECTED]
    brackets.reshape(-1, 2)[too_many] = [np.inf, -np.inf]
