"""Writes the metrics of a training: log.jsonl, the trackers, and the progress line."""

import time
from pathlib import Path
from statistics import fmean

from phenomae.crops.stream import CropStream
from phenomae.pretraining.callbacks.meter import Meter
from phenomae.pretraining.callbacks.trackers import Tracker, open_trackers
from phenomae.pretraining.loop import Losses, Schedule
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.team import Team
from phenomae.progress import Advance
from phenomae.runs import append_log
from phenomae.signatures import settings_dict


class Journal:
    """Writes the metrics of a run to `log.jsonl` and to the trackers."""

    def __init__(self, run: Path, team: Team) -> None:
        self.run, self.team = run, team
        self.trackers: list[Tracker] = []
        self.newest: dict[str, float] = {}
        """The last value of every metric."""

    def open_trackers(self, settings: TrainingSettings, first_step: int) -> None:
        """Open the trackers of the settings, for a run that has done `first_step` steps."""
        recorded = settings_dict(settings)
        self.trackers = open_trackers(settings.track, self.run, recorded, first_step)

    def close(self) -> None:
        """Close the trackers."""
        for tracker in self.trackers:
            tracker.close()

    def write(self, step: int, **values: float) -> None:
        """Write metrics of the network after `step` steps; only rank zero writes."""
        if not self.team.writes:
            return
        # The progress line shows the last recall.
        self.newest |= values
        append_log(self.run, step=step, **values)
        for tracker in self.trackers:
            tracker.log(step, values)


class Log:
    """Callback that writes loss, learning rate and speed, and advances the progress bar."""

    def __init__(
        self,
        journal: Journal,
        meter: Meter,
        stream: CropStream,
        schedule: Schedule,
        advance: Advance,
        first_step: int,
        flops_per_crop: int,
        peak_flops_per_s: float,
    ) -> None:
        """`peak_flops_per_s` is the sum over all devices; MFU is relative to it."""
        self.journal, self.meter = journal, meter
        self.stream, self.schedule, self.advance = stream, schedule, advance
        self.flops_per_crop, self.peak_flops_per_s = flops_per_crop, peak_flops_per_s
        self.started = self.line_started = time.perf_counter()
        self.line_step = first_step
        self.waited_s = stream.waited_s
        self.note = ""

    def __call__(self, done: int, losses: Losses) -> None:
        """Callback: advance the progress bar; write a line if the meter has just read losses."""
        # The meter has no losses if all steps since the last boundary were skipped.
        if self.meter.is_boundary(done) and self.meter.losses:
            self._write(done)
        self.advance(1, self.note)

    def _write(self, done: int) -> None:
        now = time.perf_counter()
        # Measured since the last line, so that the speed is the current one.
        steps, seconds = done - self.line_step, now - self.line_started
        crops_per_s = steps * self.stream.crops_per_step / seconds
        loss = fmean(self.meter.losses)
        mfu = crops_per_s * self.flops_per_crop / self.peak_flops_per_s
        waited = (self.stream.waited_s - self.waited_s) / seconds
        self.journal.write(
            done,
            loss=loss,
            lr=self.schedule(done - 1),
            gradient_norm=fmean(self.meter.norms),
            flops=float(done * self.stream.crops_per_step * self.flops_per_crop),
            crops_per_s=round(crops_per_s, 2),
            data_wait=round(waited, 4),
            mfu=round(mfu, 4),
            seconds=round(now - self.started, 3),
            **(self.meter.parts if len(self.meter.parts) > 1 else {}),
        )
        self.note = (
            f"loss {loss:.4f}, {crops_per_s:.0f} crops/s, data wait {waited:.0%}, MFU {mfu:.0%}"
        )
        if "recall" in self.journal.newest:
            self.note += f", recall {self.journal.newest['recall']:.3f}"
        self.line_started, self.line_step = now, done
        self.waited_s = self.stream.waited_s
