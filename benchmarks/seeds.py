"""Recall of several screens with their own trainings, and differences of maps, over seeds.

    python benchmarks/seeds.py FOLDER FOLDER ... [--kind relation]

Each FOLDER is one of `python demo.py FOLDER --seed N --rivals`. Prints a table of recall at the
lowest and highest 5 % of all maps, by seed and as a mean, then the mean differences of the trained
maps from others with their 95 % bootstrap intervals: seeds are drawn with replacement, and for
each drawn seed genes anew (phenomae's own bootstrap, the same draws for all maps).
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from phenomae.evaluation.recall.bootstrap import interval
from phenomae.maps.read import read_map
from phenomae.studies.scaling import measure_recalls

_RESAMPLES = 2000
# What is trained, and the maps of the same pooling and turns beside which it stands.
_COMPARED = (
    (
        "trained",
        ("random-network", "random-layer", "spectra", "count", "trained-classifier-as-long"),
    ),
    ("trained-spread", ("random-network-spread", "spectra")),
    ("trained-turns", ("random-network-turns", "random-layer-turns", "spectra")),
    ("trained-turns-spread", ("random-network-turns-spread", "random-layer-turns", "spectra")),
)


def find_pairs(folder: Path, names: list[str], kind: str | None) -> np.ndarray:
    """Return the planted pairs (pairs, 2) as rows of a map; of one kind, or all."""
    end = "" if kind is None else f"_{kind}"
    table = pl.read_csv(folder / "raw" / f"relationships{end}.csv")
    row_of = {name: row for row, name in enumerate(names)}
    return np.array([[row_of[first], row_of[second]] for first, second, *_ in table.iter_rows()])


def mark_found(features: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return whether the cosine of each pair is in the lowest or highest 5 % of all pairs."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    low, high = np.quantile(cosines[np.triu_indices(len(unit), 1)], (0.05, 0.95))
    known = cosines[pairs[:, 0], pairs[:, 1]]
    return (known <= low) | (known >= high)


def find(folder: Path, maps: list[str], kind: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the planted pairs (pairs, 2), and whether each map has found them (pairs, maps)."""
    profiles = [read_map(folder / f"map-{name}.h5ad") for name in maps]
    pairs = find_pairs(folder, list(profiles[0].names), kind)
    assert all(list(map_.names) == list(profiles[0].names) for map_ in profiles)
    return pairs, np.column_stack([mark_found(map_.features, pairs) for map_ in profiles])


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--kind", choices=("morphology", "intensity", "relation"))
    given = parser.parse_args()
    maps = sorted(
        set.intersection(
            *(
                {path.stem.removeprefix("map-") for path in folder.glob("map-*.h5ad")}
                for folder in given.folders
            )
        )
    )
    pairs, found = zip(*(find(folder, maps, given.kind) for folder in given.folders), strict=True)
    measured = measure_recalls(maps, list(found), list(pairs), _RESAMPLES, seed=0)
    recalls, drawn = measured.by_screen, measured.drawn
    print(f"| map | {' | '.join(str(folder) for folder in given.folders)} | mean | 95 % |")
    print("|---|" + "---|" * (len(given.folders) + 2))
    for place, name in enumerate(maps):
        low, high = interval(drawn[:, place])
        numbers = " | ".join(f"{recall:.3f}" for recall in recalls[:, place])
        print(f"| {name} | {numbers} | {recalls[:, place].mean():.3f} | {low:.3f} to {high:.3f} |")
    print("\n| trained | minus | difference | 95 % | ratio |")
    print("|---|---|---|---|---|")
    for trained, others in _COMPARED:
        for other in others:
            if trained in maps and other in maps:
                one, two = maps.index(trained), maps.index(other)
                means = recalls.mean(axis=0)
                low, high = interval(drawn[:, one] - drawn[:, two])
                print(
                    f"| {trained} | {other} | {means[one] - means[two]:+.3f} | "
                    f"{low:+.3f} to {high:+.3f} | {means[one] / means[two]:.2f} |"
                )


if __name__ == "__main__":
    main()
