"""What a network runs on: device, precision and threads."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.precision.amp import MixedPrecision
from lightning_fabric.plugins.precision.precision import Precision as Precision32
from lightning_fabric.strategies.strategy import Strategy as FabricStrategy

from phenomae.cores import available_cores
from phenomae.memory import kept_memory

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bf16"]
Strategy = Literal["auto", "ddp", "fsdp"]

_CPU_FLAGS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """A device and the precision of its matrix products, as Lightning Fabric drives them."""

    fabric: Fabric
    precision: Literal["float32", "bf16"]

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        return self.fabric.device


def open_machine(
    device: Device,
    precision: Precision,
    strategy: Callable[[], FabricStrategy] | None = None,
    processes: "Processes | None" = None,
) -> Machine:
    """Return the device that is asked for, or, for auto, the best that is there.

    With `processes` this one is one of several, and `strategy` is how they work together. Raises
    ValueError where the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device cuda: this machine has no GPU that torch can use; take cpu or auto"
        )
    if precision == "auto":
        precision = "bf16" if bf16_is_fast(device) else "float32"
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    plugin = Precision32() if precision == "float32" else _Bfloat16("bf16-mixed", device)
    if processes is None or processes.count == 1:
        return Machine(Fabric(accelerator=device, devices=1, plugins=plugin), precision)
    fabric = Fabric(
        accelerator=device,
        devices=processes.on_this_node,
        num_nodes=processes.count // processes.on_this_node,
        strategy=strategy() if strategy else "ddp",
        plugins=plugin,
    )
    fabric.launch()
    return Machine(fabric, precision)


def measure_peak(machine: Machine) -> float:
    """Return the floating-point operations a second that a large matrix product gets here."""
    on_gpu = machine.device.type == "cuda"
    side, kind = (8192 if on_gpu else 1024), torch.float32
    if machine.precision == "bf16":
        kind = torch.bfloat16
    left, right = (torch.ones(side, side, dtype=kind, device=machine.device) for _ in range(2))
    seconds = []
    for _ in range(5):
        if on_gpu:
            torch.cuda.synchronize()
        begun = time.perf_counter()
        torch.mm(left, right)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return 2 * side**3 / min(seconds)


@dataclass(frozen=True)
class Processes:
    """How many processes torchrun or SLURM has started for this work."""

    count: int
    on_this_node: int


def count_processes() -> Processes:
    """Return what torchrun's variables, or SLURM's, say; one where this process stands alone."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        return Processes(int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"]))
    if SLURMEnvironment.detect() and "SLURM_PROCID" in environment:
        count, nodes = int(environment["SLURM_NTASKS"]), int(environment.get("SLURM_NNODES", 1))
        return Processes(count, count // nodes)
    return Processes(1, 1)


class _Bfloat16(MixedPrecision):
    """Products in bf16; what a network is given is left as it is, above all windows."""

    def convert_input(self, data: Any) -> Any:
        return data


def bf16_is_fast(device: str) -> bool:
    """Say whether a device multiplies in bf16 by itself; a CPU that only imitates it is slower."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = _CPU_FLAGS.read_text().split() if _CPU_FLAGS.exists() else []
    return bool({"amx_bf16", "avx512_bf16"} & set(flags))


@contextmanager
def all_cores() -> Iterator[None]:
    """Let torch use the cores that are there inside the block, unless OMP_NUM_THREADS says else.

    On a CPU the same number of threads sums in the same order, and gives the same bytes.
    """
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(available_cores())
    try:
        with kept_memory():
            yield
    finally:
        torch.set_num_threads(threads)
