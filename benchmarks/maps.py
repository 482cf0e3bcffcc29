"""Recall and TVN beside the public benchmark's own code, same arrays, one run.

    pip install --no-deps efaar_benchmarking
    python benchmarks/maps.py            recall of 17,000 genes x 128, TVN of 30,000 wells x 384
    python benchmarks/maps.py --growth   our recall alone, up to 113,000 x 384: minutes

Each measurement runs in a process of its own, so that peak memory is not shared. Both sides start
with the same arrays, and the time is that of the one call. The public package imports scvi,
geomloss and scanpy, but needs none of them for what is measured: empty modules replace those that
are not installed.

- recall: 17,000 rows of float64 noise. Genes of the public lists come first, so that all known
  pairs are used. Theirs is `known_relationship_benchmark` at its own two percentile pairs; ours
  computes these and 50 more, its curve.
- TVN: 30,000 wells of 100 batches, a tenth of them controls. Theirs is `tvn_on_controls`.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

GENES, GENE_FEATURES = 17_000, 128
WELLS, WELL_FEATURES, BATCHES = 30_000, 384, 100
GROWTH = (7_000, 14_000, 28_000, 56_000, 113_000)
PERCENTILES = [(0.05, 0.95), (0.1, 0.9)]
TARGETS = {"recall": 10, "tvn": 8}
Numbers = np.ndarray
Work = Callable[[], Numbers]


def our_recall(count: int, width: int) -> Work:
    """Recall as `phenomae benchmark` computes it; returns one row of recalls per source."""
    from phenomae.evaluation.annotations import read_annotations
    from phenomae.evaluation.benchmark import find_pairs
    from phenomae.evaluation.recall.recall_tables import measure
    from phenomae.evaluation.settings import BenchmarkSettings
    from phenomae.maps.read import ConsensusProfiles

    folder = find_annotations()
    names, features = draw_map(count, width)

    def work() -> Numbers:
        profiles = ConsensusProfiles(names, features, pl.DataFrame(), identity="")
        pairs = find_pairs(read_annotations(folder), names, folder)
        settings = BenchmarkSettings(folder, resamples=0)
        table = measure(profiles, pairs, PERCENTILES, settings)["recall.csv"]
        return table["recall"].to_numpy().reshape(-1, len(PERCENTILES))

    return work


def their_recall(count: int, width: int) -> Work:
    """Recall by the public package."""
    public = import_public("benchmarking")
    import pandas as pd
    from sklearn.utils import Bunch

    folder = str(find_annotations())
    names, features = draw_map(count, width)

    def work() -> Numbers:
        table = public.known_relationship_benchmark(
            Bunch(features=pd.DataFrame(features), metadata=pd.DataFrame({"gene": names})),
            pert_col="gene",
            recall_thr_pairs=PERCENTILES,
            benchmark_data_dir=folder,
        )
        return table[[f"recall_{low}_{high}" for low, high in PERCENTILES]].to_numpy()

    return work


def our_tvn() -> Work:
    """TVN by batch, as `phenomae correct` computes it; returns inner products of some wells."""
    from phenomae.correction.tvn import TVN

    features, control, batches = draw_wells()

    def work() -> Numbers:
        own = TVN(components="all")  # as the public code
        return own.fit_transform(features, controls=control, batches=batches)

    return lambda: some_products(work())


def their_tvn() -> Work:
    """TVN by the public package."""
    public = import_public("efaar")
    import pandas as pd

    features, control, batches = draw_wells()
    table = pd.DataFrame({"gene": np.where(control, "control", "gene"), "batch": batches})

    def work() -> Numbers:
        return public.tvn_on_controls(features, table, "gene", "control", "batch")

    return lambda: some_products(work())


def some_products(corrected: Numbers) -> Numbers:
    """Return inner products, which do not depend on the sign of principal axes."""
    some = corrected[:: len(corrected) // 300]
    return some @ some.T


def draw_map(count: int, width: int) -> tuple[list[str], Numbers]:
    """Return names, those of the public lists first, and features."""
    from phenomae.evaluation.annotations import COLUMNS, read_annotations

    pairs = pl.concat([source.pairs for source in read_annotations(find_annotations())])
    known = pl.concat([pairs[column] for column in COLUMNS]).unique().drop_nulls().sort()
    names = [*known[:count].to_list(), *(f"gene {row}" for row in range(len(known), count))]
    return names, np.random.default_rng(0).normal(size=(count, width))


def draw_wells() -> tuple[Numbers, Numbers, Numbers]:
    """Return features, which wells are controls, and batches, each with an offset of its own."""
    rng = np.random.default_rng(0)
    batches = np.repeat(np.arange(BATCHES), WELLS // BATCHES)
    features = rng.normal(size=(WELLS, WELL_FEATURES)) @ rng.normal(size=(WELL_FEATURES,) * 2)
    features += rng.normal(size=(BATCHES, WELL_FEATURES))[batches]
    return features, np.arange(WELLS) % 10 == 0, batches.astype(str)


def find_annotations() -> Path:
    """Return the folder of known pairs that comes with the public package."""
    return Path(str(files("efaar_benchmarking"))) / "benchmark_annotations"


def import_public(name: str) -> ModuleType:
    """Import a module of the public package, with empty ones for those it does not need here."""
    for missing, attribute in (("geomloss", "SamplesLoss"), ("scvi.model", "SCVI")):
        parts = missing.split(".")
        for end in range(1, len(parts) + 1):
            module = ModuleType(".".join(parts[:end]))
            sys.modules.setdefault(module.__name__, module)
        setattr(sys.modules[missing], attribute, None)
    return import_module(f"efaar_benchmarking.{name}")


def run_alone(prepare: Callable[..., Work], *arguments: int) -> tuple[float, float, Numbers]:
    """Return seconds, peak MB and the numbers of a piece of work, in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (prepare, arguments))


def _run(prepare: Callable[..., Work], arguments: tuple[int, ...]) -> tuple[float, float, Any]:
    from phenomae.progress import set_quiet

    set_quiet(True)
    work = prepare(*arguments)
    begun = time.perf_counter()
    numbers = work()
    seconds = time.perf_counter() - begun
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, numbers


def compare(name: str, ours: Callable[..., Work], theirs: Callable[..., Work], *size: int) -> bool:
    """Run both sides in turn, print their figures, and return whether ours meets its target."""
    target = TARGETS[name]
    our_seconds, our_mb, our_numbers = run_alone(ours, *size)
    seconds, mb, numbers = run_alone(theirs, *size)
    gap = np.abs(our_numbers - numbers).max() / np.abs(numbers).max()
    ratio, share = seconds / our_seconds, our_mb / mb
    print(
        f"{name}: ours {our_seconds:.2f} s, {our_mb:,.0f} MB; public {seconds:.1f} s, "
        f"{mb:,.0f} MB; {ratio:.1f} times as fast (target: {target}), {share:.2f} of the memory; "
        f"largest gap {gap:.1e}",
        flush=True,
    )
    return ratio >= target and gap < (1e-9 if name == "recall" else 1e-5)


def show_growth(width: int) -> None:
    """Print time and memory of our recall over five sizes."""
    print(f"recall of maps x {width}, ours\ngenes    pairs   seconds  ns/pair    peak MB")
    for count in GROWTH:
        seconds, mb, _ = run_alone(our_recall, count, width)
        pairs = count * (count - 1) / 2
        each = 1e9 * seconds / pairs
        print(f"{count:7,} {pairs / 1e6:7,.0f} M {seconds:8.1f} {each:9.1f} {mb:9,.0f}", flush=True)


def main() -> None:
    """Run the comparisons; the exit code is 0 if all targets were met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--growth", action="store_true", help="our recall over five sizes")
    parser.add_argument("--width", type=int, default=384, help="features of the growing maps")
    parser.add_argument("--only", choices=sorted(TARGETS), help="one comparison")
    given = parser.parse_args()
    if given.growth:
        show_growth(given.width)
        return
    sides = {
        "recall": (our_recall, their_recall, GENES, GENE_FEATURES),
        "tvn": (our_tvn, their_tvn),
    }
    met = [compare(name, *side) for name, side in sides.items() if given.only in (None, name)]
    sys.exit(not all(met))


if __name__ == "__main__":
    main()
