"""Averages the losses of steps over all processes, and detects steps at which the loss exploded.

Losses stay on the device and are read only at boundaries, so that the loop does not wait for the
GPU after every step.
"""

import math
import statistics
from collections import deque
from collections.abc import Iterable

import torch
from torch import Tensor

from phenomae.pretraining.loop import Losses
from phenomae.pretraining.team import Team

# A loss is too high if it exceeds 5 times the median of the last 100 losses. The median, unlike
# the mean, ignores the spikes that are to be detected.
_REMEMBERED = 100
_ENOUGH = 20
_TIMES = 5.0
_NUMBERS = ("loss", "gradient_norm")


class Exploded(Exception):  # noqa: N818
    """Raised if the loss or gradient norm of a step is not finite, or if its loss is too high."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step
        """The step that exploded, counted from 0."""


class Meter:
    """Collects the loss and gradient norm of every step, and reads them at boundaries.

    A boundary is a number of steps done: a multiple of one of `boundaries`, or one of `places`.
    """

    def __init__(self, team: Team, boundaries: tuple[int, ...], places: frozenset[int]) -> None:
        self.team, self.boundaries, self.places = team, boundaries, places
        self.before: deque[float] = deque(maxlen=_REMEMBERED)
        """Losses of the last 100 steps that were read."""
        self.losses: list[float] = []
        """Losses of the steps between the last two boundaries, without skipped steps."""
        self.norms: list[float] = []
        """Gradient norms of the same steps."""
        self.parts: dict[str, float] = {}
        """Mean of each part of the loss, and of other measures of a step, over the same steps."""
        self._steps: list[int] = []
        self._values: list[Tensor] = []
        self._names: tuple[str, ...] = _NUMBERS

    def __call__(self, done: int, losses: Losses) -> None:
        """Callback: store the losses of a step, and read all stored losses at a boundary.

        Raises Exploded at the first boundary after a step that exploded.
        """
        if losses:
            self._steps.append(done - 1)
            # The values stay on the device: reading them would wait for the step to end.
            self._names = (*_NUMBERS, *(name for name in losses if name not in _NUMBERS))
            self._values.append(torch.stack([losses[name].float() for name in self._names]))
        if self.is_boundary(done):
            self.read()

    def begin(self, before: Iterable[float]) -> None:
        """Forget the stored losses, and continue after steps whose losses were `before`."""
        self.before = deque(before, maxlen=_REMEMBERED)
        self._steps, self._values = [], []

    def is_boundary(self, done: int) -> bool:
        """Return whether the losses are read after `done` steps."""
        return done in self.places or any(done % length == 0 for length in self.boundaries)

    def read(self) -> None:
        """Read the losses since the last boundary from the device; may raise Exploded."""
        steps, values = self._steps, self._values
        self._steps, self._values = [], []
        self.losses, self.norms, self.parts = [], [], {}
        if not steps:
            return
        # Averaged over processes, so that all processes come to the same decision.
        read = self.team.mean(torch.stack(values)).cpu()
        means = dict(zip(self._names, read.mean(0).tolist(), strict=True))
        self.parts = {name: means[name] for name in self._names if name not in _NUMBERS}
        for step, (loss, norm, *_) in zip(steps, read.tolist(), strict=True):
            self._check(step, loss, norm)
            self.before.append(loss)
            self.losses.append(loss)
            self.norms.append(norm)

    def _check(self, step: int, loss: float, norm: float) -> None:
        if not math.isfinite(loss):
            raise Exploded(step, f"the loss of step {step + 1} is {loss}")
        if not math.isfinite(norm):
            raise Exploded(step, f"the gradient norm of step {step + 1} is {norm}")
        # Losses fall quickly at first, so the median of fewer than 20 is no reference.
        median = statistics.median(self.before) if len(self.before) >= _ENOUGH else math.inf
        if loss > _TIMES * median:
            raise Exploded(
                step, f"the loss of step {step + 1} is {loss:.4g}, but the median was {median:.4g}"
            )
