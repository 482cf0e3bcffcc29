"""One training in its run folder: what stands around the loop, the same for every family."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from phenomae.models.machine import Machine
from phenomae.pretrain.checkpoints import Checkpoints
from phenomae.pretrain.data import Data
from phenomae.pretrain.loop import train
from phenomae.pretrain.objective import Objective
from phenomae.pretrain.optimiser import build_lion, one_cycle
from phenomae.pretrain.settings import TrainingSettings
from phenomae.pretrain.watch import Log, Validation
from phenomae.progress import track
from phenomae.runs import cut_log

_COMPILE_PAYS = 2000  # steps after which compiling for a GPU has earned its minutes


def train_in_run(
    run: Path, objective: Objective, data: Data, settings: TrainingSettings, machine: Machine
) -> None:
    """Train from the newest checkpoint of `run`, or from the start, to the last step."""
    on_gpu = machine.device.type == "cuda"
    optimiser = build_lion(objective, settings.lr, settings.betas, settings.weight_decay)
    schedule = one_cycle(settings.lr, settings.steps, settings.warmup)
    wrapped, wrapped_optimiser = machine.fabric.setup(objective, optimiser)
    checkpoints = Checkpoints(run / "checkpoints", settings.checkpoint_every, objective, optimiser)
    first_step = checkpoints.resume()
    cut_log(run, first_step)

    stream = data.stream(settings, objective.groups_per_step, pin=on_gpu)
    validation = Validation(
        run,
        wrapped,
        data.validation(settings.validation_crops),
        every=settings.validation_every,
        last=settings.steps,
    )
    if first_step == 0:
        validation.measure(0)
    with track("pretrain", settings.steps, "steps", done=first_step) as tracker:
        boundaries = (settings.log_every, settings.checkpoint_every, max(settings.steps, 1))
        log = Log(run, stream, schedule, tracker, first_step, boundaries)
        train(
            wrapped,
            stream,
            wrapped_optimiser,
            schedule,
            first_step=first_step,
            steps=settings.steps,
            backward=machine.fabric.backward,
            probes=[log, validation, checkpoints],
        )


def wants_compiling(settings: TrainingSettings, device: torch.device) -> bool:
    """Say whether a run's network is compiled before it starts."""
    if settings.compile == "auto":
        return device.type == "cuda" and settings.steps >= _COMPILE_PAYS
    return settings.compile == "on"


def identify(network: nn.Module, made_by: str) -> str:
    """Return 32 hexadecimal digits that stand for weights and for what they were made by."""
    digest = hashlib.sha256(made_by.encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
