"""Sets up and runs one training: checkpoints, log, validation and rollbacks around the loop."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from phenomae.crops.stream import CropStream
from phenomae.devices import measure_peak
from phenomae.pretraining.blocks import checkpoint_activations
from phenomae.pretraining.callbacks.checkpoints import Checkpoints
from phenomae.pretraining.callbacks.log import Journal, Log
from phenomae.pretraining.callbacks.meter import Exploded, Meter
from phenomae.pretraining.callbacks.reconstructions import Panels
from phenomae.pretraining.callbacks.stopping import Stopping
from phenomae.pretraining.callbacks.validation import Validation
from phenomae.pretraining.core_threads import CoreThreads
from phenomae.pretraining.data import Data
from phenomae.pretraining.loop import Callback, Learner, Losses, train
from phenomae.pretraining.micro_batches import MicroBatches, choose_micro_batches, fit_to_memory
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.optimiser import build_optimiser, one_cycle
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.team import Team
from phenomae.progress import Advance, info, track
from phenomae.runs import append_log, cut_log

# `compile = auto` compiles runs of at least this many steps on a GPU; a guess, not measured. On a
# CPU compiling took 53 s and gained at most 1 % (docs/log.md, 2026-11-25).
_COMPILE_PAYS = 2000


@dataclass
class Session:
    """The parts of a training run, made by `open_session`; `run` trains up to the last step."""

    folder: Path
    team: Team
    settings: TrainingSettings
    data: Data
    objective: Objective
    stream: CropStream
    learner: Learner
    micro_batches: MicroBatches
    meter: Meter
    checkpoints: Checkpoints
    journal: Journal
    flops_per_crop: int
    """FLOPs of one crop in a training step, forward and backward."""
    peak_flops_per_s: float
    """Peak FLOP/s of all devices: that measured on this device times the number of processes."""
    skipped: set[int] = field(default_factory=set)
    """Steps at which the loss exploded and that are skipped, counted from 0."""
    callbacks: list[Callback] = field(default_factory=list)
    """Additional callbacks; they are also called before the first step, with 0 steps done."""

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, to the last step.

        If the loss explodes at a step, the run returns to the newest checkpoint and skips the step.
        Raises ValueError after more than `rollbacks` explosions, and Stopped after a signal.
        """
        # The log may have lines after the newest checkpoint, whose steps are logged again.
        first_step = self._resume()
        if self.team.writes:
            cut_log(self.folder, first_step)
            self.journal.open_trackers(self.settings, first_step)
        self.team.wait()
        stopping = Stopping(self.team, self._save_to_stop)
        with stopping.listening():
            # Each explosion adds a skipped step, and `rollbacks` limits them, so the loop ends.
            while True:
                try:
                    self._train(first_step, stopping)
                    break
                except Exploded as error:
                    first_step = self._roll_back(error)
        self.journal.close()

    def _train(self, first_step: int, stopping: Stopping) -> None:
        steps = self.settings.steps
        measured = self._measuring_callbacks()
        if first_step == 0:
            self._before_the_first_step(measured[0])
        with track("pretrain", steps, "steps", done=first_step) as advance:
            callbacks = [self.meter, self._open_log(advance, first_step), *measured]
            train(
                self.learner,
                self.stream,
                first_step=first_step,
                steps=steps,
                skipped=self.skipped,
                # Checkpoints come after the meter, which raises if the loss has exploded, and after
                # the metrics, because a run that continues does not compute those again.
                callbacks=[*callbacks, *self.callbacks, self._save_if_due, stopping],
            )
        self.checkpoints.finish()

    def _measuring_callbacks(self) -> tuple[Validation, Panels]:
        settings = self.settings
        crops = self.data.validation_crops(settings.validation_crops)
        when = {"every": settings.validation_every, "last": settings.steps}
        validation = Validation(self.journal, self.learner, crops, **when)
        panels = Panels(self.journal, self.objective, self.data.example_crops(), **when)
        return validation, panels

    def _before_the_first_step(self, validation: Validation) -> None:
        # The loss of the initial network is the baseline of the validation curve.
        validation.measure(0)
        for callback in self.callbacks:
            callback(0, {})
        if self.settings.steps and self.settings.rollbacks:
            self._save(0)  # so that an explosion before the first checkpoint can be rolled back

    def _open_log(self, advance: Advance, first_step: int) -> Log:
        return Log(
            self.journal,
            self.meter,
            self.stream,
            self.learner.schedule,
            advance,
            first_step,
            self.flops_per_crop,
            self.peak_flops_per_s,
        )

    def _save(self, done: int) -> None:
        notes = {"passed_over": sorted(self.skipped), "losses": list(self.meter.before)}
        self.checkpoints.save(done, notes)

    def _save_if_due(self, done: int, losses: Losses) -> None:
        """Callback: save a checkpoint if one is due."""
        if self.checkpoints.is_due(done):
            self._save(done)

    def _save_to_stop(self, done: int) -> None:
        """Save a checkpoint unless it was saved after `done` steps; wait until it is written."""
        if self.checkpoints.saved != done:
            self.meter.read()  # no checkpoint may hold the weights after an explosion
            self._save(done)
        self.checkpoints.finish()

    def _resume(self) -> int:
        """Load the newest checkpoint; return its number of steps, 0 without a checkpoint."""
        first_step, notes = self.checkpoints.resume()
        self.skipped |= set(notes.get("passed_over", ()))
        self.meter.begin(notes.get("losses", ()))
        return first_step

    def _roll_back(self, error: Exploded) -> int:
        """Load the newest checkpoint, mark the exploded step as skipped; return the first step."""
        if len(self.skipped) >= self.settings.rollbacks:
            raise ValueError(
                f"{self.folder}: {error}, at an lr of {self.learner.schedule(error.step):.3g}, "
                f"after {len(self.skipped)} skipped steps: lower lr, or set gradient_clip, and "
                "start again with overwrite"
            )
        # All crops of the step, not only those of this process.
        crops = replace(self.stream, share=None).step(error.step)
        rows = crops.keys[:, 0].unique().tolist()
        fields = [self.data.fields["path"][row] for row in rows]
        self.skipped.add(error.step)
        first_step = self._resume()
        if self.team.writes:
            cut_log(self.folder, first_step)
            append_log(
                self.folder,
                step=error.step + 1,
                passed_over=str(error),
                back_to=first_step,
                fields=fields,
            )
        info(
            f"{error}: returning to step {first_step} and skipping step {error.step + 1}, whose "
            f"crops are from {', '.join(fields[:8])}{', ...' if len(fields) > 8 else ''}"
        )
        return first_step


MakeCallback = Callable[[Session], Callback]
"""Function that makes a callback for a session before training; it may raise ValueError."""


def open_session(
    folder: Path, objective: Objective, data: Data, settings: TrainingSettings, team: Team
) -> Session:
    """Make the parts of a training run, on the team's devices."""
    fabric, device = team.machine.fabric, team.machine.device
    # FLOPs are counted before sharding and activation checkpointing change the modules.
    flops_per_pass = deepcopy(objective.model).to("meta").eval().training_flops()
    if settings.activation_checkpointing == "on":
        checkpoint_activations(objective.model)
    wrapped = fabric.setup_module(objective)
    peak = measure_peak(team.machine) * team.count
    batches = choose_micro_batches(settings, objective, flops_per_pass, team)
    # Not with several processes, each of which may have other memory than the rest.
    if settings.crops_at_once == "auto" and team.count == 1:
        crop = data.example_crops().part(0, 1)
        batches = fit_to_memory(batches, objective, crop, team, data.reader.kept_bytes)
    optimiser = build_optimiser(
        settings.optimiser, objective, settings.lr, settings.betas, settings.weight_decay
    )
    learner = Learner(
        fabric,
        wrapped,
        fabric.setup_optimizers(optimiser),  # pyright: ignore
        one_cycle(settings.lr, settings.steps, settings.warmup),
        crops_at_once=batches.crops,
        gradient_clip=settings.gradient_clip,
        threads=_start_threads(fabric, objective, batches),
        # Not with several processes, of which only some may be out of memory.
        may_shrink=settings.crops_at_once == "auto"
        and objective.is_mean_over_crops
        and team.count == 1,
    )
    # The meter reads the losses before every checkpoint, so that none is saved after an explosion.
    milestones = frozenset(round(share * settings.steps) for share in settings.milestones)
    boundaries = (settings.log_every, settings.checkpoint_every)
    share, pin = team.share(settings.crops_per_step), device.type == "cuda"
    return Session(
        folder=folder,
        team=team,
        settings=settings,
        data=data,
        objective=objective,
        stream=data.stream(settings, objective.groups_per_step, pin, share, objective.pairs),
        learner=learner,
        micro_batches=batches,
        meter=Meter(team, boundaries, milestones | {settings.steps}),
        checkpoints=Checkpoints(
            folder / "checkpoints",
            team,
            objective,
            optimiser,
            every=settings.checkpoint_every,
            keep=settings.keep,
            milestones=milestones,
        ),
        journal=Journal(folder, team),
        flops_per_crop=objective.passes_per_crop * flops_per_pass,
        peak_flops_per_s=peak,
    )


def _start_threads(
    fabric: Fabric, objective: Objective, batches: MicroBatches
) -> CoreThreads | None:
    """Return the threads that compute micro-batches, if several cores do at once."""
    if not batches.cores:
        return None
    threads_each = torch.get_num_threads() // batches.cores
    # The main thread must not share its operations either: the optimiser's would wait for a core
    # that others use. `all_cores` restores the number.
    torch.set_num_threads(1)
    return CoreThreads(fabric, objective, batches.cores, threads_each)


def is_compiled(settings: TrainingSettings, device: torch.device) -> bool:
    """Return whether the network of a run is compiled with torch.compile."""
    if settings.compile == "auto":
        return device.type == "cuda" and settings.steps >= _COMPILE_PAYS
    return settings.compile == "on"


def identify(network: nn.Module, made_by: str) -> str:
    """Return a hash (32 hexadecimal digits) of a network's weights and of the text `made_by`."""
    # `made_by` is the identity of the settings and stores: two trainings may end with equal
    # weights (with 0 steps) and are still different runs.
    digest = hashlib.sha256(made_by.encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
