"""Fields of names and of controls: chosen as documented, and drawn from the pixels of the store."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances

from phenomae.evaluation.neighbors.well_effects import MapWells
from phenomae.evaluation.tier_wells import read_wells_of_map
from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import read_map
from phenomae.reporting.evidence.cells import Cells, find_cells
from phenomae.store.display import compose, store_colors
from phenomae.store.read import open_store, read_field, windows
from phenomae.wells import read_wells, write_wells


@pytest.fixture(scope="module")
def cells(imaged) -> Cells:
    profiles = read_map(imaged.map)
    wells = MapWells.read(read_wells_of_map(imaged.corrected, imaged.map, profiles.names, ()))
    return find_cells(imaged.map, profiles, open_store(imaged.store), wells)


def place(store, field: int) -> tuple[str, str, int]:
    return store.fields.select("plate", "well", "site").row(field)


def test_wells_of_a_name_are_in_the_order_of_their_cosines(imaged, cells):
    profiles, wells = read_map(imaged.map), read_wells(imaged.corrected)
    genes = wells.table["gene"].to_list()
    for row, name in enumerate(profiles.names):
        own = [number for number, gene in enumerate(genes) if gene == name]
        cosines = cosine_similarity(wells.features[own], profiles.features[[row]]).ravel()
        order = [own[number] for number in np.argsort(-cosines)]
        wanted = wells.table[order].select("plate", "well").rows()
        shown = [place(cells.store, beside.field) for beside in cells.of(name, 10)]
        assert [where[:2] for where in shown] == wanted
        assert {site for _, _, site in shown} == {1}
    assert cells.of(profiles.names[0]) == cells.of(profiles.names[0], 10)[:1]
    assert cells.of("no such gene") == []


def test_a_control_is_that_nearest_to_the_mean_of_its_plate(imaged, cells):
    wells = read_wells(imaged.corrected)
    for beside in cells.of("G003", 10):
        plate, _, _ = place(cells.store, beside.field)
        own = wells.table["control"] & (wells.table["plate"] == plate)
        features = wells.features[own.to_numpy()].astype(np.float64)
        nearest = euclidean_distances(features, [features.mean(axis=0)]).ravel().argmin()
        wanted = (plate, wells.table.filter(own)["well"][int(nearest)], 1)
        assert beside.control is not None
        assert place(cells.store, beside.control) == wanted


def test_a_control_is_beside_another_control(imaged, tmp_path):
    settings = MapSettings(by="gene", controls=True)
    map_wells(imaged.corrected, tmp_path / "map.h5ad", settings=settings)
    profiles = read_map(tmp_path / "map.h5ad")
    of_map = read_wells_of_map(imaged.corrected, tmp_path / "map.h5ad", profiles.names, ())
    store = open_store(imaged.store)
    found = find_cells(tmp_path / "map.h5ad", profiles, store, MapWells.read(of_map))
    [name] = set(profiles.names) - {f"G{number:03d}" for number in range(1, 13)}
    for beside in found.of(name, 16):
        control = place(store, beside.control)
        assert control[0] == place(store, beside.field)[0]
        assert control[1] != place(store, beside.field)[1]
        assert store.fields["control"][beside.control]


def test_without_wells_they_are_in_the_order_of_the_store(imaged):
    store = open_store(imaged.store)
    found = find_cells(imaged.map, read_map(imaged.map), store)
    fields = store.fields.with_row_index("field").filter(pl.col("site") == 1)
    own = fields.filter(pl.col("gene") == "G005")
    assert [beside.field for beside in found.of("G005", 10)] == own["field"].to_list()
    for beside in found.of("G005", 10):
        plate = store.fields["plate"][beside.field]
        controls = fields.filter(pl.col("plate") == plate, pl.col("control"))
        assert beside.control == controls["field"][0]


def test_a_plate_without_controls_has_none_beside(imaged):
    store = open_store(imaged.store)
    bare = dataclasses.replace(store, fields=store.fields.with_columns(control=pl.lit(False)))
    found = find_cells(imaged.map, read_map(imaged.map), bare)
    assert [beside.control for beside in found.of("G005")] == [None]
    assert found.controls("B1P1").is_empty()


def test_the_picture_is_the_center_of_the_field(cells):
    [beside] = cells.of("G001")
    store, field = cells.store, beside.field
    colors, window = store_colors(store), windows(store, [field])[0]
    whole = compose(read_field(store, field), window, colors)
    assert whole.shape == (64, 64, 3)
    np.testing.assert_array_equal(cells.draw(field, 20), whole[22:42, 22:42])
    np.testing.assert_array_equal(cells.draw(field, 500), whole)
    # A control of the same plate is drawn through the same windows.
    np.testing.assert_array_equal(windows(store, [beside.control])[0], window)
    plate, well, site = place(store, field)
    assert cells.describe(field) == f"{plate} {well}, site {site}"


def test_a_store_of_another_screen_is_refused(imaged, tmp_path):
    table = pl.DataFrame(
        {
            "plate": ["X"] * 4,
            "well": ["A01", "A02", "A03", "A04"],
            "gene": ["one", "two", "three", "four"],
            "control": [False] * 4,
            "x": [1.0, 2.0, 3.0, 4.0],
            "y": [0.5, -1.0, 2.0, 7.0],
        }
    )
    write_wells(tmp_path / "wells", table, ["x", "y"])
    path = tmp_path / "map.h5ad"
    map_wells(tmp_path / "wells", path, settings=MapSettings(through="wells"))
    profiles, store = read_map(path), open_store(imaged.store)
    wells = MapWells.read(read_wells_of_map(tmp_path / "wells", path, profiles.names, ()))
    for given in (None, wells):
        with pytest.raises(ValueError, match=r"store has no field of a row of .*is it another scr"):
            find_cells(path, profiles, store, given)
