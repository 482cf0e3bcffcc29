"""Levels of difficulty: easy as it was, real and hard with what microscopes and cells have."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy._core._multiarray_umath import (  # pyright: ignore
    __cpu_dispatch__,
    __cpu_features__,
)

from phenomae.simulation.camera import _OFFSET, _STAINS, add_photon_noise
from phenomae.simulation.cell_population import draw_population
from phenomae.simulation.design import Design, FieldPlace, design_plates
from phenomae.simulation.effects import Effect
from phenomae.simulation.exposure import FULL_SCALE, Exposure
from phenomae.simulation.levels import EASY, HARD, LEVELS, REAL, Level, LevelSettings
from phenomae.simulation.nuisance import well_nuisance
from phenomae.simulation.optics import blur_field
from phenomae.simulation.phenotype import PARAMETERS
from phenomae.simulation.placement import cell_centres
from phenomae.simulation.seeds import make_generator
from phenomae.simulation.simulate import SimulateSettings, draw_field, simulate
from phenomae.whole_files import hash_json

NOTHING = np.zeros(len(PARAMETERS))


def digest(folder: Path) -> str:
    """Return the SHA-256 of the names and bytes of all files of a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(folder)).encode())
            is_signature = path.name == "artefact.json"
            found.update(signature_of_version_1(path) if is_signature else path.read_bytes())
    return found.hexdigest()


def signature_of_version_1(path: Path) -> bytes:
    """Return what version 0.1 wrote to `artefact.json` for the same work."""
    signature = json.loads(path.read_text())
    work = {"format": 1, **{key: signature[key] for key in ("kind", "settings", "sources")}}
    content = {**work, "identity": hash_json(work), "version": "0.1.0"}
    return (json.dumps(content, indent=2) + "\n").encode()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "0506751a4abb222e10c3a8970b83bbd1028a542d796716923413fc7f9b5474e2"),
        (
            {
                "field_size": 128,
                "sites": 1,
                "nuisance": 1.7,
                "effect": 3.0,
                "seed": 5,
                "cells": 30.0,
            },
            "b0a43403398cea038dc2e72c074f96883dcd774c75a3f6190742087b33967fe8",
        ),
        (
            {"field_size": 256, "sites": 1, "nuisance": 0.0, "genes": 2, "batches": 1, "guides": 1},
            "94b0d4226df1bcefc2b0a182caad14c861cf02c40e442529ac8cf44295ed8e23",
        ),
    ],
)
def test_easy_has_the_bytes_of_commit_1bed898(small, tmp_path, changes, expected):
    """All files, `artefact.json` too; the digests were taken at that commit on a CPU with AVX2.

    That commit recorded no checksums, so the settings are compared in the form they had then.
    With AVX-512 numpy rounds exponentials and logarithms otherwise in the last bit, so it is told
    not to use AVX-512, which only a new process can be.
    """
    if "X86_V3" not in {name for name, has in __cpu_features__.items() if has}:
        pytest.skip("the digests are those of CPUs with AVX2")
    wider = [name for name in __cpu_dispatch__ if name not in ("X86_V2", "X86_V3")]
    settings = asdict(replace(small, **changes))
    program = (
        "import json, sys; from phenomae.simulation.simulate import SimulateSettings, simulate; "
        "simulate(sys.argv[1], settings=SimulateSettings(**json.loads(sys.argv[2])))"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "screen"), json.dumps(settings)]
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(wider)}
    subprocess.run(words, env=environment, check=True, capture_output=True)
    assert digest(tmp_path / "screen") == expected


def test_a_setting_replaces_the_value_of_the_level():
    assert LevelSettings().values == EASY
    assert LevelSettings(level="hard").values == HARD
    changed = LevelSettings(level="real", photons=40.0, fixed_histogram=True).values
    assert changed == replace(REAL, photons=40.0, fixed_histogram=True)
    assert LevelSettings(level="real", penetrance=0.0).values.penetrance == 0


def test_every_value_of_a_level_is_a_setting():
    settings = [field.name for field in fields(LevelSettings)]
    assert settings == ["level", *(field.name for field in fields(Level))]


@pytest.mark.parametrize("name", [field.name for field in fields(Level)])
def test_every_setting_changes_the_screen(small, name):
    """Of level real; a share of complexes changes the design, all else the pixels."""
    base = replace(small, level="real", genes=20, complexes=10, controls=2)
    value = getattr(REAL, name)
    changes = {"fixed_histogram": True, "weakest_cell": 0.9, "cycling": 0.9}
    other = replace(base, **{name: changes.get(name, value * 0.5)})

    def drawn(settings: SimulateSettings) -> list[np.ndarray]:
        design = plan(settings)
        guide = "G001_guide_1"
        fields_ = [
            draw_field(design, settings, FieldPlace(0, 0, "B03", guide, site)) for site in (1, 2, 3)
        ]
        relations = [effect.relation for effect in design.effects.values()]
        numbers = [effect.number for effect in design.effects.values()]
        return [*fields_, np.array(relations), np.array(numbers)]

    same = [np.array_equal(a, b) for a, b in zip(drawn(base), drawn(other), strict=True)]
    assert not all(same)


def plan(settings: SimulateSettings) -> Design:
    return design_plates(
        settings.seed,
        settings.genes,
        settings.complexes,
        settings.guides,
        settings.batches,
        settings.controls,
        settings.effect,
        settings.values,
    )


@pytest.mark.parametrize("photons", [20.0, 500.0])
def test_shot_noise_is_poisson_and_read_noise_is_in_electrons(photons):
    """Mean and variance of 4,000 exposures of pixels with 1, .1 and 0 of the full light."""
    shares = np.array([1.0, 0.1, 0.0], np.float32)
    counts = np.broadcast_to(FULL_SCALE * shares, (6, 4000, 3)).astype(np.float32)
    read = 2.0 / (photons / FULL_SCALE)
    exposure = Exposure(np.ones(6), np.zeros(6), 1.0, np.zeros(4), photons / FULL_SCALE, read)
    image = add_photon_noise(counts, exposure, make_generator(0)).astype(float)
    for channel, stain in enumerate(_STAINS):
        electrons = (image[channel] - _OFFSET) / 2  # counts per electron
        np.testing.assert_allclose(electrons[:, 0].mean(), photons * stain, rtol=0.05)
        for column, share in enumerate(shares):
            expected = photons * stain * share + 2.0**2
            assert electrons[:, column].var() == pytest.approx(expected, rel=0.1)


def test_the_dark_of_the_camera_is_its_offset():
    counts = np.zeros((6, 64, 64), np.float32)
    exposure = Exposure(np.ones(6), np.zeros(6), 1.0, np.zeros(4), 0.1, 0.0)
    assert np.all(add_photon_noise(counts, exposure, make_generator(0)) == _OFFSET)


def test_focus_varies_over_the_field():
    """A field tilted downwards is sharp in its middle, and blurred at its edge."""
    points = np.zeros((6, 128, 128), np.float32)
    points[:, 8::16, 8::16] = 1
    plain = Exposure(np.ones(6), np.zeros(6), 1.0, np.zeros(4), 1.0, 0.0)
    tilted = replace(plain, focus=np.array([1.2, 0.0, 0.0]))
    sharp, soft = (blur_field(points, it, make_generator(0)) for it in (plain, tilted))
    assert soft[0, 56].max() > 0.95 * sharp[0, 56].max()
    assert soft[0, 120].max() < 0.75 * sharp[0, 120].max()
    np.testing.assert_allclose(soft[0].sum(), sharp[0].sum(), rtol=0.01)
    # The variance of a point at the edge: that of both blurs together, 1 + (1.2 * 113 / 127)^2.
    spot = soft[0, 112:, 48:64].astype(float)
    x = np.arange(16) - 8
    across = (spot.sum(0) * x**2).sum() / spot.sum()
    assert across == pytest.approx(1 + (1.2 * 113 / 127) ** 2, rel=0.1)


@pytest.mark.parametrize("strength", [0.1, 0.3])
def test_patchy_staining_has_its_standard_deviation(strength):
    flat = np.ones((6, 256, 256), np.float32)
    exposure = Exposure(np.ones(6), np.zeros(6), 0.5, np.zeros(4), 1.0, 0.0, texture=strength)
    image = blur_field(flat, exposure, make_generator(0))
    assert image.std() == pytest.approx(strength, rel=0.15)
    assert image.mean() == pytest.approx(1, abs=0.06)


def population(level: Level, phenotype=NOTHING, effect=None, cells: int = 400):
    centres = cell_centres(cells, 1024, make_generator(1))
    chosen = effect or Effect.nothing()
    return draw_population(phenotype, chosen, NOTHING, centres, level, make_generator(2))


def test_penetrance_is_the_share_of_cells_that_respond_each_with_its_strength():
    level = replace(EASY, penetrance=0.6, weakest_cell=0.5)
    moved = population(level, NOTHING + 2.0).units / 2
    responds = moved.max(axis=1) > 0
    assert responds.mean() == pytest.approx(0.6, abs=0.06)
    assert moved[responds].min() >= 0.5
    assert moved.max() <= 1
    assert moved[responds].mean() == pytest.approx(0.75, abs=0.03)


def test_cells_differ_in_size_brightness_and_cycle():
    cells = population(replace(EASY, cell_size=0.1, cell_brightness=0.25, cycling=0.4))
    assert np.log(cells.light[1:]).std() == pytest.approx(0.25, rel=0.1)
    assert (cells.dna == 1).mean() == pytest.approx(0.6, abs=0.06)
    assert 1 <= cells.dna.min() < cells.dna.max() == 2
    assert np.corrcoef(cells.dna, cells.light[0])[0, 1] > 0.2
    same = population(EASY)
    assert np.all(same.size == 1)
    assert np.all(same.light == 1)


def test_neighbours_change_morphology():
    """Cells at the rim of a clump have fewer neighbours, so they are longer."""
    clump = 30.0 * np.argwhere(np.ones((9, 9)))
    level = replace(EASY, density=1.0)
    cells = draw_population(NOTHING, Effect.nothing(), NOTHING, clump, level, make_generator(0))
    elongation = cells.units[:, list(PARAMETERS).index("cell_elongation")]
    corners, middle = elongation[[0, 8, 72, 80]], elongation[40]
    assert np.all(corners > middle)
    assert not population(EASY).units.any()


def test_wells_of_a_row_are_more_alike_than_wells_of_a_plate():
    level = replace(EASY, layout=0.5)

    def shifts(base: Level) -> np.ndarray:
        wells = [
            [well_nuisance(0, 1.0, 0, 0, row, column, base).shift for column in range(2, 22)]
            for row in range(2, 14)
        ]
        return np.array(wells)

    effects = shifts(level) - shifts(EASY)  # rows x columns x parameters
    rows, columns = effects.mean(axis=1, keepdims=True), effects.mean(axis=0, keepdims=True)
    rest = effects - rows - columns + effects.mean(axis=(0, 1), keepdims=True)
    np.testing.assert_allclose(rest, 0, atol=1e-9)
    assert rows.std() == pytest.approx(1, rel=0.2)  # two steps times .5
    assert columns.std() == pytest.approx(1, rel=0.2)


def test_some_complexes_change_number_and_brightness_and_intensity_sees_them(small):
    """Mean intensity separates such guides from controls; with a fixed histogram it does not."""
    settings = replace(
        small,
        level="real",
        genes=2,
        complexes=2,
        guides=1,
        intensity_complexes=1.0,
        relation_complexes=0.0,
        nuisance=0.0,
        effect=0.0,
        penetrance=1.0,
        weakest_cell=1.0,
        field_size=128,
    )
    design = plan(settings)
    effect = design.effects["G001_guide_1"]
    assert np.hypot(effect.number, np.linalg.norm(effect.brightness)) == pytest.approx(0.4)

    def means(guide: str, settings: SimulateSettings) -> np.ndarray:
        drawn = [
            draw_field(design, settings, FieldPlace(0, 0, "B03", guide, site))
            for site in range(1, 41)
        ]
        return np.log(np.array(drawn).mean(axis=(2, 3)) - _OFFSET)

    ratio = means("G001_guide_1", settings).mean(0) - means("non-targeting_guide_1", settings).mean(
        0
    )
    expected = effect.number + effect.brightness
    assert np.corrcoef(ratio, expected)[0, 1] > 0.8
    ranked = replace(settings, fixed_histogram=True)
    flat = [means(guide, ranked).mean(0) for guide in ("G001_guide_1", "non-targeting_guide_1")]
    np.testing.assert_allclose(flat[0], flat[1], atol=0.02)


def test_the_files_name_the_pairs_of_each_kind(small, tmp_path):
    settings = replace(small, level="real", genes=20, complexes=10, guides=1, batches=1, sites=1)
    plates = simulate(tmp_path / "screen", settings=settings)
    kinds = ("morphology", "intensity", "relation")
    tables = {kind: pl.read_csv(plates.path / f"relationships_{kind}.csv") for kind in kinds}
    assert {kind: len(table) for kind, table in tables.items()} == {
        "morphology": 5,
        "intensity": 3,
        "relation": 2,
    }
    together = pl.concat(list(tables.values())).sort("entity1", "entity2")
    assert together.equals(plates.relationships.sort("entity1", "entity2"))


def test_all_levels_draw_a_field(small):
    for level in LEVELS:
        settings = replace(small, level=level)
        image = draw_field(plan(settings), settings, FieldPlace(0, 0, "H12", "G001_guide_1", 1))
        assert (image.shape, image.dtype) == ((6, 64, 64), np.uint16)
        assert image.std() > 0


def test_the_levels_are_those_of_the_page():
    page = (Path(__file__).parents[2] / "docs/simulate.md").read_text()
    _, _, rest = page.partition("\n| setting | easy | real | hard |")
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:5]]
        for line in rest.partition("\n\n")[0].splitlines()[2:]
    ]
    assert [row[0] for row in rows] == [field.name for field in fields(Level)]
    for name, *cells in rows:
        for cell, level in zip(cells, (EASY, REAL, HARD), strict=True):
            value = {"yes": 1.0, "no": 0.0}.get(cell) if name == "fixed_histogram" else float(cell)
            assert value == pytest.approx(float(getattr(level, name)), rel=1e-3), name
