"""Small parts of the page: plates of rows, missed pairs, chosen plates, medians in words."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.neighbors import NearestNeighbors

from phenomae.evaluation.known_pairs import MapPairs
from phenomae.evaluation.tier_wells import WellsOfMap, read_wells_of_map
from phenomae.maps.read import read_map
from phenomae.maps.unit_vectors import unit_rows
from phenomae.reporting.evidence.plate_groups import group_by_plates
from phenomae.reporting.evidence.plate_views import PlateViews
from phenomae.reporting.sections.known_pairs import list_missed
from phenomae.reporting.sections.plates import choose_plates
from phenomae.reporting.words import spread


def of_map(imaged, genes: list[int], plates: list[str]) -> WellsOfMap:
    """Return wells of a map with other plates, one well for each of `genes`."""
    found = read_wells_of_map(imaged.corrected, imaged.map, read_map(imaged.map).names, ())
    table = found.files.table.head(len(genes)).with_columns(plate=pl.Series(plates))
    files = dataclasses.replace(found.files, table=table)
    kept = np.ones(len(genes), dtype=bool)
    rows = max(genes) + 1
    return WellsOfMap(Path("wells"), files, np.array(genes), rows, kept)


def test_rows_are_grouped_by_their_set_of_plates(imaged):
    wells = of_map(
        imaged, [0, 0, 1, 1, 2, 2, 3, -1], ["P2", "P1", "P1", "P2", "P3", "P3", "P1", "P9"]
    )
    found = group_by_plates(wells, unit_rows(np.random.default_rng(0).normal(size=(4, 3))))
    assert found is not None
    assert found.are_sets
    assert found.labels == ["P1 + P2", "P1 + P2", "P3", "P1"]


def test_rows_on_the_same_plates_have_no_groups(imaged):
    wells = of_map(imaged, [0, 0, 1, 1], ["P1", "P2", "P2", "P1"])
    assert group_by_plates(wells, unit_rows(np.ones((2, 3)))) is None


def test_with_many_sets_the_plate_with_most_wells_decides(imaged):
    # Each row has two wells on a plate of its own kind, and one on one of 24 others.
    rows = np.repeat(np.arange(21), 3).tolist()
    plates = [name for row in range(21) for name in (f"P{row % 2}", f"P{row % 2}", f"Q{row:02d}")]
    unit = unit_rows(np.random.default_rng(1).normal(size=(21, 4)))
    found = group_by_plates(of_map(imaged, rows, plates), unit)
    assert found is not None
    assert not found.are_sets
    assert found.labels == [f"P{row % 2}" for row in range(21)]
    judge = NearestNeighbors(n_neighbors=5, metric="cosine").fit(unit)
    votes = np.array(found.labels)[judge.kneighbors(return_distance=False)]
    wanted = [(row == "P1").sum() > 2 for row in votes]
    right = np.mean(
        [("P1" if one else "P0") == own for one, own in zip(wanted, found.labels, strict=True)]
    )
    assert found.predicted.accuracy == pytest.approx(right)


def test_missed_pairs_come_first_whose_names_have_found_pairs():
    rows = [("A", "B", True), ("A", "C", True), ("B", "C", True), ("A", "D", False)]
    rows += [("D", "E", True), ("C", "D", False), ("E", "F", False), ("B", "E", False)]
    known = pl.DataFrame(rows, schema=["entity1", "entity2", "found"], orient="row")
    pairs = MapPairs(known.with_columns(source=pl.lit("s")), pl.DataFrame(), (0.05, 0.95))
    # Found pairs: A 2, B 2, C 2, D 1, E 1, F none.
    assert list_missed(pairs, "s") == ["A–D", "B–E", "C–D"]
    assert list_missed(pairs, "s", 1) == ["A–D"]
    assert list_missed(pairs, "another") == []


def test_of_many_plates_those_that_are_unlike_the_others_are_shown():
    rng = np.random.default_rng(0)
    wells = pl.DataFrame(
        {
            "plate": [f"P{plate:02d}" for plate in range(30) for _ in range(10)],
            "well": [f"A{well + 1:02d}" for _ in range(30) for well in range(10)],
            "row": [0] * 300,
            "column": list(range(10)) * 30,
            "control": [False] * 300,
            "foreground": rng.normal(1, 0.01, 300),
            "focus": rng.normal(1, 0.01, 300),
            "distance": rng.normal(1, 0.01, 300),
        }
    )
    odd = {"P03": "foreground", "P17": "focus", "P29": "distance"}
    for plate, measure in odd.items():
        here = pl.when(pl.col("plate") == plate)
        wells = wells.with_columns(here.then(pl.col(measure) + 5).otherwise(measure).alias(measure))
    views = PlateViews(wells, "bright pixels")
    assert choose_plates(views, 3) == [*odd]
    assert choose_plates(views, 30) == views.plates
    assert len(choose_plates(views)) == 12
    unknown = PlateViews(wells.with_columns(focus=pl.lit(None, pl.Float64)), "bright pixels")
    assert choose_plates(unknown, 2) == ["P03", "P29"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([6], "6"),
        ([4, 6, 8], "6 (4 to 8)"),
        ([1, 2], "1.5 (1 to 2)"),
        ([1000, 3000, 3000], "3,000 (1,000 to 3,000)"),
    ],
)
def test_a_spread_is_the_median_and_the_range(values, words):
    assert spread(pl.Series(values)) == words
