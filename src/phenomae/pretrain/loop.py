"""The training loop, whatever it trains and wherever."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from phenomae.crops.stream import CropStream

Schedule = Callable[[int], float]
"""The learning rate of a step, counted from 0."""

Probe = Callable[[int, Mapping[str, Tensor]], None]
"""Looks on: called after every step with the number of steps done and that step's losses."""


def train(
    objective: nn.Module,
    stream: CropStream,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    first_step: int,
    steps: int,
    backward: Callable[[Tensor], None],
    probes: Sequence[Probe] = (),
) -> None:
    """Take the steps from `first_step` up to `steps`.

    `objective(crops, step)` gives losses, of which `loss` is minimised. `backward` is how the
    machine takes gradients. Probes measure, log and save; the loop does not know what.
    """
    objective.train()
    for step, crops in stream.steps(first_step, steps):
        for group in optimiser.param_groups:
            group["lr"] = schedule(step)
        losses = objective(crops, step)
        backward(losses["loss"])
        optimiser.step()
        optimiser.zero_grad()
        for probe in probes:
            probe(step + 1, losses)
