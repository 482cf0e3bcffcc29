"""The command `simulate`: the same bytes each time, in the layout that `ingest` reads."""

import csv
import os
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

from phenomae.cli import run
from phenomae.simulation.design import FieldPlace, design_plates
from phenomae.simulation.simulate import (
    SimulatedPlates,
    SimulateSettings,
    draw_field,
    simulate,
)
from phenomae.store.ingest import ingest
from phenomae.store.read import open_store, read_field

CHANNELS = ["DNA", "RNA", "ER", "Actin", "Golgi", "Mito"]


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def flags(settings: SimulateSettings) -> list[str]:
    return [
        word
        for name, value in asdict(settings).items()
        if value is not None  # not given: the level's
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]


def test_one_process_or_several_give_the_same_bytes(screen, small, tmp_path, monkeypatch):
    monkeypatch.setattr("phenomae.simulation.simulate._SMALL", 0)  # or else it starts no workers
    simulate(tmp_path / "screen", settings=small)
    assert contents(tmp_path / "screen") == contents(screen)


def test_another_seed_gives_other_pixels_everywhere_and_another_layout(screen, small, tmp_path):
    simulate(tmp_path / "other", settings=replace(small, seed=1))
    first, second = contents(screen), contents(tmp_path / "other")
    fields = pl.read_csv(screen / "load_data.csv").select("Metadata_Plate", "Metadata_Well")
    others = pl.read_csv(tmp_path / "other/load_data.csv").select(fields.columns)
    assert not fields.equals(others)
    images = {name for name in first.keys() & second.keys() if name.endswith(".tiff")}
    assert images
    assert not [name for name in images if first[name] == second[name]]


def test_the_files_are_those_of_the_load_data_csv_and_no_others(screen):
    table = pl.read_csv(screen / "load_data.csv")
    assert table.columns == [
        *(f"FileName_Orig{name}" for name in CHANNELS),
        *(f"PathName_Orig{name}" for name in CHANNELS),
        *("Metadata_Plate", "Metadata_Well", "Metadata_Site"),
    ]
    assert len(table) == 20 * 2
    named = {
        Path(row[f"PathName_Orig{name}"]) / row[f"FileName_Orig{name}"]
        for row in table.iter_rows(named=True)
        for name in CHANNELS
    }
    assert len(named) == 40 * 6
    tables = {"load_data.csv", "plate_map.csv", "relationships.csv", "artefact.json"}
    assert set(contents(screen)) == {str(path) for path in named} | tables
    for path in named:
        image = tifffile.imread(screen / path)
        assert (image.shape, image.dtype) == ((64, 64), np.uint16)


def test_the_tables_are_those_of_the_design(screen, small):
    design = design_plates(0, 4, 2, 2, 2, 2, small.effect)
    plate_map = pl.read_csv(screen / "plate_map.csv")
    assert plate_map.columns == ["plate", "well", "batch", "gene", "guide", "control"]
    assert plate_map.schema["control"] == pl.Boolean()
    assert plate_map.equals(design.plate_map)
    planted = pl.read_csv(screen / "relationships.csv")
    assert planted.columns == ["entity1", "entity2", "complex"]
    assert planted.equals(design.relationships)


def test_a_field_does_not_depend_on_those_drawn_before_it(screen, small):
    design = design_plates(0, 4, 2, 2, 2, 2, small.effect)
    plates = design.plate_map["plate"].unique().sort().to_list()
    for row in (design.plate_map.row(13, named=True), design.plate_map.row(2, named=True)):
        plate, batch = plates.index(row["plate"]), int(row["batch"][1:]) - 1
        field = draw_field(
            design, small, FieldPlace(plate, batch, row["well"], row["guide"], site=2)
        )
        folder = screen / "images" / row["plate"]
        written = [tifffile.imread(folder / f"{row['well']}_s2_{name}.tiff") for name in CHANNELS]
        np.testing.assert_array_equal(field, np.stack(written))
        sites = [tifffile.imread(folder / f"{row['well']}_s{site}_DNA.tiff") for site in (1, 2)]
        assert not np.array_equal(*sites)


def test_ingest_reads_it(screen, tmp_path):
    ingest(screen, tmp_path / "store")
    store = open_store(tmp_path / "store")
    assert store.channels == tuple(CHANNELS)
    assert (store.dtype, len(store.fields)) == ("uint16", 40)
    plate_map = pl.read_csv(screen / "plate_map.csv")
    columns = ["plate", "well", "batch", "gene", "guide", "control"]
    assert store.fields.select(columns).unique().sort("plate", "well").equals(plate_map)
    row = store.fields.row(7, named=True)
    folder = screen / "images" / row["plate"]
    for channel, image in zip(CHANNELS, read_field(store, 7), strict=True):
        path = folder / f"{row['well']}_s{row['site']}_{channel}.tiff"
        np.testing.assert_array_equal(image, tifffile.imread(path))


def test_the_same_screen_is_made_once(screen, small, capsys):
    made = {path: path.stat().st_mtime_ns for path in screen.rglob("*")}
    simulate(screen, settings=small)
    assert "already there" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"another setting: effect = .*, now 0\.5"):
        simulate(screen, settings=replace(small, effect=0.5))
    assert {path: path.stat().st_mtime_ns for path in screen.rglob("*")} == made


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("genes", 1, "genes must be at least 2, not 1"),
        ("complexes", 0, "complexes must be from 1 to the number of genes, 4, not 0"),
        ("guides", 0, "guides must be at least 1, not 0"),
        ("batches", 0, "batches must be at least 1, not 0"),
        ("controls", -1, "controls must be from 0 to 383, not -1"),
        ("sites", 0, "sites must be at least 1, not 0"),
        ("complexes", 5, "complexes must be from 1 to the number of genes, 4, not 5"),
        ("controls", 384, "controls must be from 0 to 383, not 384"),
        ("field_size", 60, "field_size must be a multiple of 4, at least 64, not 60"),
        ("field_size", 66, "field_size must be a multiple of 4, at least 64, not 66"),
        ("effect", -0.1, "effect must be at least 0, not -0.1"),
        ("nuisance", -0.1, "nuisance must be at least 0, not -0.1"),
        ("spread", -0.1, "spread must be at least 0, not -0.1"),
        ("effect", float("nan"), "effect must be at least 0, not nan"),
        ("cells", 0.0, "cells must be above 0, not 0.0"),
        ("seed", -1, "seed must be at least 0, not -1"),
        ("level", "soft", "level must be one of easy, real, hard, not soft"),
        ("photons", 0.0, "photons must be above 0, not 0.0"),
        ("blur", 0.0, "blur must be above 0, not 0.0"),
        ("layout", -0.1, "layout must be at least 0, not -0.1"),
        ("penetrance", 1.1, "penetrance must be from 0 to 1, not 1.1"),
    ],
)
def test_settings_that_make_no_screen(small, tmp_path, capsys, setting, value, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        replace(small, **{setting: value})
    command = ["simulate", str(tmp_path / "out"), *flags(small)]
    flag = f"--{setting.replace('_', '-')}"
    if flag in command:
        command[command.index(flag) + 1] = str(value)
    else:
        command += [flag, str(value)]
    assert run(command) == 1
    said = capsys.readouterr().err
    assert said == f"phenomae: {flag}{sentence.removeprefix(setting)}\n"
    assert not list(tmp_path.iterdir())


def test_simulate_returns_what_it_made(screen, small):
    plates = simulate(str(screen), settings=small)
    assert isinstance(plates, SimulatedPlates)
    assert os.fspath(plates) == str(screen)
    assert repr(plates) == f"SimulatedPlates({str(screen)!r})"
    with open(screen / "plate_map.csv") as file:
        assert [str(value) for value in plates.to_polars().row(3)] == [
            value if value not in ("true", "false") else value.title()
            for value in list(csv.reader(file))[4]
        ]
    with open(screen / "relationships.csv") as file:
        assert plates.relationships.rows() == [tuple(row) for row in list(csv.reader(file))[1:]]
