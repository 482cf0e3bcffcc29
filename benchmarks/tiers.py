"""Time and memory of `benchmark --wells`, tier by tier, beside the same command without wells.

    phenomae annotations fetch lists
    python benchmarks/tiers.py lists work           17,000 genes x 384, 136,000 wells: half an hour
    python benchmarks/tiers.py lists work --rounds 1 --genes 2000 --width 64

`work` gets the map, its wells and the results; what is there is used again. The wells are noise:
four guides a gene, each at one position of a plate of a library of 300, in two copies of the
library, whose plates belong to 5 batches in turn. Genes of the lists come first, so that known
pairs are used. Every command runs in a process of its own, one after the other, and the rounds
alternate them. The figures of a command are the least over the rounds, and those of a further tier
are the difference between the tiers `any` and this one, and `any` alone.

Targets: a further tier costs at most .6 of the command without wells, all of it under 1.5 GB.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

GUIDES, COPIES, ON_PLATE, BATCHES = 4, 2, 300, 5
TARGET, TARGET_MB = 0.6, 1500
FURTHER = ("other-plate", "other-batch", "other-position")
WITHOUT, ALL = "without wells", "all tiers"
Figures = tuple[float, float, float]
"""Seconds of the clock, seconds of all cores, and peak memory in MB."""


def make_map(path: Path, lists: Path, count: int, width: int) -> None:
    """Write a map of noise, with the genes of the lists first."""
    import anndata

    from phenomae.evaluation.annotations import COLUMNS, read_annotations

    pairs = pl.concat([source.pairs for source in read_annotations(lists)])
    known = pl.concat([pairs[column] for column in COLUMNS]).unique().drop_nulls().sort()
    names = [*known[:count].to_list(), *(f"gene {row}" for row in range(len(known), count))]
    features = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    anndata.AnnData(features, obs={"obs_names": names}).write_h5ad(path)


def make_wells(folder: Path, names: list[str], width: int) -> None:
    """Write wells of noise, plate by plate."""
    from phenomae.artefacts import Origin, artefact_folder
    from phenomae.records import WELL_COLUMNS
    from phenomae.wells import KIND, write_plate

    rng = np.random.default_rng(0)
    genes = rng.permutation(np.tile(np.arange(len(names)), GUIDES))
    library = np.split(genes, np.arange(ON_PLATE, len(genes), ON_PLATE))
    wells = [f"{row}{column + 1:02d}" for row in "ABCDEFGHIJKLMNOP" for column in range(24)]
    with artefact_folder(folder, Origin(KIND, {"width": width})) as unfinished:
        for number, on_plate in enumerate(library * COPIES if unfinished else ()):
            table = pl.DataFrame(
                {
                    "plate": f"P{number:04d}",
                    "well": wells[: len(on_plate)],
                    "batch": f"B{number % BATCHES}",
                    "gene": [names[gene] for gene in on_plate],
                    "control": False,
                    "sites": 9,
                }
            )
            missing = [pl.lit(None).alias(name) for name in WELL_COLUMNS if name not in table]
            features = rng.normal(size=(len(on_plate), width)).astype(np.float32)
            write_plate(unfinished, table.with_columns(missing), features)


def run(work: Path, lists: Path, name: str, tiers: tuple[str, ...]) -> Figures:
    """Run the command once and return its figures."""
    command = [sys.executable, "-m", "phenomae", "--quiet", "benchmark", str(work / "map.h5ad")]
    command += [str(work / name), "--annotations", str(lists), "--overwrite"]
    if tiers:
        command += ["--wells", str(work / "wells"), "--tiers", *tiers]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    if status:
        sys.exit(f"the command failed: {' '.join(command)}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000


def show(best: dict[str, Figures]) -> bool:
    """Print the figures and return whether they meet the targets."""
    print("command                        clock s   core s   peak MB")
    for name, (seconds, core_seconds, mb) in best.items():
        print(f"{name:28} {seconds:9.1f} {core_seconds:8.1f} {mb:9,.0f}")
    met = max(mb for _, _, mb in best.values()) < TARGET_MB
    print("a further tier, as a share of the command without wells: clock, core")
    for tier in FURTHER:
        shares = [
            (more - less) / whole
            for more, less, whole in zip(best[tier], best["any"], best[WITHOUT], strict=True)
        ]
        print(f"{tier:28} {shares[0]:9.2f} {shares[1]:8.2f}   (target: {TARGET})")
        met &= max(shares[:2]) <= TARGET
    return met


def main() -> None:
    """Run all commands; the exit code is 0 if all targets were met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lists", type=Path, help="folder of known pairs")
    parser.add_argument("work", type=Path, help="folder for map, wells and results")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--genes", type=int, default=17_000)
    parser.add_argument("--width", type=int, default=384)
    given = parser.parse_args()
    from phenomae.maps.read import read_map

    given.work.mkdir(parents=True, exist_ok=True)
    if not (given.work / "map.h5ad").exists():
        make_map(given.work / "map.h5ad", given.lists, given.genes, given.width)
    make_wells(given.work / "wells", read_map(given.work / "map.h5ad").names, given.width)
    commands = {WITHOUT: (), "any": ("any",), **{tier: ("any", tier) for tier in FURTHER}}
    commands[ALL] = ("any", *FURTHER)
    best: dict[str, Figures] = {}
    for _ in range(given.rounds):
        for name, tiers in commands.items():
            figures = run(given.work, given.lists, name.replace(" ", "_"), tiers)
            earlier = best.get(name, figures)
            least = tuple(map(min, figures[:2], earlier[:2]))
            best[name] = (*least, max(figures[2], earlier[2]))
            print(f"{name}: " + " ".join(f"{number:.1f}" for number in figures), flush=True)
    sys.exit(not show(best))


if __name__ == "__main__":
    main()
