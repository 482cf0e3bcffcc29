"""What it costs to verify what is read: the same commands before and after outputs had checksums.

    git worktree add ../before 01773ef
    python benchmarks/integrity.py ../before FOLDER [--rounds 5] [--only map benchmark]

Each side makes its own inputs (the demo's screen, a network of four steps, and large random wells)
and then runs the commands by turns, each in a process of its own with the outputs of the round
before removed. The ratio of a command is the median over the rounds of its time after and before.
`correct` measures nothing on either side, because it did not before.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "ingest": "ingest {at}/raw {out}",
    "embed": "embed {at}/store {at}/run {out} --device cpu",
    "correct": "correct {at}/wells {out} --batch plate --method tvn(components=64) "
    "--config {at}/correct.toml",
    "map": "map {at}/corrected {out}.h5ad --by gene",
    "benchmark": "benchmark {at}/map.h5ad {out} --annotations {at}/raw/relationships.csv "
    "--shuffle 200",
    "correct, large": "correct {at}/large {out} --batch plate --method tvn(components=64) "
    "--config {at}/correct.toml",
    "map, large": "map {at}/large {out}.h5ad --by gene --through wells",
}
LIMITS = {"ingest": 1.10, "correct, large": 1.15, "map, large": 1.15}
LIMIT = 1.05
WRITE_WELLS = """
import sys
import numpy as np, polars as pl
from phenomae.wells import write_wells
count, width, plates = int(sys.argv[2]), 384, 100
names = [f"feature {index}" for index in range(width)]
number = np.arange(count)
wells = pl.DataFrame({
    "plate": [f"P{k % plates:03d}" for k in number],
    "well": [f"{chr(65 + k // plates // 48 % 32)}{k // plates % 48 + 1:02d}" for k in number],
    "gene": [f"G{k % 4000}" for k in number],
    "control": (number // plates) % 10 == 0,
})
noise = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
write_wells(sys.argv[1], pl.concat([wells, pl.from_numpy(noise, names)], how="horizontal"), names)
"""


def main() -> None:
    """Print the median ratio of every command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="checkout of the version before")
    parser.add_argument("folder", type=Path, help="folder for inputs and outputs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wells", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    args = parser.parse_args()
    sides = {"before": args.before.resolve(), "after": ROOT.resolve()}
    for name, checkout in sides.items():
        make_inputs(args.folder.resolve() / name, checkout, args.wells)
    times: dict[str, dict[str, list[float]]] = {
        name: {"before": [], "after": []} for name in args.only
    }
    for turn in range(args.rounds):
        for name in args.only:
            # Who goes first changes, so that a slow spell of the machine hits both.
            for side in list(sides)[:: 1 if turn % 2 else -1]:
                seconds = measure(args.folder.resolve() / side, sides[side], COMMANDS[name])
                times[name][side].append(seconds)
    print(f"{'command':16}  before s  after s  ratio  limit")
    for name, found in times.items():
        before, after = (statistics.median(found[side]) for side in sides)
        ratio = statistics.median(
            b / a for a, b in zip(found["before"], found["after"], strict=True)
        )
        limit = LIMITS.get(name, LIMIT)
        print(f"{name:16}  {before:8.2f}  {after:7.2f}  {ratio:5.3f}  {limit:5.2f}")


def make_inputs(at: Path, checkout: Path, wells: int) -> None:
    """Make what the commands read, except what an earlier call has made."""
    at.mkdir(parents=True, exist_ok=True)
    (at / "correct.toml").write_text("[correct]\ndiagnose = false\n")
    recipe = checkout / "src/phenomae/recipes/demo-energy-mae.toml"
    steps = {
        "raw": "simulate {at}/raw --level real",
        "store": "ingest {at}/raw {at}/store",
        "run": f"pretrain energy-mae {{at}}/store {{at}}/run --config {recipe} --steps 4",
        "wells": "embed {at}/store {at}/run {at}/wells --device cpu",
        "corrected": "correct {at}/wells {at}/corrected --batch plate --method tvn(components=64)",
        "map.h5ad": "map {at}/corrected {at}/map.h5ad --by gene",
    }
    for name, line in steps.items():
        if not (at / name).exists():
            run(checkout, ["-m", "phenomae", *line.format(at=at).split()])
    if not (at / "large").exists():
        run(checkout, ["-c", WRITE_WELLS, str(at / "large"), str(wells)])


def measure(at: Path, checkout: Path, line: str) -> float:
    """Return the seconds that a command takes, start-up included."""
    out = at / "out"
    for path in at.glob("out*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.sync()  # what the round before has left to write does not count
    begun = time.perf_counter()
    run(checkout, ["-m", "phenomae", *line.format(at=at, out=out).split()])
    return time.perf_counter() - begun


def run(checkout: Path, words: list[str]) -> None:
    """Run Python with the source of a checkout; leaves by CalledProcessError if that fails."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)


if __name__ == "__main__":
    main()
