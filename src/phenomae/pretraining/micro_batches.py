"""Chooses the size of a step's micro-batches, and how many CPU cores compute them at once."""

import math
from dataclasses import dataclass

import torch

from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.team import Team

# A micro-batch takes so many crops that adding its gradients costs little: as many that the FLOPs
# for each weight are those of 300 tokens, and four at least. With half as many crops the demo's
# network took .05 to .1 more time, and S/16 with one crop .25 more (docs/log.md, 2026-12-01).
_TOKENS = 300
_FLOPS_PER_TOKEN = 6  # for each weight, forward and backward
_MIN_CROPS = 4


@dataclass(frozen=True)
class MicroBatches:
    """The division of the crops that a process has in a step."""

    crops: int
    """Crops of a micro-batch."""
    cores: int
    """CPU cores that each compute a micro-batch at a time; 0: all compute one together."""

    @property
    def crops_at_once(self) -> int:
        """Crops whose activations are in memory at a time."""
        return self.crops * max(self.cores, 1)


def choose_micro_batches(
    settings: TrainingSettings, objective: Objective, flops_per_crop: int, team: Team
) -> MicroBatches:
    """Return the micro-batches of a training.

    Their size depends on settings and network only, and so do the results. `crops_at_once` limits
    the crops of all cores together.
    """
    share = len(team.share(settings.crops_per_step))
    limit = min(settings.crops_at_once or share, share)
    on_cores = team.machine.device.type == "cpu" and team.count == 1 and not objective.is_compiled
    if not on_cores or not objective.is_mean_over_crops:
        return MicroBatches(limit, 0)
    weights = sum(item.numel() for item in objective.parameters() if item.requires_grad)
    enough = math.ceil(_TOKENS * _FLOPS_PER_TOKEN * weights / flops_per_crop)
    crops = _divisor(share, max(enough, _MIN_CROPS), limit)
    cores = min(limit // crops, torch.get_num_threads())
    return MicroBatches(crops, cores if cores > 1 else 0)


def _divisor(number: int, at_least: int, at_most: int) -> int:
    """Return the smallest divisor from `at_least` to `at_most`, or else the largest."""
    divisors = [size for size in range(1, at_most + 1) if number % size == 0]
    return next((size for size in divisors if size >= at_least), divisors[-1])
