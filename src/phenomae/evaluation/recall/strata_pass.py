"""One pass over all pairs of genes: counts values beyond the brackets, collects those in them."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from phenomae.evaluation.recall.mean_cosines import PairTile
from phenomae.evaluation.recall.strata import Strata
from phenomae.evaluation.recall.strata_sample import Brackets
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.recall.tiles import PairsInTiles


def join(codes: Int[np.ndarray, " n"], values: Float32[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return one number for each pair that sorts by stratum, then by value, exactly."""
    # The bits of a float sort as whole numbers if those below the sign are inverted in negative
    # ones. Adding 0 makes -0 to 0.
    bits = (values + np.float32(0)).view(np.int32)
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (codes.astype(np.int64) << 32) + ascending + (1 << 31)


def values_in(joined: Int[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """Return the values that `join` joined."""
    ascending = ((joined & 0xFFFFFFFF) - (1 << 31)).astype(np.int32)
    return (ascending ^ ((ascending >> 31) & 0x7FFFFFFF)).view(np.float32)


class BracketCounts:
    """What some tiles of a tier have for each threshold: all lower, then all upper ones."""

    def __init__(self, strata: int, thresholds: int) -> None:
        self.beyond: Int[np.ndarray, "s 2t"] = np.zeros((strata, thresholds), dtype=np.int64)
        """Number of values below each lower, and above each upper bracket."""
        self.inside: list[list[Int[np.ndarray, " some"]]] = [[] for _ in range(thresholds)]
        """Strata and values of the pairs in the brackets, as `join` joins them."""

    def add(self, other: "BracketCounts") -> None:
        """Add what was found in other tiles."""
        self.beyond += other.beyond
        for mine, more in zip(self.inside, other.inside, strict=True):
            mine.extend(more)

    def pick(self, strata: Strata) -> Float64[np.ndarray, "s 2t"]:
        """Return the value at each rank, once; NaN where it is not in its bracket."""
        limits = np.full(strata.ranks.shape, np.nan)
        for number, ranks in enumerate(strata.ranks.T):
            ordered = np.concatenate(self.inside[number])
            self.inside[number].clear()  # they may be the largest arrays of all
            ordered.sort()
            starts = np.searchsorted(ordered, np.arange(len(strata) + 1) << 32)
            sizes, beyond = np.diff(starts), self.beyond[:, number]
            is_lower = number < strata.ranks.shape[1] // 2
            places = ranks - beyond if is_lower else sizes - (strata.sizes - ranks) + beyond
            inside = (places >= 0) & (places < sizes)
            limits[inside, number] = values_in(ordered[(starts[:-1] + places)[inside]])
        return limits


class BracketSearch:
    """Looks for the values in and beyond the brackets of a tier, and for known pairs."""

    def __init__(self, brackets: Brackets, known: PairsInTiles, count: int) -> None:
        self._known = known
        self.cosines = np.empty(count)
        """The values of the `count` known pairs."""
        # float32 as the values, so that each is either beyond a bracket or in it.
        low, high = np.ascontiguousarray(brackets.astype(np.float32).transpose(2, 1, 0))
        lower, upper = np.split(np.arange(len(low)), 2)
        self._low, self._high, self._thresholds = low, high, (lower, upper)
        # Values between these two are in no tail and in no bracket. The last are for pairs that are
        # left out.
        self._upto = np.append(high[lower].max(axis=0), np.float32(-np.inf))
        self._from = np.append(low[upper].min(axis=0), np.float32(np.inf))

    def search(self, tile: PairTile, found: BracketCounts) -> None:
        """Add what is in a tile to `found`, and the known pairs to `cosines`."""
        self._known.put(tile.first, tile.second, tile.means, self.cosines)
        values, strata = tile.means.ravel(), tile.strata
        if strata is None:
            places = np.flatnonzero((values <= self._upto[0]) | (values >= self._from[0]))
            codes = np.zeros(len(places), dtype=np.intp)
        else:
            strata = strata.ravel()
            # With mode raise, take would check all indices first.
            upto, start = (ends.take(strata, mode="clip") for ends in (self._upto, self._from))
            places = np.flatnonzero((values <= upto) | (values >= start))
            codes = strata[places]
        values = values[places]
        lower, upper = self._thresholds
        self._count_and_collect(lower, values <= self._upto.take(codes), codes, values, found)
        self._count_and_collect(upper, values >= self._from.take(codes), codes, values, found)

    def _count_and_collect(
        self,
        numbers: Int[np.ndarray, " t"],
        side: Bool[np.ndarray, " n"],
        codes: Int[np.ndarray, " n"],
        values: Float32[np.ndarray, " n"],
        found: BracketCounts,
    ) -> None:
        """Sort the values of the lower or the upper tails into beyond and inside each bracket."""
        # Places instead of masks, because almost all values are beyond: few are looked at twice.
        here = np.flatnonzero(side)
        codes, values = codes[here], values[here]
        every = np.bincount(codes, minlength=len(found.beyond))
        for number in numbers.tolist():
            low, high = self._low[number], self._high[number]
            if number in self._thresholds[0]:
                rest = np.flatnonzero(values >= low.take(codes))
            else:
                rest = np.flatnonzero(values <= high.take(codes))
            of_rest, some = codes[rest], np.clip(values[rest], -1, 1)
            found.beyond[:, number] += every - np.bincount(of_rest, minlength=len(every))
            inside = (some >= low.take(of_rest)) & (some <= high.take(of_rest))
            found.inside[number].append(join(of_rest[inside], some[inside]))


def search_panel(
    searches: Mapping[TierName, BracketSearch],
    strata: Mapping[TierName, Strata],
    panel: Iterator[PairTile],
) -> dict[TierName, BracketCounts]:
    """Return what is found in the tiles of a panel."""
    found: dict[TierName, BracketCounts] = {
        tier: BracketCounts(*some.ranks.shape) for tier, some in strata.items()
    }
    for tile in panel:
        searches[tile.tier].search(tile, found[tile.tier])
    return found
