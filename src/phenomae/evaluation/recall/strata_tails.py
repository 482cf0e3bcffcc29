"""Thresholds of the tails in each stratum of each tier, as exact order statistics.

A sample of the genes gives a bracket around each threshold, and one pass over all pairs finds it
there. A threshold that is outside its bracket takes two more passes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from phenomae.evaluation.recall.cosines import Pairs, scan_strips
from phenomae.evaluation.recall.mean_cosines import MeanCosines, PairTile
from phenomae.evaluation.recall.strata import Strata
from phenomae.evaluation.recall.strata_pass import BracketCounts, BracketSearch, search_panel
from phenomae.evaluation.recall.strata_sample import bracket_strata
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.recall.tiles import NO_VALUE, PairsInTiles, Strip

Marks = UInt8[np.ndarray, "g eighth_of_g"]
"""One bit for every pair of rows, as `cosines.mark_tails` returns them."""


@dataclass(frozen=True)
class TierTails:
    """The tails of the strata of a tier, and which known pairs are in them."""

    below: Float64[np.ndarray, "strata t"]
    """A pair with a value < `below` or > `above` of its stratum is in a tail. The last row is for
    pairs that are left out, which are in no tail."""
    above: Float64[np.ndarray, "strata t"]
    found: Bool[np.ndarray, "pairs t"]
    """Whether each known pair is in the tails."""


def find_in_strata(values: MeanCosines, pairs: Pairs) -> dict[TierName, TierTails]:
    """Return for each tier the tails of its strata, and which of `pairs` are in them."""
    known, brackets = PairsInTiles(pairs, len(values)), bracket_strata(values)
    strata: dict[TierName, Strata] = {}
    searches: dict[TierName, BracketSearch] = {}
    found: dict[TierName, BracketCounts] = {}
    for tier, of_tier in values.tiers.items():
        strata[tier] = of_tier.strata
        searches[tier] = BracketSearch(brackets[tier], known, len(pairs))
        found[tier] = BracketCounts(*of_tier.strata.ranks.shape)
    for panel in values.run(partial(search_panel, searches, strata), "recall by tier"):
        for tier, part in panel.items():
            found[tier].add(part)
    tails: dict[TierName, TierTails] = {}
    for tier, of_tier in values.tiers.items():
        limits = found.pop(tier).pick(of_tier.strata)
        _scan_missing(values.only(tier), tier, limits)
        below, above = _tails_at(limits, of_tier.strata)
        codes, cosines = of_tier.find(pairs), searches[tier].cosines.clip(-1, 1)[:, None]
        tails[tier] = TierTails(below, above, (cosines < below[codes]) | (cosines > above[codes]))
    return tails


def mark_strata(
    values: MeanCosines, tails: Mapping[TierName, TierTails]
) -> dict[TierName, list[Marks]]:
    """Return for each tier one array of bits per percentile pair, then one of the counted pairs."""
    count = len(values)
    marks: dict[TierName, list[Marks]] = {
        tier: [np.zeros((count, -(-count // 8)), dtype=np.uint8) for _ in (*some.below.T, None)]
        for tier, some in tails.items()
    }

    def mark(panel: Iterator[PairTile]) -> None:
        for tile in panel:
            of_tier, strata = tails[tile.tier], values.tiers[tile.tier].strata
            codes = np.zeros((1, 1), dtype=np.intp) if tile.strata is None else tile.strata
            means = np.clip(tile.means, -1, 1)
            rows, columns = means.shape
            marked = [
                (means < below[codes]) | (means > above[codes])
                for below, above in zip(of_tier.below.T, of_tier.above.T, strict=True)
            ]
            marked.append(np.broadcast_to(np.append(strata.enough, False)[codes], means.shape))
            for bits, some in zip(marks[tile.tier], marked, strict=True):
                here = bits[tile.first : tile.first + rows, tile.second // 8 :]
                here[:, : -(-columns // 8)] = np.packbits(some, axis=1)

    for _ in values.run(mark, "tails by tier"):
        pass
    return marks


def _scan_missing(values: MeanCosines, tier: TierName, limits: Float64[np.ndarray, "s 2t"]) -> None:
    """Put the thresholds that are NaN and needed into `limits`."""
    strata, none = values.tiers[tier].strata, np.empty((0, 2), dtype=np.int64)
    needed = strata.enough[:, None] & (strata.ranks >= 0) & (strata.ranks < strata.sizes[:, None])
    missing = needed & np.isnan(limits)
    for stratum in np.flatnonzero(missing.any(axis=1)).tolist():
        cut, some = partial(_cut_stratum, values, stratum), missing[stratum]
        limits[stratum, some] = scan_strips(len(values), cut, strata.ranks[stratum, some], none)[0]


def _cut_stratum(values: MeanCosines, stratum: int, first: int) -> Strip:
    """Yield the tiles of the panels that start at a row, with values of one stratum only."""
    # Panels, because a product of other ranges of rows rounds differently.
    for rows, columns in values.panels:
        for tile in values.cut(rows, columns) if rows.start == first else ():
            numbers = np.clip(tile.means.astype(np.float64), -1, 1)
            if tile.strata is not None:
                numbers[tile.strata != stratum] = NO_VALUE
            yield tile.first, tile.second, numbers


def _tails_at(
    limits: Float64[np.ndarray, "s 2t"], strata: Strata
) -> tuple[Float64[np.ndarray, "strata t"], Float64[np.ndarray, "strata t"]]:
    """Return the thresholds of each stratum, and of the pairs that are left out."""
    # A tail of 100 % (low 1 or high 0) has an infinite threshold, because comparisons are strict.
    sizes = strata.sizes[:, None]
    limits = np.where(strata.ranks < 0, -np.inf, np.where(strata.ranks >= sizes, np.inf, limits))
    below, above = np.split(limits, 2, axis=1)
    nowhere = ~strata.enough[:, None]
    below, above = np.where(nowhere, -np.inf, below), np.where(nowhere, np.inf, above)
    row = np.full((1, below.shape[1]), np.inf)
    return np.concatenate([below, -row]), np.concatenate([above, row])
