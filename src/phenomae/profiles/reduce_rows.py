"""Averages the rows of each well, for some features at a time.

A mean is summed in float64, in the order of the rows, so that it is the same on every machine.
Missing values are left out, as pandas does in pycytominer's `aggregate`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Float, Float32, Int

from phenomae.profiles.source import Grouping


@dataclass(frozen=True)
class Reducer:
    """Averages blocks of features by well."""

    rows: Grouping

    def reduce(self, values: Float32[np.ndarray, "n b"]) -> Float[np.ndarray, "w b"]:
        """Return the average of each well's rows, in the order of the wells.

        Raises ValueError if rows are wells and two of one well differ.
        """
        if self.changes_nothing:
            return values
        if self._is_single:
            return values[self._order]
        if self.rows.unit == "wells":
            return self._require_same(values[self._order])
        if self.rows.statistic == "mean":
            return self._mean(values[self._order])
        return self._median(values)

    @cached_property
    def _order(self) -> Int[np.ndarray, " m"]:
        """The rows that are used, well by well."""
        order = np.argsort(self.rows.well, kind="stable")
        return order[np.searchsorted(self.rows.well[order], 0) :]  # rows of -1 are left out

    @cached_property
    def _starts(self) -> Int[np.ndarray, " w"]:
        sizes = np.bincount(self.rows.well[self._order], minlength=self.rows.count)
        return np.concatenate([[0], np.cumsum(sizes)[:-1]])

    @cached_property
    def _is_single(self) -> bool:
        return len(self._order) == self.rows.count

    @cached_property
    def changes_nothing(self) -> bool:
        """Whether each row is a well, in the order of the wells."""
        return self._is_single and np.array_equal(self._order, np.arange(len(self.rows.well)))

    def _mean(self, values: Float32[np.ndarray, "m b"]) -> Float[np.ndarray, "w b"]:
        missing = np.isnan(values)
        sums = np.add.reduceat(np.where(missing, 0, values).astype(np.float64), self._starts)
        counts = np.add.reduceat(~missing, self._starts, dtype=np.int64)
        return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)

    def _median(self, values: Float32[np.ndarray, "n b"]) -> Float[np.ndarray, "w b"]:
        frame = pl.from_numpy(values).fill_nan(None).with_columns(well=self.rows.well)
        medians = frame.filter(pl.col("well") >= 0).group_by("well").agg(pl.all().median())
        return medians.sort("well").drop("well").to_numpy()

    def _require_same(self, values: Float32[np.ndarray, "m b"]) -> Float[np.ndarray, "w b"]:
        first = values[self._starts]
        sizes = np.diff([*self._starts, len(values)])
        same = np.isclose(values, np.repeat(first, sizes, axis=0), 0, 0, equal_nan=True)
        if not same.all():
            row = self._order[int(np.argmin(same.all(axis=1)))]
            well = self.rows.names[int(self.rows.well[row])]
            raise ValueError(
                f"{well} is in the tables twice, with other values: take one out, or say what a "
                "row is (setting rows = sites or cells)"
            )
        return first
