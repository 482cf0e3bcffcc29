"""Stops a training on SIGTERM or SIGUSR1, which schedulers send: saves a checkpoint and exits.

The exit code is 75, and the same command continues the run (SLURM: --signal, --requeue).
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from phenomae.pretraining.loop import Losses
from phenomae.pretraining.team import Team
from phenomae.runs import Stopped

# Windows has no SIGUSR1.
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Stopping:
    """Callback that ends the training after the current step if a signal has arrived."""

    def __init__(self, team: Team, save: Callable[[int], None]) -> None:
        """`save(done)` writes a checkpoint after `done` steps, unless there is one."""
        self.team, self.save = team, save
        self.received = ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside the block."""
        # Python allows signal handlers in the main thread only.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def __call__(self, done: int, losses: Losses) -> None:
        """Callback: save and raise Stopped if any process has received a signal."""
        # A scheduler may signal only one process, but all processes have to save.
        if not self.team.any(bool(self.received)):
            return
        self.save(done)
        raise Stopped(
            f"stopped by {self.received or 'another process'} after {done} steps, which are saved; "
            "the same command continues from there"
        )

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
