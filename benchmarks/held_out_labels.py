"""What labels of guides teach a network about genes whose labels it has not seen.

    python benchmarks/held_out_labels.py FOLDER --folds 5 [settings of pretrain]

FOLDER is one of `python demo.py FOLDER --seed N`. Five networks learn from pairs of wells besides
energies; each leaves out a fifth of the complexes, whole, so that every gene is left out once.
Prints the recall of pairs that were left out and of the others (their mean over four networks),
beside the demo's trained network and the network at random, and the differences with 95 % bootstrap
intervals over genes, the same genes for all maps. Everything in FOLDER is kept and not made again.
"""

import argparse
import shlex
import sys
from pathlib import Path

import numpy as np
import polars as pl
from seeds import mark_found

from phenomae import cli
from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.maps.read import read_map

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "src/phenomae/recipes/demo-energy-mae.toml"
CORRECTION = "pca-center-scale(components=64)"
RESAMPLES = 2000


def run(command: str) -> None:
    """Run one command line, or stop with its exit code."""
    print(f"phenomae {command}", file=sys.stderr, flush=True)
    if code := cli.run(shlex.split(command)):
        sys.exit(code)


def make_map(folder: Path, name: str, genes: list[str], more: str) -> Path:
    """Train without the pairs of `genes` and return the map of all genes."""
    at, config = shlex.quote(str(folder)), shlex.quote(str(RECIPE))
    listed = ", ".join(f"'{gene}'" for gene in genes)
    where = shlex.quote(f"gene NOT IN ({listed})")
    run(
        f"pretrain energy-mae {at}/store {at}/run-{name} --config {config} --pair-by guide "
        f"--pair-where {where} {more}"
    )
    run(f"embed {at}/store {at}/run-{name} {at}/wells-{name} --config {config}")
    run(f'correct {at}/wells-{name} {at}/corrected-{name} --method "{CORRECTION}" --batch plate')
    run(f"map {at}/corrected-{name} {at}/map-{name}.h5ad --by gene")
    return folder / f"map-{name}.h5ad"


def main() -> None:
    """Train, and print the two tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--name", default="labels", help="name of the networks in FOLDER")
    parser.add_argument("--pair-weight", type=float, default=3.0, help="more than 0")
    given, more = parser.parse_known_args()
    if given.pair_weight <= 0:
        parser.error("without pairs nothing is learned from labels: --pair-weight must be above 0")
    more += ["--pair-weight", str(given.pair_weight)]
    folder = given.folder
    planted = pl.read_csv(folder / "raw" / "relationships.csv")
    names = list(read_map(folder / "map-trained.h5ad").names)
    row_of = {name: row for row, name in enumerate(names)}
    pairs = np.array([[row_of[one], row_of[two]] for one, two, _ in planted.iter_rows()])
    complexes = planted["complex"].unique().sort().to_list()
    fold_of_complex = {name: number % given.folds for number, name in enumerate(complexes)}
    fold_of = np.array([fold_of_complex[name] for name in planted["complex"]])
    found = []
    for fold in range(given.folds):
        inside = planted.filter(pl.Series(fold_of == fold))
        genes = sorted({*inside["entity1"], *inside["entity2"]})
        path = make_map(folder, f"{given.name}-{fold}", genes, shlex.join(more))
        found.append(mark_found(read_map(path).features, pairs))
    of_folds = np.stack(found)
    left_out = of_folds[fold_of, np.arange(len(pairs))]
    maps = ["trained", "random-network"]
    others = np.stack(
        [mark_found(read_map(folder / f"map-{name}.h5ad").features, pairs) for name in maps]
    )
    # A pair is among the others in all networks but one; marks are of single networks, as
    # `resampled_recalls` takes booleans.
    columns = np.column_stack([left_out, *others, *of_folds])
    is_other = np.column_stack([fold_of != fold for fold in range(given.folds)])
    counted = np.column_stack([np.ones((len(pairs), 1 + len(maps)), dtype=bool), is_other])
    drawn = resampled_recalls(columns & counted, pairs, RESAMPLES, 0, counted)
    recalls = (columns & counted).sum(axis=0) / counted.sum(axis=0)
    first = 1 + len(maps)
    table = {
        "labels, left out": (recalls[0], drawn[:, 0]),
        "labels, the others": (recalls[first:].mean(), drawn[:, first:].mean(axis=1)),
        **{name: (recalls[1 + k], drawn[:, 1 + k]) for k, name in enumerate(maps)},
    }
    for name, (value, its) in table.items():
        low, high = interval(its)
        print(f"| {name} | {value:.3f} ({low:.3f} to {high:.3f}) |")
    for name in maps:
        for kind in ("labels, left out", "labels, the others"):
            low, high = interval(table[kind][1] - table[name][1])
            gain = table[kind][0] - table[name][0]
            print(f"| {kind} minus {name} | {gain:+.3f} ({low:+.3f} to {high:+.3f}) |")


if __name__ == "__main__":
    main()
