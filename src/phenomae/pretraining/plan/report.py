"""What a plan says of a training, part by part; printed as a table or as JSON."""

import json as json_format
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from textwrap import fill
from typing import Literal

_WIDTH = 96


@dataclass(frozen=True)
class NetworkPlan:
    """What would be trained."""

    family: str
    channels: int
    crop_size: int
    tokens: int
    """Vectors the encoder makes of a whole crop."""
    encoder_parameters: int
    decoder_parameters: int
    """All that embedding does without."""
    parameters: int


@dataclass(frozen=True)
class WorkPlan:
    """How much there is to do."""

    steps: int
    crops_per_step: int
    crops_per_process: int
    """Of a step's crops."""
    crops_at_once: int
    crops: int
    """Of all steps."""
    training_fields: int
    held_out_fields: int
    crops_per_field: float
    """Of all steps, the mean over the fields to train on."""
    views_per_pixel: float
    """How often a pixel of those fields is in a crop, the mean over them."""
    flops_per_crop: int
    flops: int


@dataclass(frozen=True)
class MachinePlan:
    """What it would run on."""

    processes: int
    device: str
    """The name of the GPU or of the CPU."""
    kind: Literal["cuda", "cpu"]
    cores: int
    """That a process uses."""
    strategy: Literal["alone", "ddp", "fsdp"]
    precision: str
    compiled: bool
    peak_flops_per_s: float
    """Of a large matrix product, measured."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of memory, of one process."""

    state: int
    """Weights, their gradients, and Lion's momentum."""
    peak: int
    """Measured in a process that has all of the network: of the GPU, or what a CPU's grew by."""
    fields: int
    """For whole fields, on the CPU's side, where they are kept; else 0."""


@dataclass(frozen=True)
class DiskPlan:
    """Bytes on the disk of the run."""

    checkpoint: int
    checkpoints: int
    """How many of them lie there at the end."""
    most: int
    """Of weights and checkpoints, while one more is being written."""
    free: int


@dataclass(frozen=True)
class TimePlan:
    """How long it would take, from what was measured."""

    measured_steps: int
    seconds_per_step: float
    crops_per_s: float
    """Of all processes."""
    data_wait: float
    """Share of a step in which it waits for crops."""
    mfu: float
    """Share of the measured peak."""
    start_s: float
    """Until the first step is done, and reading all fields where they are kept."""
    validation_s: float
    """Of one measurement of the validation loss."""
    validations: int
    validation_share: float
    """Of all the time."""
    hours: float
    device_hours: float
    """GPU-hours, or on CPUs core-hours."""


@dataclass(frozen=True)
class Plan:
    """What a training would take."""

    network: NetworkPlan
    work: WorkPlan
    machine: MachinePlan
    memory: MemoryPlan
    disk: DiskPlan
    time: TimePlan
    notes: tuple[str, ...]
    """What else there is to say, a sentence each."""


def show(plan: Plan, json: bool = False) -> None:
    """Print a plan as a table, or as one JSON object."""
    if json:
        sys.stdout.write(json_format.dumps(asdict(plan), indent=2) + "\n")
        return
    parts = {
        "network": _tell_network(plan.network),
        "work": _tell_work(plan.work),
        "machine": _tell_machine(plan.machine),
        "memory": _tell_memory(plan.memory, plan.machine),
        "disk": _tell_disk(plan.disk),
        "time": _tell_time(plan.time, plan.machine),
    }
    for part, rows in parts.items():
        for number, (name, value) in enumerate(rows):
            print(f"{'' if number else part:9}{name:18}{value}")
    for note in plan.notes:
        print(f"\n{fill(note, _WIDTH)}")


def shorten_bytes(number: int | float) -> str:
    """Return bytes as text: `1.23 GB`, of 10^9 bytes."""
    return _shorten(number, ("bytes", "kB", "MB", "GB", "TB", "PB"))


_Rows = Iterable[tuple[str, str]]


def _tell_network(network: NetworkPlan) -> _Rows:
    yield "family", network.family
    yield "crop", f"{network.channels} x {network.crop_size} x {network.crop_size}"
    yield "tokens of a crop", f"{network.tokens:,}"
    yield "encoder", f"{network.encoder_parameters:,} parameters"
    yield "decoder", f"{network.decoder_parameters:,} parameters"
    yield "in all", f"{network.parameters:,} parameters"


def _tell_work(work: WorkPlan) -> _Rows:
    yield "steps", f"{work.steps:,}"
    yield "crops a step", f"{work.crops_per_step:,}"
    yield "of a process", f"{work.crops_per_process:,}, {work.crops_at_once:,} at once"
    yield "crops in all", f"{work.crops:,}"
    yield "fields", f"{work.training_fields:,}, and {work.held_out_fields:,} held out"
    yield "crops of a field", f"{work.crops_per_field:,.1f}"
    yield "views of a pixel", f"{work.views_per_pixel:,.2f}"
    yield "FLOPs a crop", _shorten_flops(work.flops_per_crop)
    yield "FLOPs in all", _shorten_flops(work.flops)


def _tell_machine(machine: MachinePlan) -> _Rows:
    cores = f", cores: {machine.cores}" if machine.kind == "cpu" else ""
    yield "processes", f"{machine.processes}"
    yield "each on", f"{machine.device}{cores}"
    yield "strategy", machine.strategy
    yield "precision", machine.precision
    yield "compiled", "yes" if machine.compiled else "no"
    yield "measured peak", f"{_shorten_flops(machine.peak_flops_per_s)}/s"


def _tell_memory(memory: MemoryPlan, machine: MachinePlan) -> _Rows:
    kind = "of the GPU" if machine.kind == "cuda" else "what the process grew by"
    yield "weights", f"{shorten_bytes(memory.state)}, with gradients and momentum"
    yield "measured peak", f"{shorten_bytes(memory.peak)}, {kind}"
    kept = f"{shorten_bytes(memory.fields)}, all kept" if memory.fields else "read crop by crop"
    yield "fields", kept


def _tell_disk(disk: DiskPlan) -> _Rows:
    yield "a checkpoint", shorten_bytes(disk.checkpoint)
    yield "checkpoints", f"{disk.checkpoints} at the end"
    yield "the run", f"up to {shorten_bytes(disk.most)}"
    yield "free", shorten_bytes(disk.free)


def _tell_time(time: TimePlan, machine: MachinePlan) -> _Rows:
    yield "measured", f"{time.measured_steps:,} steps"
    yield "a step", f"{time.seconds_per_step:.3g} s, {time.data_wait:.0%} of it waiting for crops"
    yield "crops a second", f"{time.crops_per_s:,.4g}"
    yield "MFU", f"{time.mfu:.0%}"
    yield "start", _shorten_seconds(time.start_s)
    validating = f"{time.validations:,} x {_shorten_seconds(time.validation_s)}"
    yield "validation", f"{validating}, {time.validation_share:.1%} of the time"
    yield "the run", _shorten_seconds(time.hours * 3600)
    unit = "GPU-hours" if machine.kind == "cuda" else "core-hours"
    yield unit, f"{time.device_hours:,.3g}"


def _shorten_flops(number: int | float) -> str:
    return _shorten(number, ("F", "kF", "MF", "GF", "TF", "PF", "EF", "ZF"))


def _shorten_seconds(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.2g} s"


def _shorten(number: int | float, units: tuple[str, ...]) -> str:
    power = 0
    while number >= 999.5 and power + 1 < len(units):
        number, power = number / 1000, power + 1
    return f"{number:.3g} {units[power]}"
