"""The processes that share a training: each one's crops, what they agree on, and who writes."""

from collections.abc import Callable, Iterable

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
from phenomae.pretraining.settings import TrainingSettings


class Team:
    """This process among those that train one network; most often it is alone."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        fabric = machine.fabric
        self.count, self.rank = fabric.world_size, fabric.global_rank
        # What processes agree on beside the training goes past the GPUs, which it would hold up.
        on_gpus = self.count > 1 and machine.device.type == "cuda"
        self._group = torch.distributed.new_group(backend="gloo") if on_gpus else None

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def share(self, crops_per_step: int) -> range:
        """Return which of a step's crops are this process's."""
        length = crops_per_step // self.count
        return range(self.rank * length, (self.rank + 1) * length)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes."""
        reduced = self.machine.fabric.all_reduce(values, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return reduced

    def any(self, here: bool) -> bool:
        """Say whether it is so in any of the processes; all of them have to ask."""
        if self.count == 1:
            return here
        flag = torch.tensor(int(here))
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=self._group)
        return bool(flag)

    def leave(self) -> None:
        """Part with the other processes."""
        if self.count > 1:
            torch.distributed.destroy_process_group()

    def wait(self) -> None:
        """Wait until all processes have come this far."""
        self.machine.fabric.barrier()


def gather_team(settings: TrainingSettings) -> Team:
    """Join the processes that torchrun or SLURM has started.

    Raises ValueError where the device is not there, or the processes cannot share a step's crops.
    """
    processes = count_processes()
    check_shares(settings, processes)
    machine = open_machine(settings.device, settings.precision, _choose(settings), processes)
    return Team(machine)


def check_shares(settings: TrainingSettings, processes: Processes) -> None:
    """Raise ValueError unless every process, and every part of its work, gets as many crops."""
    crops, count = settings.crops_per_step, processes.count
    if crops % count:
        raise ValueError(
            f"crops_per_step {crops} cannot be shared by {count} processes: take a multiple of "
            f"{count}"
        )
    share, most = crops // count, settings.crops_at_once
    if most is not None and most < share and share % most:
        raise ValueError(
            f"crops_at_once must divide the {share} crops of a step that fall to a process, not be "
            f"{most}"
        )


def is_shared(module: nn.Module) -> bool:
    """Say whether every process holds but a part of a module's weights."""
    return any(isinstance(value, DTensor) for value in module.parameters())


def whole(value: Tensor) -> Tensor:
    """Return a tensor of which every process may hold but a part; all of them have to ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def shared_like(value: Tensor, like: Tensor) -> Tensor:
    """Return of a whole tensor what this process holds of one `like` it."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def blocks_of(network: Network) -> Iterable[nn.Module]:
    """Return the pieces of a network that are alike and follow one another."""
    lists = [part for part in network.modules() if isinstance(part, nn.ModuleList)]
    return [block for part in lists for block in part]


def _choose(settings: TrainingSettings) -> Callable[[], Strategy]:
    if settings.strategy == "fsdp":
        return _shard_everything
    return DDPStrategy


def _shard_everything() -> Strategy:
    processes = count_processes()
    return ModelParallelStrategy(_shard, data_parallel_size=processes.count, tensor_parallel_size=1)


def _shard(objective: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Let every process hold but a part of each weight (FSDP2), block by block."""
    assert isinstance(objective.model, Network)
    for block in blocks_of(objective.model):
        fully_shard(block, mesh=mesh["data_parallel"])
    fully_shard(objective, mesh=mesh["data_parallel"])
    return objective
