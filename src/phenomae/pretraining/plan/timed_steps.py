"""Times a few steps of a training.

A few steps are taken before the timed ones, to warm up memory allocator, compiled code and
prefetched crops: the first steps are several times slower than later steps.
"""

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
from phenomae.devices import synchronise
from phenomae.pretraining.data import Data
from phenomae.pretraining.session import Session
from phenomae.progress import info

try:
    import resource
except ImportError:  # Windows
    resource = None

_WARM_UP = 5  # steps before the timed ones; prefetched crops are then ready, as later in a run
_MIN_STEPS = 3
_VALIDATED = 64  # maximum number of validation crops that are timed

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class TimedSteps:
    """Durations of the steps of one process, each with the crops of one process."""

    steps: int
    seconds_per_step: float
    data_wait: float
    """Fraction of the time that was spent waiting for crops."""
    first_step_s: float
    """Duration of the first step, including compilation."""
    reading_s: float
    """Duration of reading all fields once, if they are kept in memory; else 0."""
    validation_s: float
    """Duration of one computation of the validation loss; 0 without validation crops."""
    peak_bytes: int | None
    """Peak GPU memory; on a CPU, the growth of the process since its size was `resident` bytes.

    None where the system does not tell.
    """


def time_steps(session: Session, share: range, burst_s: float, resident: int | None) -> TimedSteps:
    """Take steps for about `burst_s` seconds, at least three; nothing is written.

    `share` are the indices of one process's crops in a step. If fields are kept in memory, the same
    few steps are repeated, so that no field has to be read, as in a training after its start.
    """
    device, stream = session.team.machine.device, replace(session.stream, share=share)
    kept = stream.reader.reading == "memory"
    started = time.perf_counter()
    fields = stream.step(0).keys[:, 0].unique()
    reading_s = (time.perf_counter() - started) / len(fields) * len(session.data.training)
    if device.type == "cuda":
        # Opening the network and measuring peak FLOP/s used memory that training does not use.
        torch.cuda.reset_peak_memory_stats(device)
    with closing(prefetch(stream.step, cycle(range(_WARM_UP)) if kept else count())) as made:
        steps = _Steps(session, made)
        info("plan: warming up")
        _, first_step_s, _ = steps.take(1, 1, 0.0)
        steps.take(1, _WARM_UP - 1, burst_s / 3)
        info(f"plan: timing steps for {burst_s:g} s")
        taken, seconds, waited = steps.take(_MIN_STEPS, None, burst_s)
    validation_s = _time_validation(session)
    return TimedSteps(
        steps=taken,
        seconds_per_step=seconds / taken,
        data_wait=waited / seconds,
        first_step_s=first_step_s,
        reading_s=reading_s if kept else 0.0,
        validation_s=validation_s,
        peak_bytes=_peak_memory(device, resident),
    )


def resident_memory() -> int | None:
    """Return the resident memory of this process in bytes; None where the system does not tell."""
    if resource is None:
        return None
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    # Without /proc only the peak is known; macOS gives bytes, other systems kilobytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _Steps:
    """Takes consecutive training steps and measures their time."""

    def __init__(self, session: Session, made: Iterator[Crops]) -> None:
        self.learner, self.device, self.made = session.learner, session.team.machine.device, made
        self.done = 0

    def take(self, minimum: int, maximum: int | None, seconds: float) -> tuple[int, float, float]:
        """Take steps for `seconds`; return their number, their time, and the wait for crops.

        At least `minimum` and at most `maximum` steps are taken (None: no limit).
        """
        started = time.perf_counter()
        steps, waited = 0, 0.0
        while steps < minimum or (steps != maximum and time.perf_counter() - started < seconds):
            requested = time.perf_counter()
            crops = next(self.made)
            waited += time.perf_counter() - requested
            self.learner(crops, self.done)
            self.done += 1
            steps += 1
        synchronise(self.device)
        return steps, time.perf_counter() - started, waited


def count_validation_crops(data: Data, maximum: int) -> int:
    """Return the number of crops on which the validation loss is computed."""
    return min(maximum, len(data.validation))


def _time_validation(session: Session) -> float:
    """Return the duration of computing the validation loss once, extrapolated from some crops."""
    crops = count_validation_crops(session.data, session.settings.validation_crops)
    if crops == 0:
        return 0.0
    info("plan: timing the validation loss")
    measured = min(crops, _VALIDATED)
    parts = session.data.validation_crops(measured)
    started = time.perf_counter()
    session.learner.validate(parts)
    return (time.perf_counter() - started) * crops / measured


def _peak_memory(device: torch.device, resident: int | None) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":  # has no record of its peak, but keeps what was freed
        return torch.mps.driver_allocated_memory()
    # Inside `all_cores` the process keeps freed memory, so its current size is its peak.
    now = resident_memory()
    return None if now is None or resident is None else max(now - resident, 0)
