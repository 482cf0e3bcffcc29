"""Plates by row and column: means of the table of fields, and distances by their formula."""

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import cdist

from phenomae.records import WELL_COLUMNS
from phenomae.reporting.evidence.plate_views import distances_to_controls, view_plates
from phenomae.store.colors import find_dna_channel
from phenomae.store.read import open_store
from phenomae.wells import Profiles, read_wells


def test_distances_are_those_of_the_formula(imaged):
    profiles = read_wells(imaged.corrected)
    found = distances_to_controls(profiles).to_numpy()
    features = profiles.features.astype(np.float64)
    plates, control = profiles.table["plate"].to_numpy(), profiles.table["control"].to_numpy()
    for plate in np.unique(plates):
        own = np.flatnonzero((plates == plate) & control)
        rest = [cdist(features[[one]], [features[np.setdiff1d(own, one)].mean(0)]) for one in own]
        np.testing.assert_allclose(found[own], np.ravel(rest) / np.median(rest), rtol=1e-9)
        others = np.flatnonzero((plates == plate) & ~control)
        away = cdist(features[others], [features[own].mean(0)]).ravel()
        np.testing.assert_allclose(found[others], away / np.median(rest), rtol=1e-9)
        assert np.median(found[own]) == pytest.approx(1)


def make_profiles(control: list[bool], features: np.ndarray) -> Profiles:
    count = len(control)
    table = pl.DataFrame(
        {
            "plate": ["P"] * count,
            "well": [f"A{n + 1:02d}" for n in range(count)],
            "control": control,
        }
    )
    missing = [pl.lit(None, kind).alias(name) for name, kind in WELL_COLUMNS.items()]
    empty = [column for column in missing if column.meta.output_name() not in table.columns]
    return Profiles(table.with_columns(empty).select(list(WELL_COLUMNS)), features, "0" * 32)


@pytest.mark.parametrize("control", [[True, False, False], [False, False, False]])
def test_distances_need_two_controls(control):
    profiles = make_profiles(control, np.eye(3, dtype=np.float32))
    assert distances_to_controls(profiles).null_count() == 3
    views = view_plates(profiles)
    assert np.isnan(views.grid("P", "distance")).all()
    assert views.summary()["distance"].to_list() == [None]


def test_controls_that_are_all_alike_are_no_unit():
    features = np.array([[1, 2], [1, 2], [5, 6]], dtype=np.float32)
    assert distances_to_controls(make_profiles([True, True, False], features)).null_count() == 3


def test_measures_are_means_of_the_fields(imaged):
    store = open_store(imaged.store)
    views = view_plates(read_wells(imaged.corrected), store)
    assert views.counted == "bright pixels of DNA"
    assert views.plates == ["B1P1", "B2P1"]
    dna = store.channels.index("DNA")
    for plate in views.plates:
        grids = {name: views.grid(plate, name) for name in ("foreground", "focus")}
        assert grids["focus"].shape == (16, 24)
        fields = store.fields.filter(pl.col("plate") == plate)
        for (well,), part in fields.partition_by("well", as_dict=True).items():
            place = "ABCDEFGHIJKLMNOP".index(well[0]), int(well[1:]) - 1
            light = np.mean([each[dna] for each in part["channel_foreground"]])
            assert grids["foreground"][place] == pytest.approx(light)
            assert grids["focus"][place] == pytest.approx(part["focus"].mean())
            assert views.controls(plate)[place] == part["control"][0]
        assert np.isfinite(grids["focus"]).sum() == fields["well"].n_unique()


def test_without_a_store_measures_are_those_of_the_wells(imaged):
    profiles = read_wells(imaged.corrected)
    views = view_plates(profiles)
    assert views.counted == "bright pixels of the channel that has the most"
    joined = views.wells.join(profiles.table, on=["plate", "well"], suffix="_of_wells")
    assert len(joined) == len(profiles.table)
    for name in ("foreground", "focus"):
        assert joined[name].to_list() == joined[f"{name}_of_wells"].to_list()


def test_the_summary_has_the_medians_of_each_plate(imaged):
    views = view_plates(read_wells(imaged.corrected), open_store(imaged.store))
    for row in views.summary().rows(named=True):
        part = views.wells.filter(pl.col("plate") == row["plate"])
        assert row["wells"] == len(part) == 32
        assert row["controls"] == part["control"].sum() == 8
        assert row["focus"] == pytest.approx(np.median(part["focus"]))
        assert row["foreground"] == pytest.approx(np.median(part["foreground"]))
        treated = part.filter(~pl.col("control"))
        assert row["distance"] == pytest.approx(np.median(treated["distance"]))


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        (["ER", "DNA", "Mito"], 1),
        (["w1_Hoechst 33342", "GFP"], 0),
        (["DAPI", "nuclei"], None),
        (["Actin"], None),
        ([], None),
    ],
)
def test_the_channel_of_dna_is_known_by_its_name(channels, found):
    assert find_dna_channel(channels) == found
