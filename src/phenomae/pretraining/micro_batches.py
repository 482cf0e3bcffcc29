"""Chooses the size of a step's micro-batches, and how many CPU cores compute them at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from phenomae.crops.tensors import Crops
from phenomae.free_memory import free_memory
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.team import Team
from phenomae.progress import info

# A micro-batch takes so many crops that adding its gradients costs little: as many that the FLOPs
# for each weight are those of 300 tokens, and four at least. With half as many crops the demo's
# network took .05 to .1 more time, and S/16 with one crop .25 more (docs/log.md, 2026-12-01).
_TOKENS = 300
_FLOPS_PER_TOKEN = 6  # for each weight, forward and backward
_MIN_CROPS = 4
# Beside what is saved for the backward pass, for its own results; 1.0 to 1.25 were measured.
_MARGIN = 1.3
_SHARE_OF_FREE = 0.8  # others need memory, too
# Copies of the weights that come in a training: gradients, two moments, and a checkpoint of weights
# and moments that is being written.
_COPIES = 6


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
    """Return the micro-batches of a training, of any memory.

    Their size depends on settings and network only, and so do the results. `crops_at_once` limits
    the crops of all cores together.
    """
    share = len(team.share(settings.crops_per_step))
    limit = min(settings.max_crops_at_once or share, share)
    on_cores = team.machine.device.type == "cpu" and team.count == 1 and not objective.is_compiled
    if not on_cores or not objective.is_mean_over_crops:
        return MicroBatches(limit, 0)
    weights = sum(item.numel() for item in objective.parameters() if item.requires_grad)
    enough = math.ceil(_TOKENS * _FLOPS_PER_TOKEN * weights / flops_per_crop)
    crops = _divisor(share, max(enough, _MIN_CROPS), limit)
    cores = min(limit // crops, torch.get_num_threads())
    return MicroBatches(crops, cores if cores > 1 else 0)


def fit_to_memory(
    batches: MicroBatches, objective: Objective, crop: Crops, team: Team, fields_bytes: int
) -> MicroBatches:
    """Return micro-batches whose activations fit into the memory that is free, or the smallest.

    `crop` is one crop, and `fields_bytes` the memory that fields will take. Batch norm, the pair
    loss and compiled networks need their micro-batches as they are.
    """
    free = _free(team.machine.device)
    if free is None or not objective.is_mean_over_crops or objective.is_compiled:
        return batches
    weights = sum(item.nbytes for item in objective.parameters() if item.requires_grad)
    per_crop = _MARGIN * _count_saved_bytes(objective, crop, team)
    on_cpu = team.machine.device.type == "cpu"
    left = _SHARE_OF_FREE * free - _COPIES * weights - (fields_bytes if on_cpu else 0)

    def fits(tried: MicroBatches) -> bool:
        # Each core has gradients of its own, and one more of each may wait to be added.
        return tried.crops_at_once * per_crop + 2 * tried.cores * weights <= left

    chosen = next(filter(fits, _smaller(batches)), None)
    if chosen is None:
        info(
            f"a step of one crop takes about {(per_crop + _COPIES * weights) / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free: choose a smaller network or crop_size, or set "
            "activation_checkpointing to on"
        )
        return MicroBatches(1, 0)
    if chosen != batches:
        info(
            f"crops_at_once is {chosen.crops_at_once} instead of {batches.crops_at_once}, because "
            f"{free / 1e9:.1f} GB of memory are free"
        )
    return chosen


def _smaller(batches: MicroBatches) -> Iterator[MicroBatches]:
    """Yield micro-batches with fewer and fewer crops in memory: first fewer cores, as fast each."""
    yield batches
    for cores in range(batches.cores - 1, 0, -1):
        yield MicroBatches(batches.crops, cores if cores > 1 else 0)
    for crops in range(batches.crops - 1, 0, -1):
        if batches.crops % crops == 0:
            yield MicroBatches(crops, 0)


def _count_saved_bytes(objective: Objective, crop: Crops, team: Team) -> int:
    """Return the size of what the forward pass of a crop saves for the backward pass."""
    weights = {item.untyped_storage().data_ptr() for item in objective.parameters()}
    sizes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
        team.machine.fabric.autocast(),
    ):
        objective.train()
        losses = objective(crop, 0)
    del losses
    return sum(sizes.values())


def _free(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory() if device.type == "cpu" else None


def _divisor(number: int, at_least: int, at_most: int) -> int:
    """Return the smallest divisor from `at_least` to `at_most`, or else the largest."""
    divisors = [size for size in range(1, at_most + 1) if number % size == 0]
    return next((size for size in divisors if size >= at_least), divisors[-1])
