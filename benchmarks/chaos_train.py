"""Kills a training at ten random moments, and checks that it ends with the same weights.

    python benchmarks/chaos_train.py                   BBBC013 from ../shared, if that exists
    python benchmarks/chaos_train.py RAW_OR_STORE      another plate; RAW is ingested with --config
    python benchmarks/chaos_train.py --folder chaos    keeps the store and both runs

A small network is trained twice by the same command, `phenomae pretrain vit-mae`, on a CPU: once
undisturbed, and once killed (SIGKILL to the command and all its processes) and started again until
it ends. The moments are drawn from a seed: during start-up (at the latest when the first step is
logged), after some step, while a checkpoint is written, and at the end (at the latest when the
final weights appear). The durations of start-up and end are taken from the undisturbed training.
For each kill a line has the seconds since the start of the command, the last logged step, the
checkpoint from which the next start continues, and the files that were incomplete.

Then every file of the two runs is compared byte for byte, and every number of their logs; only
clocks and environment.txt may differ. Exit code 1 if anything else differs.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file

from phenomae.signatures import SIGNATURE

BBBC013 = "shared/data/images/bbbc013_cellprofiler_sbs96"
RECIPE = Path(__file__).parents[1] / "src/phenomae/recipes/bbbc013.toml"
PHENOMAE = (sys.executable, "-m", "phenomae")
# Logged lines and the last step are between checkpoints, so that steps have to be repeated.
NETWORK = (
    "--crop-size 64 --patch-size 8 --embed-dim 96 --depth 4 --num-heads 3 --decoder-embed-dim 64 "
    "--decoder-depth 2 --decoder-num-heads 2 --crops-per-step 16 --lr 3e-4 --log-every 3 "
    "--validation-every 50 --device cpu"
)
WEIGHTS = "weights/model.safetensors"
CLOCKS = ("time", "seconds", "crops_per_s", "data_wait", "mfu")
WRITING_S = 0.004  # about the time for writing a checkpoint

Kind = Literal["start-up", "step", "checkpoint", "end"]


@dataclass(frozen=True)
class Moment:
    """When a training is killed."""

    kind: Kind
    share: float
    """Fraction of the duration of start-up, step, writing a checkpoint, or end."""
    step: int = 0
    """Minimum number of steps done."""


@dataclass(frozen=True)
class Durations:
    """Durations of an undisturbed training in seconds."""

    start_s: float
    """Until the first line of the log."""
    step_s: float
    end_s: float
    """From the last line of the log until the run is signed as finished."""
    whole_s: float


class Training:
    """A run folder and the command that trains it."""

    def __init__(self, store: Path, run: Path, steps: int, checkpoint_every: int) -> None:
        self.run, self.steps = run, steps
        lengths = ["--steps", str(steps), "--checkpoint-every", str(checkpoint_every)]
        words = ["pretrain", "vit-mae", str(store), str(run), *NETWORK.split(), *lengths]
        self.command = [*PHENOMAE, *words, "--quiet"]

    def finish(self) -> Durations:
        """Run the command to its end; return the durations."""
        started = time.time()
        subprocess.run(self.command, check=True)
        ended = time.time()
        lines = [line for line in self.lines(started) if "loss" in line]
        if not lines:
            return Durations(0.0, 0.0, 0.0, ended - started)
        first, last = lines[0], lines[-1]
        step_s = (last["time"] - first["time"]) / max(last["step"] - first["step"], 1)
        signed = (self.run / SIGNATURE).stat().st_mtime
        return Durations(first["time"] - started, step_s, signed - last["time"], ended - started)

    def kill(self, moment: Moment, usual: Durations) -> str | None:
        """Start the command and kill it; return a line of the table, None if it ended before."""
        started = time.time()
        process = subprocess.Popen(self.command, start_new_session=True)
        try:
            self._wait(moment, usual, started, process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        seconds = time.time() - started
        code = process.wait()
        if code not in (0, -signal.SIGKILL):
            raise SystemExit(f"the training ended with exit code {code}, and was not killed")
        return None if code == 0 else self._describe(started, seconds)

    def lines(self, since: float = 0.0) -> list[dict[str, Any]]:
        """Return the complete lines of the log that were written since then."""
        log = self.run / "log.jsonl"
        text = log.read_text() if log.exists() else ""
        found = [json.loads(line) for line in text.splitlines(True) if line.endswith("}\n")]
        return [line for line in found if line["time"] >= since]

    def _wait(
        self, moment: Moment, usual: Durations, started: float, process: subprocess.Popen[bytes]
    ) -> None:
        """Return at the moment or when the command has ended; SystemExit if it hangs."""
        deadline = time.monotonic() + 20 * usual.whole_s + 60

        def wait_until(ready: Callable[[], bool], pause_s: float) -> None:
            while process.poll() is None and not ready():
                if time.monotonic() > deadline:
                    raise SystemExit(f"a training waited for its {moment.kind} for too long")
                time.sleep(pause_s)

        if moment.kind == "start-up":
            end = started + moment.share * usual.start_s
            wait_until(lambda: time.time() > end or self._reached(started) > 0, 0.01)
            return
        step = self.steps if moment.kind == "end" else moment.step
        wait_until(lambda: self._reached(started) >= step, 0.01)
        if moment.kind == "checkpoint":
            wait_until(self._is_writing, 0.0002)
        after = {"step": usual.step_s, "checkpoint": WRITING_S, "end": usual.end_s}
        end = time.time() + moment.share * after[moment.kind]
        wait_until(lambda: time.time() > end or (self.run / WEIGHTS).exists(), 0.0005)

    def _reached(self, since: float) -> int:
        """Return the last step that this start of the command has logged; 0: none yet."""
        return max((line["step"] for line in self.lines(since)), default=0)

    def _is_writing(self) -> bool:
        return any(self.run.glob("checkpoints/*.partial"))

    def _describe(self, started: float, seconds: float) -> str:
        written = sorted(path.stem for path in self.run.glob("checkpoints/*.safetensors"))
        newest = int(written[-1].removeprefix("step-")) if written else None
        line = f"{seconds:9.2f} {self._reached(started) or '-':>9} {newest if written else '-':>9}"
        partial = [path.relative_to(self.run) for path in self.run.rglob("*.partial")]
        return f"{line}  {', '.join(map(str, partial))}"


def plan(kills: int, steps: int, seed: int) -> Iterator[Moment]:
    """Draw moments in the order of the training; a fifth of them are at its end."""
    rng = random.Random(seed)
    ends = max(1, kills // 5)
    cycle: tuple[Kind, ...] = ("start-up", "step", "checkpoint")
    kinds: list[Kind] = [cycle[number % 3] for number in range(kills - ends)]
    starts, others = kinds.count("start-up"), kills - ends - kinds.count("start-up")
    start = other = 0
    for kind in kinds:
        if kind == "start-up":
            yield Moment(kind, (start + rng.random()) / starts)
            start += 1
        else:
            step = int((other + rng.random()) / others * 0.95 * steps)
            yield Moment(kind, rng.random(), step)
            other += 1
    for number in range(ends):
        yield Moment("end", (number + rng.random()) / ends)


def compare(whole: Training, killed: Training) -> list[str]:
    """Return the differences between two runs, one sentence each."""
    found = []
    paths = [files_of(training.run) for training in (whole, killed)]
    for name in sorted(paths[0] ^ paths[1]):
        found.append(f"{name} is in {'the undisturbed' if name in paths[0] else 'the killed'} run")
    for name in sorted(paths[0] & paths[1]):
        pair = [training.run / name for training in (whole, killed)]
        if pair[0].read_bytes() != pair[1].read_bytes():
            found.append(f"{name} differs{describe_tensors(*pair) if name == WEIGHTS else ''}")
    return found + compare_logs(whole.lines(), killed.lines())


def files_of(run: Path) -> set[str]:
    """Return the names of a run's files, without those that hold clocks."""
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    return names - {"log.jsonl", "environment.txt"}


def describe_tensors(*paths: Path) -> str:
    """Return the number of tensors in which two files differ, and the largest difference."""
    whole, killed = (load_file(path) for path in paths)
    others = [name for name in whole if not torch.equal(whole[name], killed[name])]
    largest = max((float((whole[name] - killed[name]).abs().max()) for name in others), default=0.0)
    return f" in {len(others)} of {len(whole)} tensors, by at most {largest:.3g}"


def compare_logs(whole: Sequence[dict[str, Any]], killed: Sequence[dict[str, Any]]) -> list[str]:
    """Return the first difference between two logs, without clocks."""
    logs = [
        [{key: value for key, value in line.items() if key not in CLOCKS} for line in log]
        for log in (whole, killed)
    ]
    if logs[0] == logs[1]:
        return []
    parts = next((pair for pair in zip(*logs, strict=False) if pair[0] != pair[1]), None)
    lengths = f"log.jsonl: {len(logs[0])} lines undisturbed, {len(logs[1])} killed"
    return [f"{lengths}; the first difference is {parts[0]}, {parts[1]}" if parts else lengths]


def find_store(arguments: argparse.Namespace, folder: Path) -> Path:
    """Return the store to train on; raw files are ingested."""
    given: Path = arguments.raw_or_store or Path(__file__).resolve().parents[2] / BBBC013
    if not given.exists():
        raise SystemExit(f"{given} does not exist: name a store or a folder of raw files")
    if (given / SIGNATURE).exists():
        return given
    store = folder / "store"
    command = [*PHENOMAE, "ingest", str(given), str(store), "--quiet"]
    subprocess.run([*command, "--config", str(arguments.config)], check=True)
    return store


def run_and_compare(store: Path, folder: Path, arguments: argparse.Namespace) -> int:
    """Train twice, print every kill, compare, and return the exit code."""
    for name in ("whole", "killed"):
        shutil.rmtree(folder / name, ignore_errors=True)
    lengths = (arguments.steps, arguments.checkpoint_every)
    whole = Training(store, folder / "whole", *lengths)
    usual = whole.finish()
    print(
        f"undisturbed: {usual.whole_s:.1f} s, of which {usual.start_s:.1f} until the first line of "
        f"the log, {usual.end_s:.1f} from the last until it was finished; {arguments.steps} steps, "
        f"a checkpoint every {arguments.checkpoint_every}, seed {arguments.seed}"
    )
    print(f"{'kill':>4} {'moment':10} {'after s':>9} {'step':>9} {'continues':>9}  incomplete")
    training, hit = Training(store, folder / "killed", *lengths), 0
    for number, moment in enumerate(plan(arguments.kills, arguments.steps, arguments.seed), 1):
        line = training.kill(moment, usual)
        hit += line is not None
        print(f"{number:4} {moment.kind:10} {line or 'had ended before'}", flush=True)
    training.finish()

    differences = compare(whole, training)
    print(*differences, sep="\n", end="\n" if differences else "")
    weights, other = ((path.run / WEIGHTS).read_bytes() for path in (whole, training))
    verdict = f"{'the same' if weights == other else 'OTHER'} weights, {len(weights)} bytes"
    if not differences:
        verdict += f", and the same in all files and {len(whole.lines())} lines of the log"
    print(f"after {hit} kills: {verdict}")
    return int(bool(differences))


def read_arguments() -> argparse.Namespace:
    """Return the command line arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("raw_or_store", type=Path, nargs="?", metavar="RAW_OR_STORE")
    parser.add_argument("--config", type=Path, default=RECIPE, help="recipe to ingest RAW with")
    parser.add_argument("--folder", type=Path, help="where store and runs are kept")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=304)
    parser.add_argument("--checkpoint-every", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    return parser.parse_args()


def main() -> int:
    """Run in the given folder, or in a temporary one."""
    arguments = read_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return run_and_compare(find_store(arguments, folder), folder, arguments)


if __name__ == "__main__":
    sys.exit(main())
