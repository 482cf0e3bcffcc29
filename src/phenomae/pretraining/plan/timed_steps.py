"""Takes a few steps of a training by the clock, to tell what all of them will take."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count, cycle
from pathlib import Path

import torch

from phenomae.crops.prefetch import prefetch
from phenomae.crops.tensors import Crops
from phenomae.pretraining.callbacks.log import Validation
from phenomae.pretraining.data import Data
from phenomae.pretraining.session import Session
from phenomae.progress import info

_SETTLING = 5  # steps before the clock runs: crops lie ready then, as in the midst of a training
_LEAST = 3
_VALIDATED = 64

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Burst:
    """What one process's steps took; each has the crops that fall to a process."""

    steps: int
    seconds_per_step: float
    data_wait: float
    """Share of the time in which it waited for crops."""
    first_step_s: float
    """Of the first step, with any compiling."""
    reading_s: float
    """Of reading all fields once, where they are kept in memory; else 0."""
    validation_s: float
    """Of one measurement of the validation loss; 0 where no crops are held out."""
    peak_bytes: int
    """Of a GPU's memory; on a CPU what the process has grown by since it was `resident`."""


def measure_burst(session: Session, share: range, burst_s: float, resident: int) -> Burst:
    """Take steps for about `burst_s` seconds, three or more, with the crops of a `share` each.

    Fields that are kept in memory are read beforehand, by taking the same few steps over and over:
    so it is for all of a training but its beginning. The parts are a run's own; nothing is written.
    """
    device, stream = session.team.machine.device, replace(session.stream, share=share)
    kept = stream.reader.reading == "memory"
    begun = time.perf_counter()
    fields = stream.step(0).keys[:, 0].unique()
    reading_s = (time.perf_counter() - begun) / len(fields) * len(session.data.training)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with closing(prefetch(stream.step, cycle(range(_SETTLING)) if kept else count())) as made:
        steps = _Steps(session, made)
        info("plan: taking the first steps")
        _, first_step_s, _ = steps.take(1, 1, 0.0)
        steps.take(1, _SETTLING - 1, burst_s / 3)
        info(f"plan: taking steps for {burst_s:g} s")
        taken, seconds, waited = steps.take(_LEAST, None, burst_s)
    validation_s = _time_validation(session)
    return Burst(
        steps=taken,
        seconds_per_step=seconds / taken,
        data_wait=waited / seconds,
        first_step_s=first_step_s,
        reading_s=reading_s if kept else 0.0,
        validation_s=validation_s,
        peak_bytes=_peak_memory(device, resident),
    )


def resident_memory() -> int:
    """Return how many bytes of memory this process has."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _Steps:
    """Takes a training's steps one after the other."""

    def __init__(self, session: Session, made: Iterator[Crops]) -> None:
        self.learner, self.device, self.made = session.learner, session.team.machine.device, made
        self.done = 0

    def take(self, least: int, most: int | None, seconds: float) -> tuple[int, float, float]:
        """Take steps for so many seconds; return how many, and seconds in all and of waiting."""
        begun = time.perf_counter()
        steps, waited = 0, 0.0
        while steps < least or (steps != most and time.perf_counter() - begun < seconds):
            asked = time.perf_counter()
            crops = next(self.made)
            waited += time.perf_counter() - asked
            self.learner(crops, self.done)
            self.done += 1
            steps += 1
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return steps, time.perf_counter() - begun, waited


def count_validated(data: Data, most: int) -> int:
    """Return how many crops the validation loss is measured on."""
    return min(most, len(data.held_out))


def _time_validation(session: Session) -> float:
    """Return how long the validation loss takes, from some of its crops."""
    crops = count_validated(session.data, session.settings.validation_crops)
    if crops == 0:
        return 0.0
    info("plan: measuring the validation loss")
    measured = min(crops, _VALIDATED)
    parts = session.data.validation(measured)
    validation = Validation(session.journal, session.learner.objective, parts, every=1, last=0)
    begun = time.perf_counter()
    validation.mean()
    return (time.perf_counter() - begun) * crops / measured


def _peak_memory(device: torch.device, resident: int) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Inside `all_cores` what is freed stays with the process, so what it has now is its peak.
    return max(resident_memory() - resident, 0)
