"""Probes that tell how training goes: the log with its progress line, and the validation loss."""

import time
from pathlib import Path
from statistics import fmean

import torch
from torch import nn

from phenomae.artefacts import settings_dict
from phenomae.crops.stream import CropStream
from phenomae.crops.tensors import Crops
from phenomae.pretraining.callbacks.meter import Meter
from phenomae.pretraining.callbacks.trackers import OpenTracker, open_trackers
from phenomae.pretraining.learner import Schedule
from phenomae.pretraining.loop import Losses
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.team import Team
from phenomae.progress import Advance
from phenomae.runs import append_log


class Journal:
    """Where numbers of a run are written down: `log.jsonl`, and the trackers asked for."""

    def __init__(self, run: Path, team: Team) -> None:
        self.run, self.team = run, team
        self.trackers: list[OpenTracker] = []
        self.newest: dict[str, float] = {}
        """What was written last, by its name."""

    def open_trackers(self, settings: TrainingSettings, first_step: int) -> None:
        """Open the trackers asked for, for a run that has done `first_step` steps."""
        told = settings_dict(settings)
        self.trackers = open_trackers(settings.track, self.run, told, first_step)

    def close(self) -> None:
        """Let the trackers write what they have not yet written."""
        for tracker in self.trackers:
            tracker.close()

    def write(self, step: int, **values: float) -> None:
        """Write down what was measured after so many steps; one process does it for all."""
        if not self.team.writes:
            return
        self.newest |= values
        append_log(self.run, step=step, **values)
        for tracker in self.trackers:
            tracker.log(step, values)


class Log:
    """Writes loss, lr and speed down at the meter's boundaries, and moves the progress bar."""

    def __init__(
        self,
        journal: Journal,
        meter: Meter,
        stream: CropStream,
        schedule: Schedule,
        tracker: Advance,
        first_step: int,
        flops_per_crop: int,
        peak_flops_per_s: float,
    ) -> None:
        """Reckon with so many FLOPs a crop, and with what all machines could do a second."""
        self.journal, self.meter = journal, meter
        self.stream, self.schedule, self.tracker = stream, schedule, tracker
        self.flops_per_crop, self.peak_flops_per_s = flops_per_crop, peak_flops_per_s
        self.begun = self.line_begun = time.perf_counter()
        self.line_step = first_step
        self.waited_s = stream.waited_s
        self.note = ""

    def __call__(self, done: int, losses: Losses) -> None:
        """Count one step; write a line where one is due: a probe of the loop."""
        if self.meter.is_boundary(done) and self.meter.losses:
            self._write(done)
        self.tracker(1, self.note)

    def _write(self, done: int) -> None:
        now = time.perf_counter()
        steps, seconds = done - self.line_step, now - self.line_begun
        crops_per_s = steps * self.stream.crops_per_step / seconds
        loss = fmean(self.meter.losses)
        used = crops_per_s * self.flops_per_crop / self.peak_flops_per_s
        waited = (self.stream.waited_s - self.waited_s) / seconds
        self.journal.write(
            done,
            loss=loss,
            lr=self.schedule(done - 1),
            gradient_norm=fmean(self.meter.norms),
            flops=float(done * self.stream.crops_per_step * self.flops_per_crop),
            crops_per_s=round(crops_per_s, 2),
            data_wait=round(waited, 4),
            mfu=round(used, 4),
            seconds=round(now - self.begun, 3),
        )
        self.note = (
            f"loss {loss:.4f}, {crops_per_s:.0f} crops/s, waits {waited:.0%}, MFU {used:.0%}"
        )
        if "recall" in self.journal.newest:
            self.note += f", recall {self.journal.newest['recall']:.3f}"
        self.line_begun, self.line_step = now, done
        self.waited_s = self.stream.waited_s


class Validation:
    """Measures the loss on crops of held-out wells, always the same crops and the same patches."""

    def __init__(
        self, journal: Journal, objective: nn.Module, crops: list[Crops], every: int, last: int
    ) -> None:
        self.journal, self.objective, self.crops = journal, objective, crops
        self.every, self.last = every, last

    def __call__(self, done: int, losses: Losses) -> None:
        """Measure where it is time to: a probe of the loop."""
        if done % self.every == 0 or done == self.last:
            self.measure(done)

    def measure(self, done: int) -> None:
        """Log the mean over all crops."""
        if self.crops:
            self.journal.write(done, validation_loss=self.mean())

    @torch.no_grad()
    def mean(self) -> float:
        """Return the mean loss over all crops, of which there have to be some."""
        self.objective.eval()
        sums = [
            float(self.objective(part, index)["loss"]) * len(part)
            for index, part in enumerate(self.crops)
        ]
        self.objective.train()
        return sum(sums) / sum(len(part) for part in self.crops)
