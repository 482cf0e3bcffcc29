"""Which wells and crops a recall is measured on."""

import numpy as np
import polars as pl
import pytest

from phenomae.crops.tiles import tile_field
from phenomae.embedding.plates import Plate
from phenomae.probes.choose import choose_wells, spread, thin


def screen(plates: int = 2, genes: int = 20, guides: int = 2, controls: int = 10) -> pl.DataFrame:
    """Return fields of a screen that has every guide and all controls once on every plate."""
    rows = []
    for plate in range(plates):
        treated = [
            (f"G{gene:02d}", f"g{guide}") for guide in range(guides) for gene in range(genes)
        ]
        for number, (name, guide) in enumerate([*treated, *[(None, None)] * controls]):
            for _ in range(2):
                rows.append((0, f"P{plate:02d}", f"W{number}", name, guide, name is None))
    columns = ["store", "plate", "well", "name", "guide", "control"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def test_a_small_screen_is_taken_whole() -> None:
    chosen = choose_wells(screen(), 100, ())
    assert len(chosen.wells) == 100
    assert chosen.by_plate


@pytest.mark.parametrize("most", [16, 30, 60, 99])
def test_genes_come_before_their_repeats_and_plates_have_controls(most: int) -> None:
    chosen = choose_wells(screen(), most, ()).wells
    assert len(chosen) <= most
    treated = chosen.filter(~pl.col("control"))
    assert treated["name"].n_unique() == min(20, len(treated))
    assert len(treated) >= most - most // 4 - 1
    counts = treated["name"].value_counts()["count"]
    assert counts.max() - counts.min() <= 1  # pyright: ignore
    pairs = treated.select("name", "guide").n_unique()
    assert pairs == min(40, len(treated))  # guides before repeats of guides
    controls = chosen.filter("control").group_by("plate").len()
    assert set(controls["plate"]) == set(treated["plate"])
    assert controls["len"].min() >= 4  # pyright: ignore


def test_annotated_genes_come_first() -> None:
    wanted = ["G03", "G11", "G17"]
    chosen = choose_wells(screen(), 16, wanted).wells
    assert len(chosen) == 16
    assert set(wanted) < set(chosen["name"].drop_nulls())
    assert choose_wells(screen(), 16, wanted).wells.equals(chosen)


def test_of_many_plates_some_are_taken() -> None:
    chosen = choose_wells(screen(plates=50), 80, ()).wells
    assert len(chosen) <= 80
    assert chosen["plate"].n_unique() <= 3
    assert chosen.filter("control")["plate"].value_counts()["count"].min() >= 6  # pyright: ignore
    assert chosen["name"].drop_nulls().n_unique() == 20


def test_wells_without_a_gene_are_left_out() -> None:
    fields = screen().with_columns(name=pl.when(pl.col("name") != "G00").then("name"))
    chosen = choose_wells(fields, 100, ()).wells
    assert len(chosen) == 96
    assert len(chosen.filter("control")) == 20


def test_plates_without_controls_are_left_out() -> None:
    fields = screen(plates=3).filter(~pl.col("control") | (pl.col("plate") != "P01"))
    chosen = choose_wells(fields, 1000, ())
    assert chosen.by_plate
    assert chosen.wells["plate"].unique().sort().to_list() == ["P00", "P02"]


def test_where_no_plate_has_two_controls_all_are_one() -> None:
    chosen = choose_wells(screen(plates=4, controls=1), 1000, ())
    assert not chosen.by_plate
    assert len(chosen.wells.filter("control")) == 4
    few = choose_wells(screen(plates=4, controls=1), 16, ())
    assert not few.by_plate
    assert len(few.wells.filter("control")) == 4


def test_crops_are_spread_over_a_wells_fields() -> None:
    tiles = [tile_field(64, 64, 16)] * 4
    fields = np.array([0, 1, 2, 3])
    plate = Plate("P1", pl.DataFrame({"well": ["A", "B"]}), fields, np.array([0, 0, 1, 1]))
    every = thin(plate, tiles, 99)
    assert [every[field].tops for field in range(4)] == [tiles[0].tops] * 4
    some = thin(plate, tiles, 3)
    assert [len(some[field].tops) for field in range(4)] == [1, 2, 1, 2]
    assert set(zip(some[0].tops, some[0].lefts, strict=True)) < set(
        zip(tiles[0].tops, tiles[0].lefts, strict=True)
    )


@pytest.mark.parametrize(
    ("count", "most", "numbers"),
    [(5, 9, [0, 1, 2, 3, 4]), (9, 3, [1, 4, 7]), (5, 1, [2]), (0, 4, [])],
)
def test_what_is_spread(count: int, most: int, numbers: list[int]) -> None:
    assert spread(count, most).tolist() == numbers
