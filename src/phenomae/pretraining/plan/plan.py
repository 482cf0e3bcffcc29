"""Estimates the cost of a training before it starts: `phenomae plan pretrain ...`.

Most numbers are calculated; the time per step and the peak memory are measured on a few real
steps, because they depend on the machine, the store and the compiler.
"""

import math
import shutil
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from phenomae.checks import above, at_least, whole_number
from phenomae.cores import cpu_name
from phenomae.devices import Processes, all_cores, count_processes, open_machine
from phenomae.models.cost.flops import ShapesOnly
from phenomae.models.network import Network
from phenomae.pretraining.combine_settings import find_objective
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.plan.report import (
    DiskEstimate,
    Estimate,
    MachineEstimate,
    MemoryEstimate,
    NetworkEstimate,
    TimeEstimate,
    WorkEstimate,
    format_bytes,
)
from phenomae.pretraining.plan.timed_steps import (
    TimedSteps,
    count_validation_crops,
    resident_memory,
    time_steps,
)
from phenomae.pretraining.pretrain import build_objective, open_stores
from phenomae.pretraining.session import Session, is_compiled, open_session
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.team import Team, check_shares
from phenomae.progress import info
from phenomae.urls import Location


def plan(
    paths: Sequence[Location],
    settings: Any,
    burst_s: float = 15.0,
    processes: int = 1,
    measures_recall: bool = False,
) -> Estimate:
    """Return the estimated cost of a training; nothing is written.

    Parameters
    ----------
    paths, settings
        As in `pretrain`.
    burst_s
        Seconds for which steps are timed, each with the crops of one process.
    processes
        Number of processes to estimate for; only one process is measured.
    measures_recall
        Whether the training measures recall; a note then says that its cost is not included.

    Raises
    ------
    ValueError
        If the stores or a setting cannot be used, or if torchrun or SLURM started more processes.
    """
    processes = whole_number("processes", processes)
    _check(settings, burst_s, processes)
    stores, run = open_stores(paths, settings)
    data = find_objective(settings.network).open_data(stores, settings)
    info("plan: opening network and crops")
    with all_cores():
        # Inside all_cores, because its memory settings change the time and memory of a training.
        started, resident = time.perf_counter(), resident_memory()
        cores = torch.get_num_threads()
        team = Team(open_machine(settings.device, settings.precision))
        objective = build_objective(data, settings, team)
        network = _describe_network(objective.model)
        session = open_session(run, objective, data, settings, team)
        opened_s = time.perf_counter() - started
        share = range(settings.crops_per_step // processes)
        timed = time_steps(session, share, burst_s, resident)
        machine = _describe_machine(team, settings, processes, cores, session.peak_flops_per_s)
    disk = _estimate_disk(objective, session, run)
    return Estimate(
        network,
        _estimate_work(session, processes),
        machine,
        _estimate_memory(objective, session, machine, timed),
        disk,
        _estimate_time(session, machine, timed, opened_s),
        tuple(_notes(run, disk, machine, objective, measures_recall)),
    )


def _check(settings: TrainingSettings, burst_s: float, processes: int) -> None:
    above("burst_s", burst_s, 0)
    at_least("processes", processes, 1)
    if (count := count_processes().count) > 1:
        raise ValueError(
            f"plan runs in one process, not in {count}: start it without torchrun or SLURM, and "
            f"set processes to {count}"
        )
    check_shares(settings, Processes(processes, processes))


def _describe_network(model: Network) -> NetworkEstimate:
    size, channels = model.settings.crop_size, len(model.channels)
    encoder, whole = (
        sum(item.numel() for item in part.parameters()) for part in (model.encoder, model)
    )
    crop = torch.empty(1, channels, size, size, device="meta")
    with ShapesOnly():
        tokens, _ = _on_meta(model).encoder.token_shape(crop)
    return NetworkEstimate(
        family=model.family,
        channels=channels,
        crop_size=size,
        tokens=tokens,
        encoder_parameters=encoder,
        decoder_parameters=whole - encoder,
        parameters=whole,
    )


def _on_meta(model: Network) -> Network:
    return deepcopy(model).to("meta").eval()


def _estimate_work(session: Session, processes: int) -> WorkEstimate:
    settings, data, stream = session.settings, session.data, session.stream
    share = settings.crops_per_step // processes
    crops = settings.steps * settings.crops_per_step
    sizes, stores = data.reader.sizes[data.training], data.reader.store_of[data.training]
    areas = data.reader.sides(data.crop_size)[stores] ** 2
    # Crop areas in pixels of the stores, not of resampled crops, weighted by sampling probability.
    assert stream.weights is not None
    drawn = stream.weights[data.training] / stream.weights[data.training].sum()
    return WorkEstimate(
        steps=settings.steps,
        crops_per_step=settings.crops_per_step,
        crops_per_process=share,
        crops_at_once=min(session.micro_batches.crops_at_once, share),
        crops=crops,
        training_fields=len(data.training),
        validation_fields=len(data.validation),
        crops_per_field=crops / len(data.training),
        views_per_pixel=float(crops * (drawn @ areas) / sizes.prod(axis=1).sum()),
        flops_per_crop=session.flops_per_crop,
        flops=crops * session.flops_per_crop,
    )


def _describe_machine(
    team: Team, settings: TrainingSettings, processes: int, cores: int, peak: float
) -> MachineEstimate:
    device = team.machine.device
    shared = "fsdp" if settings.strategy == "fsdp" else "ddp"
    return MachineEstimate(
        processes=processes,
        device=_name(device),
        kind=device.type,
        cores=cores,
        strategy="alone" if processes == 1 else shared,
        precision=team.machine.precision,
        compiled=is_compiled(settings, device),
        peak_flops_per_s=peak,
    )


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "MPS" if device.type == "mps" else cpu_name()


def _estimate_memory(
    objective: Objective, session: Session, machine: MachineEstimate, timed: TimedSteps
) -> MemoryEstimate:
    weights = sum(item.nbytes for item in objective.parameters())
    state = weights + _count_gradient_bytes(objective) + _count_optimiser_bytes(session)
    return MemoryEstimate(
        state=math.ceil(state / machine.processes) if machine.strategy == "fsdp" else state,
        peak=timed.peak_bytes,
        fields=session.data.reader.kept_bytes,
    )


def _count_gradient_bytes(objective: Objective) -> int:
    return sum(item.nbytes for item in objective.parameters() if item.requires_grad)


def _count_optimiser_bytes(session: Session) -> int:
    """Return the size of the moments that the optimiser keeps; it has taken the timed steps."""
    states = session.checkpoints.optimiser.state.values()
    return sum(value.nbytes for state in states for value in state.values())


def _estimate_disk(objective: Objective, session: Session, run: Path) -> DiskEstimate:
    settings = session.settings
    weights = sum(item.nbytes for item in objective.model.state_dict().values())
    checkpoint = sum(item.nbytes for item in objective.state_dict().values())
    checkpoint += _count_optimiser_bytes(session)
    lasting, others = _count_checkpoints(settings)
    count = lasting + min(settings.keep, others)
    # The run folder need not exist yet: its nearest existing parent is on the same file system.
    there = next(folder for folder in (run, *run.absolute().parents) if folder.exists())
    return DiskEstimate(
        checkpoint=checkpoint,
        checkpoints=count,
        peak=weights + checkpoint * (count + (others > settings.keep)),
        free=shutil.disk_usage(there).free,
    )


def _count_checkpoints(settings: TrainingSettings) -> tuple[int, int]:
    """Return the number of milestones, and the number of other checkpoints that are written."""
    steps, every = settings.steps, settings.checkpoint_every
    begins = steps > 0 and settings.rollbacks > 0  # then the initial network is saved, too
    lasting = {round(share * steps) for share in settings.milestones} - (set() if begins else {0})
    return len(lasting), steps // every + begins - sum(done % every == 0 for done in lasting)


def _estimate_time(
    session: Session, machine: MachineEstimate, timed: TimedSteps, opened_s: float
) -> TimeEstimate:
    settings = session.settings
    crops_per_s = settings.crops_per_step / timed.seconds_per_step
    start_s = opened_s + timed.first_step_s + timed.reading_s
    validations = 0
    if count_validation_crops(session.data, settings.validation_crops):
        validations = 1 + math.ceil(settings.steps / settings.validation_every)
    validating = validations * timed.validation_s
    seconds = start_s + settings.steps * timed.seconds_per_step + validating
    # GPU-hours count GPUs, core-hours count cores.
    devices = machine.processes * (machine.cores if machine.kind == "cpu" else 1)
    return TimeEstimate(
        measured_steps=timed.steps,
        seconds_per_step=timed.seconds_per_step,
        crops_per_s=crops_per_s,
        data_wait=timed.data_wait,
        mfu=crops_per_s * session.flops_per_crop / (session.peak_flops_per_s * machine.processes),
        start_s=start_s,
        validation_s=timed.validation_s,
        validations=validations,
        validation_share=validating / seconds,
        hours=seconds / 3600,
        device_hours=devices * seconds / 3600,
    )


def _notes(
    run: Path,
    disk: DiskEstimate,
    machine: MachineEstimate,
    objective: Objective,
    measures_recall: bool,
) -> list[str]:
    notes = []
    if disk.peak > disk.free:
        notes.append(
            f"The run does not fit on the disk: weights and checkpoints take up to "
            f"{format_bytes(disk.peak)}, and {format_bytes(disk.free)} are free at {run}."
        )
    if run.exists():
        notes.append(f"{run} already exists; the estimate is for all steps from the first.")
    if measures_recall:
        notes.append("Time and memory for measuring recall are not included.")
    if machine.processes > 1:
        gradients = format_bytes(_count_gradient_bytes(objective))
        more = {
            "ddp": f", for which each process needs {gradients} more memory",
            "fsdp": f", and of weights; memory was measured with all weights, not with 1 / "
            f"{machine.processes} of them",
        }
        notes.append(
            "Measured in one process with the crops of one process; all processes are assumed to "
            "have a device like this one. Not included: the exchange of gradients, "
            f"{gradients} per step{more[machine.strategy]}."
        )
    return notes
