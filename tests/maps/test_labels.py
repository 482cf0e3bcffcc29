"""`map --plate-map`: the map that wells with those labels have."""

import hashlib

import numpy as np
import polars as pl
import pytest

from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.maps.map import map_wells
from phenomae.maps.read import read_map, read_record_of_map
from phenomae.maps.settings import MapSettings

BY_COMPOUND = MapSettings(by="compound")


def write_map(path, wells: pl.DataFrame) -> PlateMapSettings:
    wells.write_csv(path)
    return PlateMapSettings(plate_map=path, control_column="kind", control_label="none")


def test_the_map_is_that_of_wells_with_these_labels(make_screen, tmp_path):
    number = pl.int_range(pl.len()) % 5
    compound = pl.when(number > 0).then(pl.format("c{}", number))
    labels = {"compound": compound, "control": number == 0}
    empty = {name: pl.lit(None, pl.String) for name in ("gene", "guide")}
    expected = read_map(
        map_wells(
            make_screen("true", **labels, **empty), tmp_path / "true.h5ad", settings=BY_COMPOUND
        )
    )
    wells = make_screen()
    table = pl.read_parquet(wells / "*.parquet")  # the order of the files
    keys = table.select("plate", pl.col("well").str.to_lowercase())
    kinds = pl.when(number > 0).then(pl.lit("drug")).otherwise(pl.lit("none"))
    settings = write_map(tmp_path / "new.csv", keys.with_columns(compound=compound, kind=kinds))
    found = map_wells(wells, tmp_path / "map.h5ad", settings=BY_COMPOUND, labels=settings)
    made = read_map(found)
    assert made.names == expected.names == ["c1", "c2", "c3", "c4"]
    np.testing.assert_array_equal(made.features, expected.features)
    record = read_record_of_map(tmp_path / "map.h5ad")
    assert record is not None
    assert (
        record["sources"]["plate_map"]
        == hashlib.sha256((tmp_path / "new.csv").read_bytes()).hexdigest()
    )
    with pytest.raises(ValueError, match=r"has no well with a compound"):
        map_wells(wells, tmp_path / "map.h5ad", settings=BY_COMPOUND)


def test_wells_that_do_not_match(make_screen, tmp_path, capsys):
    wells = make_screen()
    some = pl.DataFrame({"plate": ["P1", "P1", "P9"], "well": ["A01", "A02", "A01"]})
    settings = write_map(
        tmp_path / "new.csv",
        some.with_columns(compound=pl.lit("x"), kind=pl.Series(["x", "none", "x"])),
    )
    path = settings.plate_map
    for chosen, sentence in (
        ({}, r"78 problems: plate P1, well A03 has features but is not in the plate map"),
        ({"unmapped": "skip"}, r"plate P9, well A01 is in the plate map but has no features"),
    ):
        labels = PlateMapSettings(plate_map=path, **chosen)
        with pytest.raises(ValueError, match=sentence):
            map_wells(wells, tmp_path / "map.h5ad", settings=BY_COMPOUND, labels=labels)
    labels = PlateMapSettings(
        plate_map=path,
        unmapped="skip",
        unimaged="skip",
        control_column="kind",
        control_label="none",
    )
    made = read_map(map_wells(wells, tmp_path / "m.h5ad", settings=BY_COMPOUND, labels=labels))
    assert made.names == ["x"]
    assert "left out 78 wells that it does not name" in capsys.readouterr().err
