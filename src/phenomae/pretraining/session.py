"""One training in its run folder: what stands around the loop, the same for every family."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from phenomae.crops.stream import CropStream
from phenomae.devices import measure_peak
from phenomae.pretraining.callbacks.checkpoints import Checkpoints
from phenomae.pretraining.callbacks.log import Journal, Log, Validation
from phenomae.pretraining.callbacks.meter import Exploded, Meter
from phenomae.pretraining.callbacks.reconstructions import Panels
from phenomae.pretraining.callbacks.stopping import Stopping
from phenomae.pretraining.data import Data
from phenomae.pretraining.learner import Learner, checkpoint_activations
from phenomae.pretraining.loop import Probe, train
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.optimiser import build_lion, one_cycle
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.team import Team
from phenomae.progress import info, track
from phenomae.runs import append_log, cut_log

_COMPILE_PAYS = 2000  # steps after which compiling for a GPU has earned its minutes


@dataclass
class Session:
    """A run's parts, put together: made by `open_session`, and taken to its end by `run`."""

    folder: Path
    team: Team
    settings: TrainingSettings
    data: Data
    stream: CropStream
    learner: Learner
    meter: Meter
    checkpoints: Checkpoints
    journal: Journal
    flops_per_crop: int
    """Of one step's work, forward and backward."""
    peak_flops_per_s: float
    """What all devices together were measured to do."""
    passed_over: set[int] = field(default_factory=set)
    probes: list[Probe] = field(default_factory=list)
    """Those that others bring; they look on from before the first step (0 steps done) on."""

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, to the last step.

        Goes back where the loss explodes. Raises ValueError where that comes too often, and Stopped
        where a scheduler asks for it.
        """
        first_step = self._go_back()
        if self.team.writes:
            cut_log(self.folder, first_step)
            self.journal.open_trackers(self.settings, first_step)
        self.team.wait()
        stopping = Stopping(self.team, self.meter, self.checkpoints)
        with stopping.listening():
            while True:
                try:
                    self._train(first_step, stopping)
                    break
                except Exploded as trouble:
                    first_step = self._pass_over(trouble)
        self.journal.close()

    def notes(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside network and optimiser."""
        return {"passed_over": sorted(self.passed_over), "losses": list(self.meter.before)}

    def _train(self, first_step: int, stopping: Stopping) -> None:
        settings, steps = self.settings, self.settings.steps
        validation = Validation(
            self.journal,
            self.learner.objective,
            self.data.validation(settings.validation_crops),
            every=settings.validation_every,
            last=steps,
        )
        panels = Panels(
            self.journal,
            self.checkpoints.objective,
            self.data.pictured(),
            every=settings.validation_every,
            last=steps,
        )
        if first_step == 0:
            validation.measure(0)
            for probe in self.probes:
                probe(0, {})
            if steps and settings.rollbacks:
                self.checkpoints.save(0)  # something to go back to
        with track("pretrain", steps, "steps", done=first_step) as tracker:
            log = Log(
                self.journal,
                self.meter,
                self.stream,
                self.learner.schedule,
                tracker,
                first_step,
                self.flops_per_crop,
                self.peak_flops_per_s,
            )
            watching = [self.meter, log, validation, panels, *self.probes]
            train(
                self.learner,
                self.stream,
                first_step=first_step,
                steps=steps,
                passed_over=self.passed_over,
                probes=[*watching, self.checkpoints, stopping],
            )
        self.checkpoints.finish()

    def _go_back(self) -> int:
        """Take up the newest checkpoint and return how many steps it has done."""
        first_step, notes = self.checkpoints.resume()
        self.passed_over |= set(notes.get("passed_over", ()))
        self.meter.begin(notes.get("losses", ()))
        return first_step

    def _pass_over(self, trouble: Exploded) -> int:
        """Go back to the newest checkpoint, to pass over the step that exploded; return where."""
        if len(self.passed_over) >= self.settings.rollbacks:
            raise ValueError(
                f"{self.folder}: {trouble}, at an lr of {self.learner.schedule(trouble.step):.3g}, "
                f"and {len(self.passed_over)} steps were passed over before: lower lr, or set "
                "gradient_clip, with --overwrite to begin anew"
            )
        crops = replace(self.stream, share=None).step(trouble.step)
        rows = crops.keys[:, 0].unique().tolist()
        fields = [self.data.fields["path"][row] for row in rows]
        self.passed_over.add(trouble.step)
        first_step = self._go_back()
        if self.team.writes:
            cut_log(self.folder, first_step)
            append_log(
                self.folder,
                step=trouble.step + 1,
                passed_over=str(trouble),
                back_to=first_step,
                fields=fields,
            )
        info(
            f"{trouble}: going back to step {first_step} and passing over step {trouble.step + 1}; "
            f"its crops are of {', '.join(fields[:8])}{', ...' if len(fields) > 8 else ''}"
        )
        return first_step


MakeProbe = Callable[[Session], Probe]
"""Makes a probe for a session that is about to run; raises ValueError where it cannot."""


def open_session(
    folder: Path, objective: Objective, data: Data, settings: TrainingSettings, team: Team
) -> Session:
    """Put a run's parts together, on the team's devices."""
    fabric, device = team.machine.fabric, team.machine.device
    flops = deepcopy(objective.model).to("meta").eval().training_flops()
    if settings.activation_checkpointing == "on":
        checkpoint_activations(objective.model)
    wrapped = fabric.setup_module(objective)
    optimiser = build_lion(objective, settings.lr, settings.betas, settings.weight_decay)
    learner = Learner(
        fabric,
        wrapped,
        fabric.setup_optimizers(optimiser),  # pyright: ignore
        one_cycle(settings.lr, settings.steps, settings.warmup),
        crops_at_once=settings.crops_at_once,
        gradient_clip=settings.gradient_clip,
    )
    milestones = frozenset(round(share * settings.steps) for share in settings.milestones)
    boundaries = (settings.log_every, settings.checkpoint_every)
    meter = Meter(team, boundaries, milestones | {settings.steps})
    checkpoints = Checkpoints(
        folder / "checkpoints",
        team,
        objective,
        optimiser,
        every=settings.checkpoint_every,
        keep=settings.keep,
        milestones=milestones,
    )
    session = Session(
        folder,
        team,
        settings,
        data,
        data.stream(
            settings,
            objective.groups_per_step,
            pin=device.type == "cuda",
            share=team.share(settings.crops_per_step),
        ),
        learner,
        meter,
        checkpoints,
        Journal(folder, team),
        flops,
        measure_peak(team.machine) * team.count,
    )
    checkpoints.notes = session.notes
    return session


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
