"""What a training's steps came to, over all processes, and whether something went wrong in one."""

import math
import statistics
from collections import deque
from collections.abc import Iterable

import torch
from torch import Tensor

from phenomae.pretraining.loop import Losses
from phenomae.pretraining.team import Team

_REMEMBERED = 100
_ENOUGH = 20
_TIMES = 5.0
_NUMBERS = ("loss", "gradient_norm")


class Exploded(Exception):  # noqa: N818
    """A step whose loss or gradients are no numbers, or whose loss is far above those before."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(what)
        self.step = step
        """Counted from 0."""


class Meter:
    """Keeps every step's loss and gradient norm on the device, and reads them now and then.

    So the loop waits for the device only at `boundaries`: whenever one of these lengths divides the
    number of steps done, or it is one of `places`.
    """

    def __init__(self, team: Team, boundaries: tuple[int, ...], places: frozenset[int]) -> None:
        self.team, self.boundaries, self.places = team, boundaries, places
        self.before: deque[float] = deque(maxlen=_REMEMBERED)
        """The losses of the last steps."""
        self.losses: list[float] = []
        """Of the steps between the last two boundaries, but for those passed over."""
        self.norms: list[float] = []
        """Of the same steps' gradients."""
        self._steps: list[int] = []
        self._values: list[Tensor] = []

    def __call__(self, done: int, losses: Losses) -> None:
        """Remember a step: a probe of the loop. Raises Exploded at the boundary after it."""
        if losses:
            self._steps.append(done - 1)
            self._values.append(torch.stack([losses[name].float() for name in _NUMBERS]))
        if self.is_boundary(done):
            self.read()

    def begin(self, before: Iterable[float]) -> None:
        """Begin anew, after steps whose losses were these."""
        self.before = deque(before, maxlen=_REMEMBERED)
        self._steps, self._values = [], []

    def is_boundary(self, done: int) -> bool:
        """Say whether what has been measured is read after so many steps."""
        return done in self.places or any(done % length == 0 for length in self.boundaries)

    def read(self) -> None:
        """Wait for the device, and look at the steps since the last time; raises Exploded."""
        steps, values = self._steps, self._values
        self._steps, self._values = [], []
        self.losses, self.norms = [], []
        if not steps:
            return
        rows = self.team.mean(torch.stack(values)).tolist()
        for step, (loss, norm) in zip(steps, rows, strict=True):
            self._judge(step, loss, norm)
            self.before.append(loss)
            self.losses.append(loss)
            self.norms.append(norm)

    def _judge(self, step: int, loss: float, norm: float) -> None:
        if not math.isfinite(loss):
            raise Exploded(step, f"the loss of step {step + 1} is {loss}")
        if not math.isfinite(norm):
            raise Exploded(step, f"the gradients of step {step + 1} are {norm}")
        usual = statistics.median(self.before) if len(self.before) >= _ENOUGH else math.inf
        if loss > _TIMES * usual:
            raise Exploded(
                step, f"the loss of step {step + 1} is {loss:.4g}, where {usual:.4g} was usual"
            )
