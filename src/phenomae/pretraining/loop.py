"""The training loop, whatever it trains and wherever."""

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor

from phenomae.crops.stream import CropStream
from phenomae.crops.tensors import Crops

Losses = Mapping[str, Tensor]
"""A step's losses, of which `loss` is minimised; none where the step was passed over."""

Learn = Callable[[Crops, int], Losses]
"""Takes one step of training: a step's crops, and its number from 0."""

Probe = Callable[[int, Losses], None]
"""Looks on: called after every step with the number of steps done and that step's losses."""


def train(
    learn: Learn,
    stream: CropStream,
    *,
    first_step: int,
    steps: int,
    passed_over: Collection[int] = (),
    probes: Sequence[Probe] = (),
) -> None:
    """Take the steps from `first_step` up to `steps`, but for those that are passed over.

    Probes watch, measure, log and save; the loop does not know what.
    """
    for step, crops in stream.steps(first_step, steps, without=passed_over):
        losses = learn(crops, step) if crops is not None else {}
        for probe in probes:
            probe(step + 1, losses)
