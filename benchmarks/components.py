"""Recall and kNN plate accuracy by number of components, with all or some of a screen's controls.

    python benchmarks/components.py WELLS raw/relationships.csv --controls 96 84 48 24 12
    python benchmarks/components.py WELLS raw/relationships.csv --features 96 --controls 96 24

One row per number of controls kept on each plate (drawn with a fixed seed; the others are neither
used to correct nor scored), method and number of components, which is a number, `auto`, `all` or
`C/2`: half of the controls. Corrections are by plate. docs/log.md has what was decided by it.
"""

import argparse

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.correction import TVN, TVN2024, PcaCenterScale
from phenomae.correction.batch_mixing import predict_labels
from phenomae.correction.principal_axes import Components, count_axes
from phenomae.evaluation.annotations import Annotation, pairs_on_map, read_annotations
from phenomae.evaluation.recall.recall import find_tails
from phenomae.maps.aggregate import aggregate
from phenomae.maps.row_names import name_rows
from phenomae.maps.settings import MapSettings
from phenomae.maps.unit_vectors import unit_rows
from phenomae.wells import Profiles, read_wells

METHODS = (PcaCenterScale, TVN, TVN2024)


def draw_controls(wells: Profiles, kept: int) -> Bool[np.ndarray, " n"]:
    """Return which wells are among the `kept` controls of each plate."""
    rng = np.random.default_rng(0)
    control = wells.table["control"].fill_null(False).to_numpy()
    drawn = np.zeros(len(control), dtype=bool)
    plates = wells.table["plate"].to_numpy()
    for plate in np.unique(plates):
        drawn[rng.permutation(np.flatnonzero((plates == plate) & control))[:kept]] = True
    return drawn


def score(
    wells: Profiles, corrected: Float64[np.ndarray, "n k"], known: Annotation
) -> tuple[float, float]:
    """Return the recall at 5 % + 5 % of a map of genes, and the kNN plate accuracy of its wells."""
    named = name_rows(wells.table, MapSettings())
    on_map = named["name"].is_not_null().to_numpy()
    features = corrected[on_map].astype(np.float32)
    genes = aggregate(named.filter(pl.Series(on_map)), features, through_guides=True)
    pairs = pairs_on_map(known, genes.names)
    tails, cosines = find_tails(unit_rows(genes.features), [(0.05, 0.95)], pairs)
    plates = wells.table["plate"].to_numpy()[on_map].astype(str)
    centred = corrected[on_map] - corrected[~on_map].mean(axis=0)
    return float(tails.recall(cosines)[0]), predict_labels(centred, plates).accuracy


def read_components(word: str, controls: int, width: int) -> Components:
    """Return a number of components that these controls and features can have."""
    if word.startswith("C/"):
        return max(1, min(controls // int(word[2:]), width))
    return min(int(word), width) if word.isdecimal() else word


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("wells")
    parser.add_argument("annotations")
    parser.add_argument("--controls", type=int, nargs="+", default=[96, 48, 24, 12])
    parser.add_argument(
        "--components", nargs="+", default=["32", "64", "128", "C/2", "auto", "all"]
    )
    parser.add_argument("--features", type=int, help="use the first so many features only")
    given = parser.parse_args()
    wells = read_wells(given.wells)
    (known,) = read_annotations(given.annotations)
    features = wells.features[:, : given.features].astype(np.float64)
    plates = wells.table["plate"].to_numpy().astype(str)
    print("features\tcontrols\tmethod\tcomponents\taxes\trecall\tplate_accuracy")
    for kept in given.controls:
        drawn = draw_controls(wells, kept)
        for method in METHODS:
            for word in given.components:
                shape = (int(drawn.sum()), features.shape[1])
                correction = method(components=read_components(word, *shape))
                correction.learn(features[drawn], plates[drawn])
                recall, accuracy = score(wells, correction.apply(features, plates), known)
                axes = min(count_axes(correction.components, *shape), shape[0] - 1)
                cells = (shape[1], shape[0], method.name, word, axes, f"{recall:.3f}")
                print(*cells, f"{accuracy:.3f}", sep="\t", flush=True)


if __name__ == "__main__":
    main()
