"""Quality figures against their formulas, scipy and numpy."""

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from phenomae.records import FIELD_COLUMNS
from phenomae.store.quality import Quality, count_levels, measure_quality, quality_columns

Image = np.ndarray


def measure(*channels: Image) -> Quality:
    pixels = np.stack(channels)
    return measure_quality(pixels, count_levels(pixels))


def covariance_ratio(channel: Image) -> float:
    """1 - C(2) / C(1) with the covariances taken as they are defined, pair by pair."""
    centred = channel - channel.mean()

    def covariance(lag: int) -> float:
        down = (centred[lag:] * centred[:-lag]).mean()
        across = (centred[:, lag:] * centred[:, :-lag]).mean()
        return (down + across) / 2

    return 1 - covariance(2) / covariance(1)


@pytest.mark.parametrize("size", [400, 1500])
def test_focus_is_one_minus_the_ratio_of_covariances(size, expose):
    rng = np.random.default_rng(0)
    image = expose(gaussian_filter(rng.gamma(1, 500, (size, size)), 1.5), rng)
    assert measure(image).focus[0] == pytest.approx(covariance_ratio(image), rel=0.02)


@pytest.mark.parametrize("sigma", [1, 1.5, 2, 3, 4])
def test_focus_of_blurred_points_is_that_of_the_blur(sigma, expose):
    """Points blurred by a Gaussian have the covariance exp(-k^2 / (4 s^2))."""
    rng = np.random.default_rng(0)
    light = np.zeros((1000, 1000))
    light[tuple(rng.integers(0, 1000, (2, 3000)))] = 3e5
    image = expose(gaussian_filter(light, sigma), rng)
    expected = 1 - np.exp(-3 / (4 * sigma**2))
    assert measure(image).focus[0] == pytest.approx(expected, rel=0.05)


def test_the_more_a_field_is_blurred_the_lower_is_its_focus_whatever_the_noise(cells, expose):
    """Where the noise is white; the variance of the Laplacian over that of the pixels rises."""
    rng = np.random.default_rng(0)
    for brightness in (1.0, 0.1, 0.03):
        light = cells(rng) * brightness
        blurred = [gaussian_filter(light, sigma) if sigma else light for sigma in (0, 1, 2, 4, 8)]
        focus = [measure(expose(image + 20, rng)).focus[0] for image in blurred]
        assert focus == sorted(focus, reverse=True)
        assert focus[2] < 0.5 * focus[0]


def test_real_stains_lose_focus_by_blurring(shared):
    folder = shared / "data/images/phenix_pe2loaddata/Version1/images"
    rng = np.random.default_rng(0)
    for path in sorted(folder.glob("*ch[1-5]*.tiff")):
        image = tifffile.imread(path).astype(float)
        steps = [np.rint(gaussian_filter(image, sigma)) for sigma in (0, 2, 4, 8)]
        noisy = [step + rng.normal(0, 12, step.shape) for step in steps]
        focus = [measure(step.clip(0, 65535).astype(np.uint16)).focus[0] for step in noisy]
        assert focus == sorted(focus, reverse=True), path.name
        assert focus[1] < 0.8 * focus[0], path.name


def test_what_shows_nothing_has_no_focus(expose):
    rng = np.random.default_rng(0)
    noise = rng.normal(500, 20, (3, 300, 300)).astype(np.uint16)
    checks = np.indices((300, 300)).sum(axis=0).astype(np.uint16) % 2
    flat = np.full((300, 300), 7, np.uint16)
    assert measure(*noise, checks, flat).focus == (0.0,) * 5
    assert measure(np.zeros((2, 50), np.uint8)).focus == (0.0,)
    lit = expose(np.linspace(1000, 2000, 600)[:, None] * np.ones((1, 600)), rng)
    assert 0 < measure(lit).focus[0] < 0.01  # a lamp that is uneven is no structure


def test_focus_follows_neither_brightness_nor_offset(cells):
    rng = np.random.default_rng(0)
    image = rng.poisson(gaussian_filter(cells(rng), 1.5) / 10).astype(np.uint16)
    focus = measure(image).focus[0]
    assert measure(image * 7).focus[0] == pytest.approx(focus, rel=1e-9)
    assert measure(image + 30_000).focus[0] == pytest.approx(focus, rel=1e-9)


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 4095), ("uint16", 65535)])
def test_saturation_is_the_share_that_piles_up_at_the_top(dtype, top):
    rng = np.random.default_rng(0)
    light = rng.gamma(2, top / 6, (300, 300))
    image = np.minimum(light, top).astype(dtype)
    assert measure(image).saturation[0] == np.mean(light >= top) > 0.01
    assert measure((image * 0.9).astype(dtype)).saturation[0] == pytest.approx(
        np.mean(light >= top), rel=0.1
    )


def test_images_that_only_run_out_are_not_saturated():
    rng = np.random.default_rng(0)
    for mean in (1, 3, 50, 5000):
        for dtype in ("uint8", "uint16"):
            image = rng.poisson(min(mean, 100), (300, 300)).astype(dtype)
            assert measure(image).saturation[0] < 1e-4
    assert measure(np.zeros((30, 30), np.uint8)).saturation == (0.0,)
    assert measure(np.full((30, 30), 255, np.uint8)).saturation == (1.0,)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_foreground_is_the_share_of_the_cells(dtype, cells, expose):
    rng = np.random.default_rng(0)
    for count in (0, 1, 5, 40, 150):
        light = cells(rng, count=count)
        covered = np.mean(light > 0)
        image = expose(light / (20 if dtype == "uint8" else 1) + 20, rng, dtype)
        found = measure(image).foreground[0]
        assert found == pytest.approx(covered, rel=0.05, abs=5e-4)


def test_foreground_by_the_formula():
    """Background 10, darker pixels 4 and 2 below it: sigma is the root of their mean square."""
    levels = {6: 1, 8: 1, 10: 98, 16: 5, 17: 3, 200: 2}
    image = np.repeat(list(levels), list(levels.values())).astype(np.uint8)[None]
    sigma = np.sqrt((4**2 + 2**2) / (1 + 1 + 98))
    above = sum(count for level, count in levels.items() if level > 10 + 5 * max(sigma, 0.5))
    assert measure(image).foreground[0] == above / 110


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_percentiles_are_numpys(dtype):
    rng = np.random.default_rng(0)
    for size in ((1, 1), (7, 3), (99, 100), (150, 131)):
        image = rng.integers(0, 256, size).astype(dtype)
        expected = np.percentile(image, [1, 50, 99], method="inverted_cdf")
        assert measure(image).percentiles[0] == tuple(expected)


def test_columns_are_of_the_worst_channel_over_the_plates_median():
    def field(focus: tuple[float, ...], share: tuple[float, ...]) -> Quality:
        return Quality(focus, share, share, tuple((1.0, 2.0, 3.0 + it) for it in focus))

    fields = [field((0.5, 0.02, 0.0), (0.1, 0.2, 0.0)), field((0.25, 0.02, 0.0), (0.3, 0.0, 0.0))]
    fields += [field((0.5, 0.005, 0.3), (0.0, 0.0, 0.4))]
    columns = quality_columns(fields)
    assert columns["focus"] == [1.0, 0.5, 0.25]
    assert columns["saturation"] == columns["foreground"] == [0.2, 0.3, 0.4]
    assert columns["channel_focus"] == [list(it.focus) for it in fields]
    assert columns["percentile_99"] == [[3.0 + it for it in item.focus] for item in fields]
    assert set(columns) < set(FIELD_COLUMNS)
    assert quality_columns([field((0.0, 0.0), (0.0, 0.0))])["focus"] == [0.0]
    assert quality_columns([field((0.1, 0.0), (0.0, 0.0))])["focus"] == [1.0]
