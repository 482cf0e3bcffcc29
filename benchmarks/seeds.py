"""Recall of several screens with their own trainings, and differences of maps, over seeds.

    python benchmarks/seeds.py FOLDER FOLDER ... [--kind relation]

Each FOLDER is one of `python demo.py FOLDER --seed N --rivals`. Prints a table of recall at the
lowest and highest 5 % of all maps, by seed and as a mean, then the mean differences of the trained
maps from others with their 95 % bootstrap intervals: seeds are drawn with replacement, and for
each drawn seed its genes (phenomae's own bootstrap of genes, the same draws for all maps).
"""

import argparse
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl

from phenomae.evaluation.recall.bootstrap import draw_counts, interval, resampled_recalls
from phenomae.maps.read import read_map

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


def measure(
    folder: Path, maps: list[str], kind: str | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the recall of each map (maps,), and of its resamples (resamples, maps)."""
    profiles = [read_map(folder / f"map-{name}.h5ad") for name in maps]
    pairs = find_pairs(folder, list(profiles[0].names), kind)
    assert all(list(map_.names) == list(profiles[0].names) for map_ in profiles)
    found = np.column_stack([mark_found(map_.features, pairs) for map_ in profiles])
    return found.mean(axis=0), resampled_recalls(found, pairs, _RESAMPLES, seed)


def resample_seeds(drawn: np.ndarray) -> np.ndarray:
    """Return means over resampled seeds (resamples, maps) of (seeds, resamples, maps)."""
    # A key of its own, as the genes of seed 0 have the keys [0, number].
    keys = [[len(drawn), number, 1] for number in range(drawn.shape[1])]
    weights = np.stack([draw_counts(len(drawn), key) for key in keys])
    return np.einsum("rs,srm->rm", weights, drawn) / len(drawn)


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
    found = [
        measure(folder, maps, given.kind, seed) for folder, seed in zip(given.folders, count())
    ]
    recalls = np.stack([recall for recall, _ in found])
    drawn = resample_seeds(np.stack([resamples for _, resamples in found]))
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
