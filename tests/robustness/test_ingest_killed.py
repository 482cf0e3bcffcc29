"""An ingest killed at random moments, again and again, ends as one that was left in peace.

Half of the kills take the command and its workers, as a power cut does, half the command alone, as
a job scheduler or an impatient hand does: then its workers must end by themselves.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from phenomae import cli

WELLS = tuple(f"A{column:02d}" for column in range(1, 9))
LARGE = 4_500_000  # bytes a file: 64 of them are worth processes


@dataclass
class Killer:
    """Starts an ingest and kills it while it works."""

    raw: Path
    fork: Callable[..., Any]
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    begun_s: float = 0.0
    """Seconds until it begins to write."""
    ended_s: float = 0.0
    """Seconds until it is done."""
    workers: set[Path] = field(default_factory=set)
    """Where the system tells of the processes that were seen at work."""

    def start(self, store: Path) -> Any:
        return self.fork(["ingest", self.raw, store, "--workers", "2", "--quiet"])

    def leave_in_peace(self, store: Path) -> None:
        """Ingest without a kill, and see how long it takes."""
        start, partial = time.monotonic(), store.with_name(store.name + ".partial")
        process = self.start(store)
        while process.poll() is None and not partial.exists():
            time.sleep(0.001)
        self.begun_s = time.monotonic() - start
        assert process.wait().returncode == 0
        self.ended_s = time.monotonic() - start

    def kill(self, store: Path) -> bool:
        """Ingest and kill; say whether it was still at work."""
        process = self.start(store)
        time.sleep(self.rng.uniform(self.begun_s, self.ended_s))
        if process.poll() is None:
            listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            self.workers |= {Path("/proc", number, "stat") for number in listed.split()}
            if self.rng.random() < 0.5:
                process.send_signal(signal.SIGKILL)
            else:
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait().returncode
        assert code in (0, -signal.SIGKILL)
        return code != 0

    def alive(self) -> list[str]:
        """Return what still lives of the workers; the dead may wait for somebody to bury them."""
        stats = [stat.read_text() for stat in self.workers if stat.exists()]
        return [stat for stat in stats if stat.rpartition(")")[2].split()[0] != "Z"]


def kill_often(killer: Killer, kills: int, home: Path, contents, capfd) -> None:
    """Kill an ingest so many times, going on after each; the store must be the undisturbed one.

    Where it comes to its end between two kills, another is begun.
    """
    killer.leave_in_peace(home / "undisturbed")
    expected = contents(home / "undisturbed")
    store, killed = home / "out/store", 0
    store.parent.mkdir()

    def judge() -> None:
        assert contents(store) == expected, killed
        assert [path.name for path in store.parent.iterdir()] == ["store"]
        capfd.readouterr()
        assert (cli.run(["store", "check", str(store), "--quiet"]), killed) == (0, killed)
        assert capfd.readouterr().err == ""
        shutil.rmtree(store)

    for _ in range(20 * kills):  # most kills hit, but none has to
        if killed == kills:
            break
        killed += killer.kill(store)
        if store.exists():
            judge()
    assert killed == kills
    killer.leave_in_peace(store)
    judge()
    assert killer.alive() == []


def test_killed_at_six_moments(write_screen, tmp_path, contents, capfd, fork):
    raw = write_screen(plates=("P1", "P2"), wells=WELLS)
    kill_often(Killer(raw, fork), 6, tmp_path, contents, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("crew", ["threads", "processes"])
def test_killed_at_fifty_moments(crew, write_screen, tmp_path, contents, capfd, fork):
    raw = write_screen(plates=("P1", "P2"), wells=WELLS, size=(400, 500))
    if crew == "processes":  # worth them by the size of the files, most of which is a hole
        for path in (raw / "images").rglob("*.tiff"):
            os.truncate(path, LARGE)
    killer = Killer(raw, fork)
    kill_often(killer, 50, tmp_path, contents, capfd)
    assert bool(killer.workers) == (crew == "processes")
