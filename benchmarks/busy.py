"""Training on a machine that is also used by others, beside the version 1bed898.

    git worktree add ../old 1bed898
    python benchmarks/busy.py ../old FOLDER [--rounds 3] [--seconds 15]

Each side simulates and ingests the demo's screen, and then trains by turns with the recipe of
1bed898 (`benchmarks/demo-1bed898.toml`), on a CPU and not pinned. Once all fields are in memory,
its rate is measured alone, and then beside three busy processes that are pinned to the second core.
Losses of equal steps are compared.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "benchmarks/demo-1bed898.toml"
SIDES = ("1bed898", "now")
BUSY = 3
"""Busy processes."""
WARM = 150
"""Steps after which nearly every field has been read."""
PATIENCE_S = 300.0
"""A training whose log does not grow for so many seconds has failed."""
SPIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"

Log = list[dict[str, float]]


@dataclass(frozen=True)
class Turn:
    """Rates of one training in crops per second, and its losses by step."""

    alone: float
    busy: float
    losses: dict[int, float]


def main() -> None:
    """Print the rates, their ratios and the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path, help="checkout of 1bed898")
    parser.add_argument("folder", type=Path, help="folder for inputs and outputs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    args = parser.parse_args()
    checkouts = dict(zip(SIDES, (args.old.resolve(), ROOT), strict=True))
    turns: dict[str, list[Turn]] = {side: [] for side in SIDES}
    for side, checkout in checkouts.items():
        make_store(args.folder / side, checkout)
    for number in range(args.rounds):
        # Who goes first changes, so that a slow spell of the machine hits both.
        for side in SIDES[:: 1 if number % 2 else -1]:
            turn = train(args.folder / side, checkouts[side], args.seconds)
            turns[side].append(turn)
            rates = f"{turn.alone:.1f} crops/s alone, {turn.busy:.1f} beside {BUSY} busy processes"
            print(f"round {number + 1}, {side}: {rates}", flush=True)
    report(turns)


def make_store(folder: Path, checkout: Path) -> None:
    """Simulate and ingest the demo's screen, unless that is done."""
    folder.mkdir(parents=True, exist_ok=True)
    for arguments in (("simulate", folder / "raw"), ("ingest", folder / "raw", folder / "store")):
        subprocess.run(command(*arguments), env=environment(checkout), check=True)


def command(*arguments: str | Path) -> list[str]:
    """Return a command line of phenomae."""
    return [sys.executable, "-m", "phenomae", *map(str, arguments)]


def environment(checkout: Path) -> dict[str, str]:
    """Return an environment in which the version of `checkout` is imported."""
    return {**os.environ, "PYTHONPATH": str(checkout / "src")}


def train(folder: Path, checkout: Path, seconds: float) -> Turn:
    """Train, and measure the rates of steps after the first `WARM`."""
    for left in folder.glob("run*"):
        shutil.rmtree(left)
    arguments = ["vit-mae", folder / "store", folder / "run", "--config", RECIPE]
    options = ["--device", "cpu", "--log-every", "2"]
    with open(folder / "output.txt", "w") as output:
        process = subprocess.Popen(
            command("pretrain", *arguments, *options),
            env=environment(checkout),
            stdout=output,
            stderr=output,
        )
        try:
            begun = wait_for_steps(folder, process, WARM)
            alone = measure(folder, process, begun, seconds)
            with busy_processes():
                time.sleep(1)
                # Its first line is of steps that were still taken alone.
                begun = wait_for_steps(folder, process, len(read_log(folder)) * 2 + 2)
                busy = measure(folder, process, begun, seconds)
            return Turn(alone, busy, {int(line["step"]): line["loss"] for line in read_log(folder)})
        finally:
            process.kill()
            process.wait()


def measure(folder: Path, process: subprocess.Popen, begun: int, seconds: float) -> float:
    """Return crops per second from the step `begun` on, over `seconds` and two lines at least."""
    time.sleep(seconds)
    wait_for_steps(folder, process, begun + 4)
    lines = [line for line in read_log(folder) if line["step"] >= begun]
    crops = tomllib.loads(RECIPE.read_text())["pretrain"]["vit-mae"]["crops_per_step"]
    steps = lines[-1]["step"] - lines[0]["step"]
    return steps * crops / (lines[-1]["seconds"] - lines[0]["seconds"])


def wait_for_steps(folder: Path, process: subprocess.Popen, count: int) -> int:
    """Wait until `count` steps are in the log; return how many there are."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        log = read_log(folder)
        if log and log[-1]["step"] >= count:
            return int(log[-1]["step"])
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"no training: {(folder / 'output.txt').read_text()[-2000:]}")
        time.sleep(0.1)


def read_log(folder: Path) -> Log:
    """Return the lines of the log that have a loss."""
    found = [*folder.glob("run*/log.jsonl")]
    lines = found[0].read_text().splitlines() if found else []
    # The last line may be half written.
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    return [line for line in whole if "loss" in line]


@contextmanager
def busy_processes() -> Iterator[None]:
    """Keep processes busy, all on the second of the cores, inside the block."""
    core = sorted(os.sched_getaffinity(0))[1]
    started = [subprocess.Popen([sys.executable, "-c", SPIN, str(core)]) for _ in range(BUSY)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def report(turns: dict[str, list[Turn]]) -> None:
    """Print medians, ratios and targets."""
    before, after = SIDES
    alone, busy = (
        {side: statistics.median(getattr(turn, name) for turn in turns[side]) for side in SIDES}
        for name in ("alone", "busy")
    )
    for side in SIDES:
        print(f"{side:8} {alone[side]:8.1f} crops/s alone {busy[side]:8.1f} busy")
    for name, ratio, target in (
        ("alone, now over 1bed898", alone[after] / alone[before], 1.4),
        ("busy, now over 1bed898", busy[after] / busy[before], 30.0),
        ("now, busy over alone", busy[after] / alone[after], 0.5),
    ):
        print(f"{name:26} {ratio:7.2f} (target {target:g})")
    old, new = (turns[side][0].losses for side in SIDES)
    steps = sorted(old.keys() & new.keys())[:50]
    apart = max(abs(new[step] / old[step] - 1) for step in steps)
    print(f"losses of steps {steps[0]} to {steps[-1]} differ by up to {apart:.1e} of theirs")


if __name__ == "__main__":
    main()
