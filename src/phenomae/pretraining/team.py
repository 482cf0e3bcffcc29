"""The processes that train one network: their crops, their communication, and rank zero.

Without torchrun or SLURM the team is a single process, and no communication takes place.
"""

from collections.abc import Callable

import torch
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from phenomae.devices import Machine, Processes, count_processes, open_machine
from phenomae.models.network import Network
from phenomae.pretraining.blocks import blocks_of
from phenomae.pretraining.settings import TrainingSettings


class Team:
    """All processes that train the same network, as seen from this process."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        fabric = machine.fabric
        self.count, self.rank = fabric.world_size, fabric.global_rank
        # Flags are exchanged over gloo on the CPU: NCCL would queue them behind the training step
        # and make the CPU wait for the GPU after every step.
        on_gpus = self.count > 1 and machine.device.type == "cuda"
        self._group = torch.distributed.new_group(backend="gloo") if on_gpus else None

    @property
    def writes(self) -> bool:
        """Whether this is rank zero, the process that writes files and prints."""
        return self.rank == 0

    # Contiguous, because with AdaBN the crops of a step are ordered by plate.
    def share(self, crops_per_step: int) -> range:
        """Return the indices, within a step, of the crops of this process."""
        length = crops_per_step // self.count
        return range(self.rank * length, (self.rank + 1) * length)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes."""
        reduced = self.machine.fabric.all_reduce(values, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return reduced

    def any(self, here: bool) -> bool:
        """Return whether `here` is true in any process; all processes have to call this method."""
        if self.count == 1:
            return here
        flag = torch.tensor(int(here))
        # A tensor on the CPU, for the gloo group that `__init__` makes.
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=self._group)
        return bool(flag)

    def leave(self) -> None:
        """Leave the process group."""
        if self.count > 1:
            torch.distributed.destroy_process_group()

    def wait(self) -> None:
        """Wait until all processes have reached this call."""
        self.machine.fabric.barrier()


def gather_team(settings: TrainingSettings) -> Team:
    """Join the processes that torchrun or SLURM has started.

    Raises ValueError if the device does not exist, or if `check_shares` does.
    """
    processes = count_processes()
    check_shares(settings, processes)
    make_strategy = _make_fsdp if settings.strategy == "fsdp" else _make_ddp
    machine = open_machine(settings.device, settings.precision, make_strategy, processes)
    return Team(machine)


def check_shares(settings: TrainingSettings, processes: Processes) -> None:
    """Raise ValueError unless all processes, and all micro-batches, get equally many crops."""
    crops, count = settings.crops_per_step, processes.count
    # DDP averages gradients over processes: only with equal parts is that the mean over crops.
    if crops % count:
        raise ValueError(
            f"crops_per_step must be a multiple of {count}, the number of processes, not {crops}"
        )
    share, at_once = crops // count, settings.max_crops_at_once
    of_pair = 2 * settings.pair_crops if getattr(settings, "pair_weight", 0) else 1  # pyright: ignore
    if share % of_pair:
        raise ValueError(
            f"crops_per_step must be a multiple of {count * of_pair}, the crops of a pair of wells "
            f"for each of {count} processes, not {crops}"
        )
    if at_once is not None and at_once < share and share % at_once:
        raise ValueError(
            f"crops_at_once must be a divisor of {share}, the crops per step and process, not "
            f"{at_once}"
        )


def is_shared(module: nn.Module) -> bool:
    """Return whether this process holds only a part of a module's weights, as under FSDP."""
    return any(isinstance(value, DTensor) for value in module.parameters())


def whole(value: Tensor) -> Tensor:
    """Return the full tensor of a sharded one; all processes have to call this function."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def shared_like(value: Tensor, like: Tensor) -> Tensor:
    """Return a full tensor sharded in the same way as `like`, or unchanged if `like` is full."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


_make_ddp: Callable[[], Strategy] = DDPStrategy


def _make_fsdp() -> Strategy:
    processes = count_processes()
    return ModelParallelStrategy(_shard, data_parallel_size=processes.count, tensor_parallel_size=1)


def _shard(objective: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Shard every weight over the processes (FSDP2), block by block."""
    assert isinstance(objective.model, Network)
    # Blocks are sharded first, so that FSDP gathers one block at a time and not the whole network.
    for block in blocks_of(objective.model):
        fully_shard(block, mesh=mesh["data_parallel"])
    fully_shard(objective, mesh=mesh["data_parallel"])
    return objective
