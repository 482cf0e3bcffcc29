"""Says what a training would take before it is started: `phenomae plan pretrain ...`."""

import math
import platform
import shutil
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from phenomae.devices import Processes, all_cores, count_processes, open_machine
from phenomae.models.network import Network
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.plan.report import (
    DiskPlan,
    MachinePlan,
    MemoryPlan,
    NetworkPlan,
    Plan,
    TimePlan,
    WorkPlan,
    shorten_bytes,
)
from phenomae.pretraining.plan.timed_steps import (
    Burst,
    count_validated,
    measure_burst,
    resident_memory,
)
from phenomae.pretraining.pretrain import Family, build_objective, open_stores
from phenomae.pretraining.session import Session, open_session, wants_compiling
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.team import Team, check_shares
from phenomae.progress import info

_CPU_NAMES = Path("/proc/cpuinfo")


def plan(
    family: Family,
    paths: Sequence[Path | str],
    settings: Any,
    burst_s: float = 15.0,
    processes: int = 1,
) -> Plan:
    """Return what it would take to train on the stores that `paths` begin with, in the run at end.

    Takes the first steps with the crops that would fall to one of the `processes`, for about
    `burst_s` seconds, and writes nothing. Raises ValueError as `pretrain` does for settings and
    stores that do not fit, and where this is one of several processes.
    """
    _check(settings, burst_s, processes)
    stores, run = open_stores(paths, settings)
    data = family.open_data(stores, settings)
    info("plan: putting network and crops together")
    with all_cores():
        begun, resident = time.perf_counter(), resident_memory()
        team = Team(open_machine(settings.device, settings.precision))
        objective = build_objective(family, data, settings, team)
        network = _describe_network(objective.model)
        session = open_session(run, objective, data, settings, team)
        opened_s = time.perf_counter() - begun
        share = range(settings.crops_per_step // processes)
        burst = measure_burst(session, share, burst_s, resident)
        machine = _describe_machine(team, settings, processes, session.peak_flops_per_s)
    disk = _reckon_disk(objective, settings, run)
    return Plan(
        network,
        _reckon_work(session, processes),
        machine,
        _reckon_memory(objective, session, machine, burst),
        disk,
        _reckon_time(session, machine, burst, opened_s),
        tuple(_notes(run, disk, machine, session)),
    )


def _check(settings: TrainingSettings, burst_s: float, processes: int) -> None:
    if not 0 < burst_s < math.inf:
        raise ValueError(f"burst_s must be above 0, not {burst_s}")
    if processes < 1:
        raise ValueError(f"processes must be 1 or more, not {processes}")
    if (count := count_processes().count) > 1:
        raise ValueError(
            f"a plan is measured in one process, and here are {count}: start it by itself, with "
            f"--processes {count}"
        )
    check_shares(settings, Processes(processes, processes))


def _describe_network(model: Network) -> NetworkPlan:
    size, channels = model.settings.crop_size, len(model.channels)
    encoder, whole = (
        sum(item.numel() for item in part.parameters()) for part in (model.encoder, model)
    )
    tokens = _on_meta(model).features(torch.empty(1, channels, size, size, device="meta"))
    return NetworkPlan(
        family=model.family,
        channels=channels,
        crop_size=size,
        tokens=tokens.shape[1],
        encoder_parameters=encoder,
        decoder_parameters=whole - encoder,
        parameters=whole,
    )


def _on_meta(model: Network) -> Network:
    return deepcopy(model).to("meta").eval()


def _reckon_work(session: Session, processes: int) -> WorkPlan:
    settings, data, stream = session.settings, session.data, session.stream
    share = settings.crops_per_step // processes
    crops = settings.steps * settings.crops_per_step
    sizes, stores = data.reader.sizes[data.training], data.reader.store_of[data.training]
    areas = data.reader.sides(data.crop_size)[stores] ** 2
    assert stream.weights is not None
    drawn = stream.weights[data.training] / stream.weights[data.training].sum()
    return WorkPlan(
        steps=settings.steps,
        crops_per_step=settings.crops_per_step,
        crops_per_process=share,
        crops_at_once=min(settings.crops_at_once or share, share),
        crops=crops,
        training_fields=len(data.training),
        held_out_fields=len(data.held_out),
        crops_per_field=crops / len(data.training),
        views_per_pixel=float(crops * (drawn @ areas) / sizes.prod(axis=1).sum()),
        flops_per_crop=session.flops_per_crop,
        flops=crops * session.flops_per_crop,
    )


def _describe_machine(
    team: Team, settings: TrainingSettings, processes: int, peak: float
) -> MachinePlan:
    device = team.machine.device
    shared = "fsdp" if settings.strategy == "fsdp" else "ddp"
    return MachinePlan(
        processes=processes,
        device=_name(device),
        kind="cuda" if device.type == "cuda" else "cpu",
        cores=torch.get_num_threads(),
        strategy="alone" if processes == 1 else shared,
        precision=team.machine.precision,
        compiled=wants_compiling(settings, device),
        peak_flops_per_s=peak,
    )


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = _CPU_NAMES.read_text().splitlines() if _CPU_NAMES.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _reckon_memory(
    objective: Objective, session: Session, machine: MachinePlan, burst: Burst
) -> MemoryPlan:
    weights = sum(item.nbytes for item in objective.parameters())
    state = weights + 2 * _trained_bytes(objective)
    reader = session.data.reader
    pixel = [len(store.channels) * np.dtype(store.dtype).itemsize for store in reader.stores]
    fields = int(reader.sizes.prod(axis=1) @ np.array(pixel)[reader.store_of])
    return MemoryPlan(
        state=math.ceil(state / machine.processes) if machine.strategy == "fsdp" else state,
        peak=burst.peak_bytes,
        fields=fields if reader.reading == "memory" else 0,
    )


def _trained_bytes(objective: nn.Module) -> int:
    return sum(item.nbytes for item in objective.parameters() if item.requires_grad)


def _reckon_disk(objective: Objective, settings: TrainingSettings, run: Path) -> DiskPlan:
    weights = sum(item.nbytes for item in objective.model.state_dict().values())
    checkpoint = sum(item.nbytes for item in objective.state_dict().values())
    checkpoint += _trained_bytes(objective)  # Lion's momentum
    lasting, others = _count_checkpoints(settings)
    count = lasting + min(settings.keep, others)
    there = next(folder for folder in (run, *run.absolute().parents) if folder.exists())
    return DiskPlan(
        checkpoint=checkpoint,
        checkpoints=count,
        most=weights + checkpoint * (count + (others > settings.keep)),
        free=shutil.disk_usage(there).free,
    )


def _count_checkpoints(settings: TrainingSettings) -> tuple[int, int]:
    """Return how many checkpoints are milestones, and how many others are ever written."""
    steps, every = settings.steps, settings.checkpoint_every
    begins = steps > 0 and settings.rollbacks > 0  # there is one of the untrained network
    lasting = {round(share * steps) for share in settings.milestones} - (set() if begins else {0})
    return len(lasting), steps // every + begins - sum(done % every == 0 for done in lasting)


def _reckon_time(session: Session, machine: MachinePlan, burst: Burst, opened_s: float) -> TimePlan:
    settings = session.settings
    crops_per_s = settings.crops_per_step / burst.seconds_per_step
    start_s = opened_s + burst.first_step_s + burst.reading_s
    validations = 0
    if count_validated(session.data, settings.validation_crops):
        validations = 1 + math.ceil(settings.steps / settings.validation_every)
    validating = validations * burst.validation_s
    seconds = start_s + settings.steps * burst.seconds_per_step + validating
    devices = machine.processes * (machine.cores if machine.kind == "cpu" else 1)
    return TimePlan(
        measured_steps=burst.steps,
        seconds_per_step=burst.seconds_per_step,
        crops_per_s=crops_per_s,
        data_wait=burst.data_wait,
        mfu=crops_per_s * session.flops_per_crop / (session.peak_flops_per_s * machine.processes),
        start_s=start_s,
        validation_s=burst.validation_s,
        validations=validations,
        validation_share=validating / seconds,
        hours=seconds / 3600,
        device_hours=devices * seconds / 3600,
    )


def _notes(run: Path, disk: DiskPlan, machine: MachinePlan, session: Session) -> list[str]:
    notes = []
    if disk.most > disk.free:
        notes.append(
            f"The run does not fit: weights and checkpoints take up to {shorten_bytes(disk.most)}, "
            f"and where {run} would lie there are {shorten_bytes(disk.free)} free."
        )
    if run.exists():
        notes.append(f"{run} is there already: this is what it takes from the first step on.")
    if session.settings.recall_every:
        notes.append("Measuring recall takes time and memory that are not counted.")
    if machine.processes > 1:
        gradients = shorten_bytes(_trained_bytes(session.checkpoints.objective))
        more = {
            "ddp": f", for which each holds {gradients} more",
            "fsdp": f", and the weights; memory was measured with all of them, not 1 part of "
            f"{machine.processes}",
        }
        notes.append(
            "Measured in one process, with the crops that fall to each; all are taken to have a "
            f"device like this one. Not counted: they exchange gradients, {gradients} a step"
            f"{more[machine.strategy]}."
        )
    return notes
