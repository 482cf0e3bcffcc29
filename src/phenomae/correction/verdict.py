"""The verdict on a correction: did it help, by figures that are measured before and after.

Each figure has a value of 0 or 1 per well, before and after. It is better or worse if the 95 %
interval of the mean of its paired differences does not include 0, and else the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

Change = Literal["better", "same", "worse"]
_NORMAL_95 = 1.959964  # standard deviations on each side of the mean
MIN_WELLS = 10
"""Fewer wells give no interval: the normal approximation would be wrong."""


@dataclass(frozen=True)
class Figure:
    """One figure of a correction, of the same wells before and after."""

    name: str
    before: Bool[np.ndarray, " n"]
    after: Bool[np.ndarray, " n"]
    chance: float
    higher_is_better: bool

    @property
    def interval(self) -> tuple[float, float, float] | None:
        """Mean difference (after - before) with its 95 % interval; None for too few wells."""
        if (count := len(self.before)) < MIN_WELLS:
            return None
        difference = self.after.astype(np.float64) - self.before
        mean = float(difference.mean())
        margin = _NORMAL_95 * float(difference.std(ddof=1)) / np.sqrt(count)
        return mean, mean - margin, mean + margin

    @property
    def change(self) -> Change | None:
        """Whether the figure is better, the same or worse; None for too few wells.

        A share that should be low and is not above chance, before and after, is the same: below
        chance there is nothing to gain.
        """
        if (found := self.interval) is None:
            return None
        _, low, high = found
        if not self.higher_is_better and max(self.before.mean(), self.after.mean()) <= self.chance:
            return "same"
        if low <= 0 <= high:
            return "same"
        return "better" if (low > 0) == self.higher_is_better else "worse"

    def describe(self) -> str:
        """Return the figure in words: `kNN batch accuracy .61 to .10`."""
        before, after = (f"{part.mean():.3f}".lstrip("0") for part in (self.before, self.after))
        return f"{self.name} {before} to {after}"


def conclude(figures: Sequence[Figure], lacking: Sequence[str]) -> str:
    """Return the verdict in one line.

    `lacking` says what could not be measured, such as `one plate`: a correction whose effect on
    batches or on replicates is not known is undetermined, whatever else is better.
    """
    known = {change: [f for f in figures if f.change == change] for change in ("better", "worse")}
    if lacking:
        return f"verdict: undetermined ({', '.join(lacking)})"
    better, worse = (
        ", ".join(figure.describe() for figure in known[change]) for change in ("better", "worse")
    )
    if better and worse:
        return f"verdict: mixed (better: {better}; worse: {worse})"
    if better:
        return f"verdict: helped ({better})"
    if worse:
        return f"verdict: hurt ({worse})"
    return "verdict: undetermined (no figure changed by more than chance)"
