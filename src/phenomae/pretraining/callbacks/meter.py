"""Averages the losses of steps over all processes, and detects steps at which the loss exploded.

Losses stay on the device and are read only now and then, so that the loop does not wait for the GPU
after every step.
"""

import math
import statistics
from collections import deque
from collections.abc import Iterable

import torch
from torch import Tensor

from phenomae.pretraining.loop import Losses
from phenomae.pretraining.team import Team

# A loss is too high if it exceeds 5 times the median of the last 100; the median ignores the
# spikes that are to be detected.
_REMEMBERED = 100
_ENOUGH = 20
_TIMES = 5.0
_NUMBERS = ("loss", "gradient_norm")


class Exploded(Exception):  # noqa: N818
    """Raised for a step whose loss or gradients are not finite, or whose loss is far too high."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step
        """Counted from 0."""


class Meter:
    """Collects loss and gradient norm of every step, and reads them at boundaries.

    A boundary is a number of steps done that one of `boundaries` divides, or one of `places`.
    """

    def __init__(self, team: Team, boundaries: tuple[int, ...], places: frozenset[int]) -> None:
        self.team, self.boundaries, self.places = team, boundaries, places
        self.before: deque[float] = deque(maxlen=_REMEMBERED)
        """Losses of the last steps."""
        self.losses: list[float] = []
        """Losses of the steps between the last two boundaries, without skipped steps."""
        self.norms: list[float] = []
        """Gradient norms of the same steps."""
        self._steps: list[int] = []
        self._values: list[Tensor] = []

    def __call__(self, done: int, losses: Losses) -> None:
        """Callback: store the losses of a step. Raises Exploded at the boundary after it."""
        if losses:
            self._steps.append(done - 1)
            # Still on the device: reading them would wait for the step.
            self._values.append(torch.stack([losses[name].float() for name in _NUMBERS]))
        if self.is_boundary(done):
            self.read()

    def begin(self, before: Iterable[float]) -> None:
        """Start again after steps whose losses were `before`."""
        self.before = deque(before, maxlen=_REMEMBERED)
        self._steps, self._values = [], []

    def is_boundary(self, done: int) -> bool:
        """Return whether the losses are read after that many steps."""
        return done in self.places or any(done % length == 0 for length in self.boundaries)

    def read(self) -> None:
        """Read the losses of the steps since the last boundary from the device; raises Exploded."""
        steps, values = self._steps, self._values
        self._steps, self._values = [], []
        self.losses, self.norms = [], []
        if not steps:
            return
        # The mean over processes, so that all of them come to the same decision.
        rows = self.team.mean(torch.stack(values)).tolist()
        for step, (loss, norm) in zip(steps, rows, strict=True):
            self._check(step, loss, norm)
            self.before.append(loss)
            self.losses.append(loss)
            self.norms.append(norm)

    def _check(self, step: int, loss: float, norm: float) -> None:
        if not math.isfinite(loss):
            raise Exploded(step, f"the loss of step {step + 1} is {loss}")
        if not math.isfinite(norm):
            raise Exploded(step, f"the gradient norm of step {step + 1} is {norm}")
        # The first losses fall quickly; their median says nothing about what is normal.
        median = statistics.median(self.before) if len(self.before) >= _ENOUGH else math.inf
        if loss > _TIMES * median:
            raise Exploded(
                step, f"the loss of step {step + 1} is {loss:.4g}, but the median was {median:.4g}"
            )
