"""Odds ratios of 2 x 2 tables, many at once: pairs that are known or not, similar or not.

Every array is one cell of many tables. Fisher's exact test is one-sided: more known pairs among
the similar ones than the margins of the table let expect.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

Cell = Float64[np.ndarray, " k"]
_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Tables:
    """The cells of some 2 x 2 tables."""

    known_top: Cell
    """Known pairs among the most similar."""
    known_rest: Cell
    other_top: Cell
    other_rest: Cell

    @property
    def cells(self) -> list[Cell]:
        """The four cells, as floating point numbers, in the order of the fields."""
        fields = (self.known_top, self.known_rest, self.other_top, self.other_rest)
        return [np.asarray(cell, dtype=np.float64) for cell in fields]

    def odds_ratios(self) -> Cell:
        """Return the odds ratios; 0, infinite or NaN where a cell is 0."""
        known_top, known_rest, other_top, other_rest = self.cells
        with np.errstate(divide="ignore", invalid="ignore"):
            return known_top * other_rest / (known_rest * other_top)

    def corrected_log_odds(self) -> Cell:
        """Return the logarithms of the odds ratios, with .5 added to all cells where one is 0.

        This is the modified Haldane-Anscombe correction (Weber et al. 2020, Res Synth Methods 11,
        913), which MorphoHELM uses.
        """
        cells = np.stack(self.cells)
        cells += 0.5 * (cells.min(axis=0) == 0)
        known_top, known_rest, other_top, other_rest = np.log(cells)
        return known_top + other_rest - known_rest - other_top

    def intervals(self) -> tuple[Cell, Cell]:
        """Return the 95 % intervals of the odds ratios (Woolf 1955); NaN where a cell is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = _Z * np.sqrt(np.sum([1 / cell for cell in self.cells], axis=0))
            log_odds = np.where(np.isfinite(spread), np.log(self.odds_ratios()), np.nan)
            return np.exp(log_odds - spread), np.exp(log_odds + spread)

    def fisher_p(self) -> Cell:
        """Return the p-values of Fisher's exact test, one-sided."""
        from scipy.stats import hypergeom  # imported here: .6 s would delay --help

        known_top, known_rest, other_top, other_rest = self.cells
        known, top = known_top + known_rest, known_top + other_top
        # scipy needs 70 us for each table, and most tables of genes are there many times.
        keys = np.stack([known_top, known + other_top + other_rest, known, top], axis=1)
        distinct, index = np.unique(keys.astype(np.int64), axis=0, return_inverse=True)
        return hypergeom.sf(distinct[:, 0] - 1, *distinct[:, 1:].T)[index]


@dataclass(frozen=True)
class RandomTables:
    """The tables of rankings in which the known ones are a random part of all others."""

    known: Cell
    top: Cell
    """Number of the others that are the most similar."""
    others: Cell

    def log_odds(self) -> Cell:
        """Return the mean of `Tables.corrected_log_odds`.

        It is far above 0 for few known ones, because .5 is added to most tables then.
        """
        return self._mean(lambda tables, _: tables.corrected_log_odds())

    def significant(self, level: float) -> Cell:
        """Return the probability of a `Tables.fisher_p` of at most `level`.

        It is below `level`, because a p-value of counts has few values.
        """
        return self._mean(lambda _, p: p <= level)

    def _mean(self, measure: Callable[[Tables, Cell], np.ndarray]) -> Cell:
        """Return the mean of a measure of tables and their p-values over all random tables."""
        from scipy.stats import hypergeom

        keys = np.stack([self.known, self.top, self.others], axis=1).astype(np.int64)
        # Most rankings have the numbers of another one.
        distinct, index = np.unique(keys, axis=0, return_inverse=True)
        means = np.empty(len(distinct))
        for place, (known, top, others) in enumerate(distinct.tolist()):
            hits = np.arange(max(0, known + top - others), min(known, top) + 1)
            tables = Tables(hits, known - hits, top - hits, others - known - top + hits)
            law: Any = hypergeom(others, known, top)
            means[place] = law.pmf(hits) @ measure(tables, law.sf(hits - 1))
        return means[index]
