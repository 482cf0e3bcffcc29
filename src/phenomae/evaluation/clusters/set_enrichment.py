"""Which known sets have more of their names in a cluster than random clusters would have.

The test is the hypergeometric one. Its null hypothesis, that names are drawn one by one, is wrong
for sets that share names and for names that are alike for other reasons than their set: therefore
the same is done with names that are shuffled among clusters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Float64, Int

from phenomae.evaluation.clusters.known_sets import Sets
from phenomae.evaluation.false_discovery import false_discovery_rates

Labels = Int[np.ndarray, " g"]
SCHEMA: dict[str, pl.DataType] = {
    "cluster": pl.Int64(),
    "source": pl.String(),
    "set": pl.String(),
    "overlap": pl.Int64(),
    "expected": pl.Float64(),
    "in_cluster": pl.Int64(),
    "in_set": pl.Int64(),
    "background": pl.Int64(),
    "p": pl.Float64(),
    "fdr": pl.Float64(),
    "names": pl.String(),
}
_LISTED = 2  # names that a cluster and a set share, at least, in the table


@dataclass
class _Source:
    """The sets of a source that are tested."""

    name: str
    sets: Sets
    background: Int[np.ndarray, " b"]
    """Rows of the map that are in any set of the source, also in those that are not tested."""
    tails: dict[tuple[int, int], Float64[np.ndarray, " t"]] = field(default_factory=dict)

    @cached_property
    def names(self) -> list[str]:
        return list(self.sets)

    @cached_property
    def sizes(self) -> Int[np.ndarray, " s"]:
        return np.array([len(rows) for rows in self.sets.values()])

    @cached_property
    def entries(self) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
        """The number of a set and a row that is in it, for each member of each set."""
        rows = np.concatenate(list(self.sets.values()))
        return np.repeat(np.arange(len(self.sizes)), self.sizes), rows

    def chances(
        self, in_cluster: Int[np.ndarray, " o"], sets: Int[np.ndarray, " o"], overlap: Labels
    ) -> Float64[np.ndarray, " o"]:
        """Return the probability of an overlap that is as large, or larger, for each of some."""
        base = len(self.background) + 1
        keys = (in_cluster * base + self.sizes[sets]) * base + overlap
        distinct, places = np.unique(keys, return_inverse=True)  # many are there again and again
        both, shared = np.divmod(distinct, base)
        numbers = zip((both // base).tolist(), (both % base).tolist(), shared.tolist(), strict=True)
        p = [self._tail(drawn, marked)[its] for drawn, marked, its in numbers]
        return np.array(p)[places]

    def _tail(self, drawn: int, marked: int) -> Float64[np.ndarray, " t"]:
        """Return P(X >= 0), P(X >= 1), ... of the hypergeometric distribution."""
        if (drawn, marked) not in self.tails:
            self.tails[drawn, marked] = _hypergeometric_tail(len(self.background), marked, drawn)
        return self.tails[drawn, marked]


def _hypergeometric_tail(total: int, marked: int, drawn: int) -> Float64[np.ndarray, " t"]:
    from scipy.special import gammaln

    def log_choose(n: int, k: np.ndarray) -> np.ndarray:
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    min_shared, max_shared = max(0, drawn + marked - total), min(drawn, marked)
    shared = np.arange(min_shared, max_shared + 1)
    log_p = log_choose(marked, shared) + log_choose(total - marked, drawn - shared)
    p = np.exp(log_p - log_choose(total, np.array(drawn)))
    tail = np.minimum(np.cumsum(p[::-1])[::-1], 1)  # small terms first, which keeps their digits
    return np.concatenate([np.ones(min_shared), tail])


@dataclass(frozen=True)
class _Overlaps:
    """All pairs of a cluster and a set of one source that share a name."""

    cluster: Int[np.ndarray, " o"]
    number: Int[np.ndarray, " o"]
    """Number of the set."""
    shared: Int[np.ndarray, " o"]
    in_cluster: Int[np.ndarray, " o"]
    """Names of the cluster in the background."""
    p: Float64[np.ndarray, " o"]
    tests: int
    """All pairs of a cluster with a name in the background and a set: p is 1 for the others."""


class KnownSets:
    """The sets that clusters of a map are tested for."""

    def __init__(self, sets: Mapping[str, Sets], min_genes: int) -> None:
        self.sources = []
        for name, every in sets.items():
            tested = {label: rows for label, rows in every.items() if len(rows) >= min_genes}
            if tested:
                background = np.unique(np.concatenate(list(every.values())))
                self.sources.append(_Source(name, tested, background))

    @property
    def count(self) -> int:
        """The number of sets that are tested."""
        return sum(len(source.sets) for source in self.sources)

    def enrichment(self, labels: Labels, names: list[str]) -> tuple[pl.DataFrame, int]:
        """Return what clusters are enriched for, the lowest p first, and the number of tests.

        `p` is P(X >= overlap) of the hypergeometric distribution, where the names of the cluster in
        the background are drawn from the background, the names of the map that are in any set of
        the source. `fdr` is that of Benjamini & Hochberg (1995) over all tests of all sources. Sets
        that share one name or none with a cluster are tested and not listed.
        """
        found = [_overlaps(source, labels) for source in self.sources]
        fdr = _adjust(found)
        parts = []
        for source, overlaps, adjusted in zip(self.sources, found, fdr, strict=True):
            parts += _rows(source, overlaps, adjusted, labels, names)
        table = pl.DataFrame(parts, SCHEMA, orient="row")
        tests = sum(overlaps.tests for overlaps in found)
        return table.sort("p", "source", "set", "cluster"), tests

    def summarize(self, labels: Labels, level: float) -> tuple[int, float]:
        """Return the number of clusters that are enriched for a set, and the lowest p.

        Enriched is a cluster with a set in the table whose false discovery rate is at most `level`.
        """
        found = [_overlaps(source, labels) for source in self.sources]
        enriched: set[int] = set()
        for overlaps, adjusted in zip(found, _adjust(found), strict=True):
            hits = (adjusted <= level) & (overlaps.shared >= _LISTED)
            enriched.update(overlaps.cluster[hits].tolist())
        return len(enriched), min(float(overlaps.p.min()) for overlaps in found)


def _overlaps(source: _Source, labels: Labels) -> _Overlaps:
    clusters = int(labels.max()) + 1
    sizes = np.bincount(labels[source.background], minlength=clusters)
    sets, rows = source.entries
    places, shared = np.unique(labels[rows] * len(source.sizes) + sets, return_counts=True)
    cluster, number = np.divmod(places, len(source.sizes))
    p = source.chances(sizes[cluster], number, shared)
    tests = int(np.count_nonzero(sizes)) * len(source.sizes)
    return _Overlaps(cluster, number, shared, sizes[cluster], p, tests)


def _adjust(found: list[_Overlaps]) -> list[Float64[np.ndarray, " o"]]:
    """Return the false discovery rates of all overlaps, among all tests."""
    p = np.concatenate([overlaps.p for overlaps in found])
    tests = sum(overlaps.tests for overlaps in found)
    # The tests that are not listed, of sets and clusters that share nothing, have p = 1.
    adjusted = false_discovery_rates(p, tests)
    return np.split(adjusted, np.cumsum([len(overlaps.p) for overlaps in found])[:-1])


def _rows(
    source: _Source,
    overlaps: _Overlaps,
    adjusted: Float64[np.ndarray, " o"],
    labels: Labels,
    names: list[str],
) -> list[tuple[object, ...]]:
    """Return the rows of the table of one source."""
    background, rows = len(source.background), []
    for place in np.flatnonzero(overlaps.shared >= _LISTED).tolist():
        cluster, number = int(overlaps.cluster[place]), int(overlaps.number[place])
        in_cluster, in_set = int(overlaps.in_cluster[place]), int(source.sizes[number])
        members = source.sets[source.names[number]]
        shared = [names[row] for row in members[labels[members] == cluster]]
        rows.append(
            (
                *(cluster, source.name, source.names[number], len(shared)),
                in_cluster * in_set / background,
                *(in_cluster, in_set, background),
                *(float(overlaps.p[place]), float(adjusted[place])),
                " | ".join(shared),
            )
        )
    return rows
