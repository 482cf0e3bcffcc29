"""Time and memory of commands on wells, from 6,250 to 100,000 wells of 384 features.

    python benchmarks/questions.py                        all commands, five sizes: half an hour
    python benchmarks/questions.py --only signal --sizes 100000

The wells are drawn with numpy and written by `phenomae.write_wells`. Each command runs in a process
of its own, as from a shell; time and peak memory are those of the process, with start and imports.
Peak memory must be under 4 GB at every size. Progress lines are counted: a command that takes over
a minute must print one.

Plates have 384 wells, 32 of them controls. The perturbations of a plate are repeated on 8 plates,
at other wells; four perturbations are guides of a gene. Batches are sets of 4 plates.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

import phenomae

SIZES = (6_250, 12_500, 25_000, 50_000, 100_000)
WIDTH, WELLS, CONTROLS, REPLICATES = 384, 384, 32, 8
MAX_GB = 4.0
COMMANDS = {
    "replicates": "ask replicates WELLS OUT",
    "replicates any": "ask replicates WELLS OUT --plates any",
    "signal": "ask signal WELLS OUT",
    "probe": "ask probe WELLS OUT",
    "correct": "correct WELLS OUT --method center-scale --batch plate --then tvn: --diagnose",
}


def make_wells(folder: Path, count: int) -> None:
    """Write a screen of `count` wells in which a third of the genes has an effect."""
    rng = np.random.default_rng(0)
    row = np.arange(count)
    plates, place = row // WELLS, row % WELLS
    treated = WELLS - CONTROLS
    guides = plates // REPLICATES * treated + (place - CONTROLS + 37 * plates) % treated
    control, genes = place < CONTROLS, guides // 4
    features = rng.standard_normal((count, WIDTH), dtype=np.float32)
    features += 0.3 * rng.standard_normal((plates.max() + 1, WIDTH), dtype=np.float32)[plates]
    effects = 0.4 * rng.standard_normal((genes.max() + 1, WIDTH), dtype=np.float32)
    effects[np.arange(len(effects)) % 3 > 0] = 0
    features[~control] += effects[genes[~control]]
    wells = [
        f"{'ABCDEFGHIJKLMNOP'[row]}{column + 1:02d}" for row in range(16) for column in range(24)
    ]
    # Controls at random wells, so that what they differ in is no effect of columns.
    layout = np.array([rng.permutation(wells) for _ in range(plates.max() + 1)])
    table = pl.DataFrame(
        {
            "plate": [f"plate-{plate:04d}" for plate in plates],
            "batch": [f"batch-{plate // 4:03d}" for plate in plates],
            "well": layout[plates, place],
            "control": control,
            "perturbation": np.where(control, "NTC", np.char.add("guide-", guides.astype(str))),
            "gene": np.where(control, "", np.char.add("gene-", genes.astype(str))),
        }
    )
    names = [f"f{number}" for number in range(WIDTH)]
    columns = {name: pl.Series(features[:, number]) for number, name in enumerate(names)}
    phenomae.write_wells(folder, table.with_columns(**columns), names)


def run(words: str, wells: Path, out: Path) -> tuple[float, float, int]:
    """Return seconds, peak GB and the number of progress lines of a command."""
    begun = time.perf_counter()
    paths = {"WELLS": str(wells), "OUT": str(out)}
    command = [sys.executable, "-m", "phenomae", *(paths.get(word, word) for word in words.split())]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        said.seek(0)
        lines = said.read()
    if status != 0:
        raise SystemExit(f"{words} failed: {lines}")
    return seconds, used.ru_maxrss / 2**20, lines.count(" left")


def main() -> None:
    """Print a table of time and memory; the exit code is 0 if the limits are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=sorted(COMMANDS), action="append")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    given = parser.parse_args()
    kept = True
    print(f"{'command':16} {'wells':>8} {'seconds':>8} {'peak GB':>8} progress lines", flush=True)
    for count in given.sizes:
        with tempfile.TemporaryDirectory() as folder:
            wells = Path(folder) / "wells"
            # In a process of its own, because that of a command is started with our memory.
            maker = get_context("spawn").Process(target=make_wells, args=(wells, count))
            maker.start()
            maker.join()
            for name, words in COMMANDS.items():
                if given.only and name not in given.only:
                    continue
                seconds, peak, lines = run(words, wells, Path(folder) / name)
                kept &= peak < MAX_GB and (lines > 0 or seconds < 60)
                row = f"{name:16} {count:8,} {seconds:8.1f} {peak:8.2f} {lines:8}"
                print(row, flush=True)
    sys.exit(not kept)


if __name__ == "__main__":
    main()
