"""Lets a scheduler stop a training: SIGTERM or SIGUSR1 saves, and the same command goes on."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from phenomae.pretraining.callbacks.checkpoints import Checkpoints
from phenomae.pretraining.callbacks.meter import Meter
from phenomae.pretraining.loop import Losses
from phenomae.pretraining.team import Team
from phenomae.runs import Stopped

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopping:
    """Hears the signals, and ends the training after the step at hand: a probe of the loop."""

    def __init__(self, team: Team, meter: Meter, checkpoints: Checkpoints) -> None:
        self.team, self.meter, self.checkpoints = team, meter, checkpoints
        self.heard = ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the signals inside the block; only a process's main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def __call__(self, done: int, losses: Losses) -> None:
        """Save and raise Stopped where any process has been told to stop."""
        if not self.team.any(bool(self.heard)):
            return
        if self.checkpoints.saved != done:
            self.meter.read()
            self.checkpoints.save(done)
        self.checkpoints.finish()
        raise Stopped(
            f"stopped by {self.heard or 'another process'} after {done} steps, which are saved; "
            "the same command goes on from there"
        )

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.heard = signal.Signals(number).name
