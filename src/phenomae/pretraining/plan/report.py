"""The parts of an estimate of a training's cost, printed as a table or as JSON.

The names of the fields are the keys of the JSON, so that scripts depend on them.
"""

import json as json_format
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from textwrap import fill
from typing import Literal

from phenomae.progress import format_number

_WIDTH = 96


@dataclass(frozen=True)
class NetworkEstimate:
    """The network that is trained."""

    family: str
    channels: int
    crop_size: int
    tokens: int
    """Number of vectors that the encoder computes from an unmasked crop."""
    encoder_parameters: int
    decoder_parameters: int
    """Parameters outside the encoder, which embedding does not use."""
    parameters: int


@dataclass(frozen=True)
class WorkEstimate:
    """Steps, crops and FLOPs."""

    steps: int
    crops_per_step: int
    crops_per_process: int
    """Crops per step and process."""
    crops_at_once: int
    crops: int
    """Crops in all steps."""
    training_fields: int
    validation_fields: int
    crops_per_field: float
    """Crops in all steps per training field, on average."""
    views_per_pixel: float
    """Number of crops that contain a pixel of the training fields, on average."""
    flops_per_crop: int
    flops: int


@dataclass(frozen=True)
class MachineEstimate:
    """The devices of the training, which are assumed to equal the device of this process."""

    processes: int
    device: str
    """Name of the GPU or of the CPU."""
    kind: str
    """Kind of device: cpu, cuda or mps."""
    cores: int
    """CPU cores per process."""
    strategy: Literal["alone", "ddp", "fsdp"]
    precision: str
    compiled: bool
    peak_flops_per_s: float
    """Peak FLOP/s of one device, measured on a large matrix product."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of memory per process."""

    state: int
    """Weights, gradients, and the moments of the optimiser."""
    peak: int | None
    """Measured with the whole network: peak GPU memory, or on a CPU the growth of the process.

    None where the system does not tell.
    """
    fields: int
    """Main memory for whole fields; 0 if crops are read one by one."""


@dataclass(frozen=True)
class DiskEstimate:
    """Bytes on the disk of the run."""

    checkpoint: int
    checkpoints: int
    """Number of checkpoints that are left at the end."""
    peak: int
    """Weights and checkpoints together, including one that is being written."""
    free: int


@dataclass(frozen=True)
class TimeEstimate:
    """Duration, from the measured steps."""

    measured_steps: int
    seconds_per_step: float
    crops_per_s: float
    """Over all processes."""
    data_wait: float
    """Fraction of the time of a step that is spent waiting for crops."""
    mfu: float
    """Model FLOPs utilisation: FLOP/s of the training as a fraction of the measured peak."""
    start_s: float
    """Time until the first step is done, including that of reading fields to keep in memory."""
    validation_s: float
    """Duration of one computation of the validation loss."""
    validations: int
    validation_share: float
    """Fraction of the total time that is spent on the validation loss."""
    hours: float
    device_hours: float
    """GPU-hours on GPUs, core-hours on CPUs."""


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of a training."""

    network: NetworkEstimate
    work: WorkEstimate
    machine: MachineEstimate
    memory: MemoryEstimate
    disk: DiskEstimate
    time: TimeEstimate
    notes: tuple[str, ...]
    """Warnings and limits of the estimate, one sentence each."""


def show(estimate: Estimate, json: bool = False) -> None:
    """Print an estimate as a table, or as one JSON object."""
    if json:
        sys.stdout.write(json_format.dumps(asdict(estimate), indent=2) + "\n")
        return
    parts = {
        "network": _rows_of_network(estimate.network),
        "work": _rows_of_work(estimate.work),
        "machine": _rows_of_machine(estimate.machine),
        "memory": _rows_of_memory(estimate.memory, estimate.machine),
        "disk": _rows_of_disk(estimate.disk),
        "time": _rows_of_time(estimate.time, estimate.machine),
    }
    for part, rows in parts.items():
        for number, (name, value) in enumerate(rows):
            print(f"{'' if number else part:9}{name:18}{value}")
    for note in estimate.notes:
        print(f"\n{fill(note, _WIDTH)}")


def format_bytes(number: int | float) -> str:
    """Return bytes as text: `1.23 GB` (1 GB is 10^9 bytes)."""
    return _format(number, ("bytes", "kB", "MB", "GB", "TB", "PB"))


_Rows = Iterable[tuple[str, str]]


def _rows_of_network(network: NetworkEstimate) -> _Rows:
    yield "family", network.family
    yield "crop", f"{network.channels} x {network.crop_size} x {network.crop_size}"
    yield "tokens per crop", f"{network.tokens:,}"
    yield "encoder", f"{network.encoder_parameters:,} parameters"
    yield "decoder", f"{network.decoder_parameters:,} parameters"
    yield "total", f"{network.parameters:,} parameters"


def _rows_of_work(work: WorkEstimate) -> _Rows:
    yield "steps", f"{work.steps:,}"
    yield "crops per step", f"{work.crops_per_step:,}"
    yield "crops per process", f"{work.crops_per_process:,}, {work.crops_at_once:,} at once"
    yield "total crops", f"{work.crops:,}"
    yield "fields", f"{work.training_fields:,}, and {work.validation_fields:,} for validation"
    yield "crops per field", f"{work.crops_per_field:,.1f}"
    yield "views per pixel", f"{work.views_per_pixel:,.2f}"
    yield "FLOPs per crop", _format_flops(work.flops_per_crop)
    yield "total FLOPs", _format_flops(work.flops)


def _rows_of_machine(machine: MachineEstimate) -> _Rows:
    cores = f", cores: {machine.cores}" if machine.kind == "cpu" else ""
    yield "processes", f"{machine.processes}"
    yield "each on", f"{machine.device}{cores}"
    yield "strategy", machine.strategy
    yield "precision", machine.precision
    yield "compiled", "yes" if machine.compiled else "no"
    yield "measured peak", f"{_format_flops(machine.peak_flops_per_s)}/s"


def _rows_of_memory(memory: MemoryEstimate, machine: MachineEstimate) -> _Rows:
    kind = "growth of the process" if machine.kind == "cpu" else "of GPU memory"
    yield "weights", f"{format_bytes(memory.state)}, with gradients and moments"
    peak = "not known" if memory.peak is None else f"{format_bytes(memory.peak)}, {kind}"
    yield "measured peak", peak
    kept = (
        f"{format_bytes(memory.fields)}, kept in memory" if memory.fields else "read crop by crop"
    )
    yield "fields", kept


def _rows_of_disk(disk: DiskEstimate) -> _Rows:
    yield "one checkpoint", format_bytes(disk.checkpoint)
    yield "checkpoints", f"{disk.checkpoints} at the end"
    yield "the run", f"up to {format_bytes(disk.peak)}"
    yield "free", format_bytes(disk.free)


def _rows_of_time(time: TimeEstimate, machine: MachineEstimate) -> _Rows:
    yield "measured", f"{time.measured_steps:,} steps"
    yield "one step", f"{time.seconds_per_step:.3g} s, {time.data_wait:.0%} of it waiting for crops"
    yield "crops per second", format_number(time.crops_per_s)
    yield "MFU", f"{time.mfu:.0%}"
    yield "start", _format_seconds(time.start_s)
    validating = f"{time.validations:,} x {_format_seconds(time.validation_s)}"
    yield "validation", f"{validating}, {time.validation_share:.1%} of the time"
    yield "the run", _format_seconds(time.hours * 3600)
    unit = "core-hours" if machine.kind == "cpu" else "GPU-hours"
    yield unit, format_number(time.device_hours)


def _format_flops(number: int | float) -> str:
    return _format(number, ("F", "kF", "MF", "GF", "TF", "PF", "EF", "ZF"))


def _format_seconds(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.2g} s"


def _format(number: int | float, units: tuple[str, ...]) -> str:
    power = 0
    # 999.5 rounds to 1000 in three digits, which is the next unit.
    while number >= 999.5 and power + 1 < len(units):
        number, power = number / 1000, power + 1
    return f"{number:.3g} {units[power]}"
