"""Opens the device that a network runs on, with its precision, processes and threads.

Lightning Fabric connects the processes and casts matrix products to bf16.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.precision.amp import MixedPrecision
from lightning_fabric.plugins.precision.precision import Precision as Precision32
from lightning_fabric.strategies.strategy import Strategy as FabricStrategy

from phenomae.cores import available_cores
from phenomae.memory import kept_memory

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bf16"]
Strategy = Literal["auto", "ddp", "fsdp"]

_CPU_FLAGS = Path("/proc/cpuinfo")
_ENOUGH_S = 0.1  # of matrix products that measure a CPU


@dataclass(frozen=True)
class Machine:
    """A device and the precision of its matrix products."""

    fabric: Fabric
    precision: Literal["float32", "bf16"]

    @property
    def device(self) -> torch.device:
        """The device that tensors are moved to."""
        return self.fabric.device


def open_machine(
    device: Device,
    precision: Precision,
    strategy: Callable[[], FabricStrategy] | None = None,
    processes: "Processes | None" = None,
    gpu: int = 0,
) -> Machine:
    """Return a device with its precision; `auto` is the best that this machine has.

    `gpu` is the number of the GPU that a process alone uses. `processes` are all processes of this
    training (None: one process), and `strategy` makes the Fabric strategy that connects them (None:
    DDP). Raises ValueError if the device does not exist.
    """
    device = choose_device(device)
    if precision == "auto":
        precision = "bf16" if bf16_is_fast(device) else "float32"
    # At level INFO, Fabric prints its choice of device at each start.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    plugin = Precision32() if precision == "float32" else _Bfloat16("bf16-mixed", device)
    if device == "mps" and processes is not None and processes.count > 1:
        raise ValueError("device must be cpu or cuda for several processes, not mps")
    if processes is None or processes.count == 1:
        chosen = [gpu] if device == "cuda" else 1
        # Without it Fabric refuses jobs of SLURM with --ntasks, though it joins no process here.
        plugins = [plugin, LightningEnvironment()]
        return Machine(Fabric(accelerator=device, devices=chosen, plugins=plugins), precision)
    fabric = Fabric(
        accelerator=device,
        devices=processes.on_this_node,
        num_nodes=processes.count // processes.on_this_node,
        strategy=strategy() if strategy else "ddp",
        plugins=plugin,
    )
    fabric.launch()
    return Machine(fabric, precision)


def choose_device(device: Device) -> Literal["cpu", "cuda", "mps"]:
    """Return the device that is asked for; `auto` is a CUDA GPU if there is one, else the CPU.

    Raises ValueError if this machine does not have it.
    """
    if device == "auto":
        # Not MPS, on which phenomae has never run: it must be asked for.
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device must be cpu or auto, not mps: torch finds no Apple GPU (MPS) here")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must be cpu or auto, not cuda: torch finds no GPU on this machine")
    return device


def choose_gpu() -> int:
    """Return the number of the GPU of this process: processes of torchrun on a node take turns."""
    # SLURM shows each task only the GPUs that are its own.
    rank = os.environ.get("LOCAL_RANK", "") if "TORCHELASTIC_RUN_ID" in os.environ else ""
    return int(rank) % max(torch.cuda.device_count(), 1) if rank.isdigit() else 0


def measure_peak(machine: Machine) -> float:
    """Return the FLOP/s of large matrix products on this device, the best of several."""
    device = machine.device
    kinds = [torch.bfloat16] if machine.precision == "bf16" else [torch.float32]
    if device.type == "cpu":
        # In bf16, too, attention runs in float32 on a CPU, and so does all that is faster in it.
        kinds = [torch.float32, *(kinds if bf16_is_fast("cpu") else [])]
    return max(_measure_peak(device, kind, torch.get_num_threads()) for kind in kinds)


@cache
def _measure_peak(device: torch.device, kind: torch.dtype, threads: int) -> float:
    # `threads` is there for the cache: a CPU with other threads has another peak.
    if device.type != "cpu":
        return max(_time_products(device, kind, 8192, products=5))
    # The best side depends on the caches; one of 8192 would take seconds.
    rates: list[float] = []
    began = time.perf_counter()
    for side in (768, 1024, 768, 1536, 768, 1024):
        rates += _time_products(device, kind, side, products=2)
        if time.perf_counter() - began > _ENOUGH_S:
            break
    return max(rates)


def _time_products(
    device: torch.device, kind: torch.dtype, side: int, products: int
) -> list[float]:
    """Return the FLOP/s of each of some products of two square matrices."""
    # Random numbers, because a GPU multiplies ones faster: fewer of its transistors switch. From a
    # generator of its own, because torch's global one draws the initial weights.
    generator = torch.Generator(device).manual_seed(0)
    left, right = (
        torch.randn(side, side, generator=generator, device=device).to(kind) for _ in range(2)
    )
    rates = []
    for _ in range(products):
        synchronise(device)
        begun = time.perf_counter()
        torch.mm(left, right)
        synchronise(device)
        rates.append(2 * side**3 / (time.perf_counter() - begun))
    return rates


def synchronise(device: torch.device) -> None:
    """Wait for a GPU: kernels run asynchronously, and otherwise only their launch is timed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass(frozen=True)
class Processes:
    """The processes that torchrun or SLURM started for this training."""

    count: int
    on_this_node: int


def count_processes() -> Processes:
    """Return the processes, by environment variables of torchrun or SLURM; without them one."""
    # Fabric counts processes only when it launches, but a strategy must be chosen before.
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        return Processes(int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"]))
    if SLURMEnvironment.detect() and "SLURM_PROCID" in environment:
        count, nodes = int(environment["SLURM_NTASKS"]), int(environment.get("SLURM_NNODES", 1))
        return Processes(count, count // nodes)
    return Processes(1, 1)


def is_rank_zero() -> bool:
    """Return whether this process is rank zero, by the same variables as `count_processes`."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        return environment["RANK"] == "0"
    if SLURMEnvironment.detect() and "SLURM_PROCID" in environment:
        return environment["SLURM_PROCID"] == "0"
    return True


class _Bfloat16(MixedPrecision):
    """bf16 autocast that does not convert inputs.

    Fabric would cast all float inputs to bf16, which has 8 bits: too few for intensity windows.
    """

    def convert_input(self, data: Any) -> Any:
        return data


def bf16_is_fast(device: str) -> bool:
    """Return whether a device multiplies bf16 in hardware; emulation is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "mps":
        return False  # not measured
    flags = _CPU_FLAGS.read_text().split() if _CPU_FLAGS.exists() else []
    return bool({"amx_bf16", "avx512_bf16"} & set(flags))


@contextmanager
def all_cores() -> Iterator[None]:
    """Do as `all_threads`, and keep freed memory with the process (`kept_memory`)."""
    with all_threads(), kept_memory():
        yield


@contextmanager
def all_threads() -> Iterator[None]:
    """Let torch use all available cores inside the block, or as many as OMP_NUM_THREADS says.

    On a CPU the order of sums depends on the number of threads that share an operation.
    """
    threads = torch.get_num_threads()
    # Also where the variable is set, which torch has read: numba, which UMAP uses, changes the
    # threads of every library of the process that uses OpenMP.
    torch.set_num_threads(_threads_wanted())
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _threads_wanted() -> int:
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # then of nested regions
    return int(first) if first.isdigit() and int(first) > 0 else available_cores()
