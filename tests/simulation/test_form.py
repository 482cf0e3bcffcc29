"""Form, not intensity: a phenotype changes where the light lies, never how much there is."""

import numpy as np
import pytest
from scipy import ndimage

from phenomae.simulation.cells import draw_cells
from phenomae.simulation.exposure import Exposure
from phenomae.simulation.histogram import assign_histogram
from phenomae.simulation.microscope import photograph
from phenomae.simulation.optics import blur_field
from phenomae.simulation.phenotype import PARAMETERS, cell_values
from phenomae.simulation.placement import cell_centres
from phenomae.simulation.seeds import make_generator

SIZE = 128
NAMES = list(PARAMETERS)


def light(phenotype: np.ndarray, spread: float = 0.0, cells: int = 6) -> np.ndarray:
    """Draw the same cells, in the same places and with the same chances, with a phenotype."""
    centres = cell_centres(cells, SIZE, make_generator(1))
    values = cell_values(phenotype, spread, len(centres), make_generator(2))
    return draw_cells(values, centres, SIZE, make_generator(3))


def equalise(clean: np.ndarray, blur: float) -> np.ndarray:
    """Blur an image and give it the fixed histogram."""
    exposure = Exposure(np.ones(6), np.zeros(6), blur, np.zeros(4), 1.0, 0.0)
    return assign_histogram(blur_field(clean, exposure, make_generator(0)), clean)


def extreme(seed: int) -> np.ndarray:
    return make_generator(seed).choice([-6.0, 6.0], len(NAMES))


NOTHING = np.zeros(len(NAMES))


@pytest.mark.parametrize("blur", [0.4, 2.0])
def test_every_channel_has_the_same_histogram_whatever_the_phenotype(blur):
    expected = np.sort(equalise(light(NOTHING), 0.75).reshape(6, -1))
    assert expected.min() >= 0
    assert expected.max() <= 1
    for phenotype, cells in ((extreme(0), 6), (extreme(1), 3), (extreme(2), 15)):
        shares = equalise(light(phenotype, 0.7, cells), blur)
        np.testing.assert_array_equal(np.sort(shares.reshape(6, -1)), expected)


def test_equalising_keeps_the_form():
    """What is bright stays bright, and how bright it was beside other fields is forgotten."""
    clean = light(NOTHING)
    shares = equalise(clean, 0.75)
    np.testing.assert_allclose(equalise(clean * np.float32(4), 0.75), shares, atol=1e-6)
    for image, share in zip(clean, shares, strict=True):
        blurred = ndimage.gaussian_filter(image, 0.75)
        bright = blurred > np.percentile(blurred, 95)
        assert share[bright].mean() > 3 * share[~bright].mean()


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_changes_the_form(name):
    moved = NOTHING.copy()
    moved[NAMES.index(name)] = 3.0
    before, after = equalise(light(NOTHING), 0.75), equalise(light(moved), 0.75)
    changed = [not np.allclose(a, b, atol=0.05) for a, b in zip(before, after, strict=True)]
    assert any(changed)


def test_pixel_statistics_of_a_quiet_microscope_do_not_tell_phenotypes_apart():
    exposure = Exposure(
        gain=np.full(6, 4000.0),
        background=np.full(6, 300.0),
        blur=0.75,
        tilt=np.zeros(4),
        photons_per_count=5.0,
        read_noise=0.0,
    )
    deciles = [
        np.percentile(
            photograph(light(phenotype), exposure, make_generator(4)).reshape(6, -1),
            np.arange(5, 100, 10),
            axis=1,
        )
        for phenotype in (NOTHING, extreme(0), extreme(1))
    ]
    np.testing.assert_allclose(deciles[1], deciles[0], rtol=0.02)
    np.testing.assert_allclose(deciles[2], deciles[0], rtol=0.02)


def test_the_camera_adds_gain_background_and_noise_of_the_light():
    clean = light(NOTHING)
    shares = equalise(clean, 0.75)
    exposure = Exposure(np.full(6, 2000.0), np.full(6, 500.0), 0.75, np.zeros(4), 0.5, 30.0)
    taken = [photograph(clean, exposure, make_generator(5, index)) for index in range(40)]
    counts = np.stack(taken).astype(np.float64)
    expected = shares * 2000.0 + 500.0
    np.testing.assert_allclose(counts.mean(axis=0).mean(), expected.mean(), rtol=1e-3)
    variance = expected / 0.5 + 30.0**2 + 1 / 12  # photons, reading out, rounding
    np.testing.assert_allclose((counts.var(axis=0, ddof=1) / variance).mean(), 1, rtol=0.01)
    assert taken[0].dtype == np.uint16


def test_the_lamp_tilts_the_field():
    tilt = np.array([0.0, 0.3, 0.0, 0.0])
    flat, tilted = (
        photograph(
            light(NOTHING),
            Exposure(np.full(6, 4000.0), np.zeros(6), 0.75, lamp, 1e6, 0.0),
            make_generator(6),
        ).astype(float)
        for lamp in (np.zeros(4), tilt)
    )
    columns = tilted.sum(axis=(0, 1)) / flat.sum(axis=(0, 1))
    np.testing.assert_allclose(columns, 1 + 0.3 * np.linspace(-1, 1, SIZE), rtol=0.01)


@pytest.mark.parametrize("strength", [-100.0, -2.0, 2.0, 100.0])
def test_values_stay_within_their_bounds(strength):
    values = cell_values(np.full(len(NAMES), strength), 5.0, 400, make_generator(0))
    assert list(values) == NAMES
    for name, parameter in PARAMETERS.items():
        assert len(values[name]) == 400
        assert values[name].min() >= parameter.lowest - 1e-9
        assert values[name].max() <= parameter.highest + 1e-9


def test_usual_cells_and_one_step():
    usual = cell_values(NOTHING, 0.0, 1, make_generator(0))
    near = cell_values(NOTHING + 1e-4, 0.0, 1, make_generator(0))
    for name, parameter in PARAMETERS.items():
        assert usual[name] == pytest.approx(parameter.usual)
        assert (near[name] - usual[name]) / 1e-4 == pytest.approx(parameter.step, rel=1e-3)
        assert parameter.lowest <= parameter.usual <= parameter.highest


def test_spread_is_the_difference_between_cells_of_a_well():
    values = cell_values(NOTHING, 0.01, 20_000, make_generator(0))
    for name, parameter in PARAMETERS.items():
        assert values[name].std() == pytest.approx(0.01 * parameter.step, rel=0.03)
