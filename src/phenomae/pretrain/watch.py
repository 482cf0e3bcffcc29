"""Probes that tell how training goes: the log with its progress line, and the validation loss."""

import math
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from phenomae.crops.stream import CropStream
from phenomae.crops.tensors import Crops
from phenomae.pretrain.loop import Schedule
from phenomae.progress import Tracker
from phenomae.runs import append_log


class Log:
    """Writes loss, lr and speed to `log.jsonl` now and then, and moves the progress bar.

    Losses are added up on the device, so that the loop waits for it only when a line is written.
    `boundaries` are lengths of which every multiple ends a line's mean: a run that goes on from a
    checkpoint then logs the same means.
    """

    def __init__(
        self,
        run: Path,
        stream: CropStream,
        schedule: Schedule,
        tracker: Tracker,
        first_step: int,
        boundaries: tuple[int, ...],
    ) -> None:
        self.run, self.stream, self.schedule, self.tracker = run, stream, schedule, tracker
        self.boundaries = boundaries
        self.begun = self.line_begun = time.perf_counter()
        self.line_step = first_step
        self.waited_s = 0.0
        self.total: Tensor | None = None
        self.note = ""

    def __call__(self, done: int, losses: Mapping[str, Tensor]) -> None:
        """Count one step; write a line where one is due."""
        loss = losses["loss"].detach()
        self.total = loss.float() if self.total is None else self.total + loss
        if any(done % length == 0 for length in self.boundaries):
            self._write(done, float(self.total))
        self.tracker(1, self.note)

    def _write(self, done: int, total: float) -> None:
        now = time.perf_counter()
        steps, seconds = done - self.line_step, now - self.line_begun
        crops_per_s = steps * self.stream.crops_per_step / seconds
        loss = total / steps
        if not math.isfinite(loss):
            raise ValueError(
                f"{self.run}: the loss is {loss} between steps {self.line_step} and {done}, at an "
                f"lr of {self.schedule(done - 1):.3g}: lower lr, with --overwrite to begin anew"
            )
        append_log(
            self.run,
            step=done,
            loss=loss,
            lr=self.schedule(done - 1),
            crops_per_s=round(crops_per_s, 2),
            data_wait=round((self.stream.waited_s - self.waited_s) / seconds, 4),
            seconds=round(now - self.begun, 3),
        )
        self.note = f"loss {loss:.4f}, {crops_per_s:.0f} crops/s"
        self.line_begun, self.line_step, self.total = now, done, None
        self.waited_s = self.stream.waited_s


class Validation:
    """Measures the loss on crops of held-out wells, always the same crops and the same patches."""

    def __init__(
        self, run: Path, objective: nn.Module, crops: list[Crops], every: int, last: int
    ) -> None:
        self.run, self.objective, self.crops = run, objective, crops
        self.every, self.last = every, last

    def __call__(self, done: int, losses: Mapping[str, Tensor]) -> None:
        """Measure where it is time to: a probe of the loop."""
        if done % self.every == 0 or done == self.last:
            self.measure(done)

    @torch.no_grad()
    def measure(self, done: int) -> None:
        """Log the mean over all crops."""
        if not self.crops:
            return
        self.objective.eval()
        sums = [
            float(self.objective(part, index)["loss"]) * len(part)
            for index, part in enumerate(self.crops)
        ]
        self.objective.train()
        mean = sum(sums) / sum(len(part) for part in self.crops)
        append_log(self.run, step=done, validation_loss=mean)
