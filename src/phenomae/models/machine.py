"""What a network runs on: device, precision and threads."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric

from phenomae.cores import available_cores
from phenomae.memory import kept_memory

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bf16"]

_CPU_FLAGS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """One device and the precision of its matrix products, as Lightning Fabric drives them."""

    fabric: Fabric
    precision: Literal["float32", "bf16"]

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        return self.fabric.device


def open_machine(device: Device, precision: Precision) -> Machine:
    """Return the device that is asked for, or, for auto, the best that is there.

    Raises ValueError where the device is not there.
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
    mode = "bf16-mixed" if precision == "bf16" else "32-true"
    return Machine(Fabric(accelerator=device, devices=1, precision=mode), precision)


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
