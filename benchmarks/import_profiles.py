"""Time and memory of `phenomae import` beside polars alone, which reads and writes the same table.

    python benchmarks/import_profiles.py --wells 100000 --features 1000

A table as pycytominer writes it, with Metadata_ columns and CellProfiler's names, is made once.
Each of the two is then run in a process of its own, alternately; the smallest of the times counts.
The target: at most 1.3 times polars, under 2 GB.
"""

import argparse
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

PLATE = 384
TARGET, MEMORY_GB = 1.3, 2.0
# Both processes report their own time, without the start of Python, and their peak memory.
_REPORT = """
import resource, sys, time
start = time.perf_counter()
{work}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(time.perf_counter() - start, peak)
"""
_POLARS = """
import polars as pl
pl.read_parquet(sys.argv[1]).write_parquet(sys.argv[2] + ".parquet")
"""
_IMPORT = """
from phenomae import import_profiles
import_profiles(sys.argv[1], sys.argv[2])
"""


def write_table(path: Path, wells: int, features: int) -> None:
    """Write a table of random profiles with labels, about one value in 100,000 missing."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(wells, features))
    values[rng.integers(wells, size=wells // 1000), rng.integers(features, size=wells // 1000)] = (
        np.nan
    )
    index = np.arange(wells)
    row, column = np.divmod(index % PLATE, 24)
    names = [f"{['Cells', 'Cytoplasm', 'Nuclei'][at % 3]}_Texture_{at}" for at in range(features)]
    metadata = pl.DataFrame(
        {
            "Metadata_Plate": [f"plate{at:04d}" for at in index // PLATE],
            "Metadata_Well": [
                f"{chr(65 + r)}{c + 1:02d}" for r, c in zip(row, column, strict=True)
            ],
            "Metadata_broad_sample": [f"BRD-{at % 3000:05d}" for at in index],
            "Metadata_control_type": ["negcon" if at % 16 == 0 else None for at in index],
            "Metadata_pert_iname": [f"compound {at % 3000}" for at in index],
        }
    )
    pl.concat([metadata, pl.from_numpy(values, schema=names)], how="horizontal").write_parquet(path)


def run(work: str, table: Path, out: Path) -> tuple[float, float]:
    """Return seconds and peak memory in GB of one process."""
    command = [sys.executable, "-c", _REPORT.format(work=work), str(table), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


def main() -> None:
    """Print time and memory of both, and whether the target is met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--wells", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "table.parquet"
        # In a process of its own: the peak memory of a process is inherited by those it starts.
        writer = get_context("spawn").Process(
            target=write_table, args=(table, given.wells, given.features)
        )
        writer.start()
        writer.join()
        found: dict[str, list[tuple[float, float]]] = {"polars": [], "import": []}
        for repeat in range(given.repeats):
            for label, work in (("polars", _POLARS), ("import", _IMPORT)):
                found[label].append(run(work, table, folder / f"{label}{repeat}"))
    best = {label: min(seconds for seconds, _ in runs) for label, runs in found.items()}
    peaks = {label: max(peak for _, peak in runs) for label, runs in found.items()}
    for label in found:
        print(f"{label:8} {best[label]:7.2f} s {peaks[label]:6.2f} GB")
    ratio = best["import"] / best["polars"]
    print(f"import takes {ratio:.2f} times polars (target {TARGET}, {MEMORY_GB} GB)")
    sys.exit(ratio > TARGET or peaks["import"] > MEMORY_GB)


if __name__ == "__main__":
    main()
