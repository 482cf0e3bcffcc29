"""Hand-made features against numpy's full Fourier transform, torch's layers and brute force."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from phenomae import cli
from phenomae.embedding.features import FeaturesSettings, features
from phenomae.embedding.hand_made.count import Count
from phenomae.embedding.hand_made.foreground import otsu
from phenomae.embedding.hand_made.kind import View
from phenomae.embedding.hand_made.kinds import KINDS, find_kind
from phenomae.embedding.hand_made.position import describe_wells
from phenomae.embedding.hand_made.spectra import Spectra
from phenomae.embedding.profiler import resize
from phenomae.wells import read_wells

MEANS = [kind for kind in KINDS if find_kind(kind).from_objects is None]


def textured(seed: int, channels: int = 3, height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth random channels of which the second holds some of the first."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((channels, height, width))
    smooth = np.stack([ndimage.gaussian_filter(part, 1 + at) for at, part in enumerate(noise)])
    smooth[1] += 0.5 * smooth[0]
    return (smooth / smooth.std() * 3000 + 20000).clip(0, 65535).astype(np.uint16)


def spectra_by_hand(image: np.ndarray, bands: int) -> np.ndarray:
    """All coefficients of numpy's transform, each band a mask of the full plane."""
    height, width = image.shape[1:]
    planes = []
    for channel in image.astype(np.float64):
        standardised = (channel - channel.mean()) / channel.std()
        planes.append(np.fft.fft2(standardised) / np.sqrt(height * width))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    power, coherence = [], []
    for band in range(bands):
        low, high = 0.5 * band / bands, 0.5 * (band + 1) / bands
        ring = (frequency > low + 1e-9) & (frequency <= high + 1e-9)
        assert ring.any()
        cross = [[(a * b.conj())[ring].mean().real for b in planes] for a in planes]
        power.append([cross[at][at] for at in range(len(planes))])
        coherence.append(
            [
                cross[a][b] / np.sqrt(cross[a][a] * cross[b][b])
                for a, b in combinations(range(len(planes)), 2)
            ]
        )
    return np.concatenate([np.log(power).T.ravel(), np.array(coherence).T.ravel()])


@pytest.mark.parametrize(
    ("height", "width", "bands"), [(48, 64, 16), (41, 68, 16), (24, 30, 12), (256, 256, 16)]
)
def test_spectra_are_those_of_numpy(height: int, width: int, bands: int):
    image = textured(0, height=height, width=width)
    expected = spectra_by_hand(image, bands)
    np.testing.assert_allclose(Spectra(bands)(image), expected, atol=2e-4)
    assert expected[3 * bands :].max() > 0.3, "the second channel holds some of the first"


def test_every_band_has_a_frequency_at_any_size():
    for side in range(8, 300, 7):
        view = View("store", ["DNA"], side, FeaturesSettings())
        describe = find_kind("spectra").from_pixels(view)
        noise = np.random.default_rng(side).integers(0, 255, (1, side, side + 3), dtype=np.uint8)
        assert describe(noise).min() > np.log(1e-3)


def test_spectra_of_white_noise_are_one_and_without_coherence():
    noise = np.random.default_rng(0).integers(0, 65536, (2, 512, 512), dtype=np.uint16)
    found = Spectra(8)(noise)
    np.testing.assert_allclose(found[:16], 0, atol=0.2)
    np.testing.assert_allclose(found[16:], 0, atol=0.2)


def test_spectra_do_not_depend_on_turns_flips_gain_and_offset():
    image = textured(1, height=64, width=64)
    expected = Spectra(10)(image)
    for changed in (
        np.rot90(image, axes=(1, 2)),
        image[:, ::-1],
        image.transpose(0, 2, 1),
        image + np.uint16(1000),
    ):
        np.testing.assert_allclose(Spectra(10)(np.ascontiguousarray(changed)), expected, atol=2e-3)
    small = (image // 4).astype(np.uint16)
    np.testing.assert_allclose(Spectra(10)(small * 3), Spectra(10)(small), atol=1e-4)


def test_a_constant_channel_has_no_power_and_no_coherence():
    image = textured(2)
    image[1] = 700
    found = Spectra(9)(image)
    np.testing.assert_allclose(found[9:18], np.log(1e-12))
    np.testing.assert_array_equal(found[27:36], 0)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_random_layer_is_a_convolution_and_a_gelu(dtype: type):
    image = textured(3) if dtype == np.uint16 else (textured(3) >> 8).astype(np.uint8)
    settings = FeaturesSettings(kind="random-layer", filters=16, filter_size=5, seed=3)
    describe = find_kind("random-layer").from_pixels(View("store", list("abc"), 48, settings))
    scaled = torch.from_numpy(image.astype(np.float64)) / np.iinfo(dtype).max
    eps = 1e-5 if dtype == np.uint8 else 1e-5 / 65536
    standardised = functional.layer_norm(scaled, scaled.shape[1:], eps=eps)
    # Pixels of a patch are ordered row, column, channel.
    filters = torch.from_numpy(describe.filters[0]).double().T.reshape(16, 5, 5, 3)
    seen = functional.conv2d(standardised[None], filters.permute(0, 3, 1, 2), stride=5)
    expected = functional.gelu(seen).mean(dim=(0, 2, 3))
    np.testing.assert_allclose(describe(image), expected, rtol=2e-4)


def test_filters_are_normal_and_depend_on_the_seed_alone():
    def filters(seed: int, count: int = 128) -> np.ndarray:
        settings = FeaturesSettings(kind="random-layer", seed=seed, filters=count)
        return find_kind("random-layer").from_pixels(View("", list("abcdef"), 64, settings)).filters

    one = filters(0) * np.sqrt(8 * 8 * 6)
    assert abs(one.mean()) < 0.02
    assert abs(one.std() - 1) < 0.02
    assert abs((np.abs(one) < 1).mean() - 0.6827) < 0.01
    np.testing.assert_array_equal(filters(0), filters(0))
    assert not np.array_equal(filters(0), filters(1))


def test_otsu_is_the_best_of_all_thresholds():
    rng = np.random.default_rng(0)
    image = np.concatenate([rng.normal(10, 2, 3000), rng.normal(30, 4, 1000)]).astype(np.float32)
    image = image.reshape(40, 100)
    edges = np.linspace(image.min(), image.max(), 257)
    centres = (edges[:-1] + edges[1:]) / 2
    binned = centres[np.clip(np.digitize(image, edges) - 1, 0, 255)]

    def between(threshold: float) -> float:
        low, high = binned[binned < threshold], binned[binned >= threshold]
        if not len(low) or not len(high):
            return 0.0
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    best = max(edges[1:-1], key=between)
    assert otsu(image) == pytest.approx(best, rel=1e-5)
    assert otsu(np.full((4, 4), 7, dtype=np.float32)) == 7


def test_discs_are_counted():
    image = np.full((2, 200, 200), 100, dtype=np.uint16)
    rows, columns = np.ogrid[:200, :200]
    centres = [(30, 30), (30, 90), (90, 40), (150, 150), (100, 120)]
    for row, column in centres:
        image[1, (rows - row) ** 2 + (columns - column) ** 2 <= 10**2] = 3000
    image[1, 190:192, 10:12] = 3000  # smaller than a nucleus
    log_count, share, area = Count(1)(image)
    assert np.expm1(log_count) == pytest.approx(5)
    assert area == pytest.approx(np.pi * 10**2, rel=0.12)
    assert share == pytest.approx(5 * area / 200**2)
    np.testing.assert_array_equal(Count(0)(image), 0)


def test_positions_of_wells():
    found = describe_wells(["A01", "H12", "D06"])  # of a plate of 8 x 12
    expected = [[-1, -1, 1, 1, 0], [1, 1, 1, 1, 0]]
    np.testing.assert_allclose(found[:2], expected)
    down, across = 2 * 3 / 7 - 1, 2 * 5 / 11 - 1
    np.testing.assert_allclose(found[2], [down, across, down**2, across**2, 3])
    assert describe_wells(["B02", "AF48"])[1, 4] == 0  # 1,536 wells
    assert describe_wells(["B02", "P24"])[0, 4] == 1  # 384 wells


def test_images_are_resampled_as_by_embed():
    image = textured(4, height=60, width=60)
    found = resize(image, 2.0)
    smooth = functional.interpolate(
        torch.from_numpy(image.astype(np.float32))[None],
        size=(30, 30),
        mode="bilinear",
        antialias=True,
    )[0]
    assert found.shape == (3, 30, 30)
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found, smooth.numpy(), atol=0.51)
    assert resize(image, 1.0) is image


@pytest.mark.parametrize("kind", MEANS)
def test_a_well_is_the_mean_of_what_its_images_show(kind: str, screen_path, pixels: dict, tmp_path):
    small = {"filters": 9, "filter_size": 4} if kind == "random-layer" else {}
    settings = FeaturesSettings(kind=kind, tiling="grid", crop_size=16, **small)
    made = features(screen_path, tmp_path / "wells", settings=settings)
    wells = read_wells(made.path)
    described = find_kind(kind)
    names = wells.table.select("plate", "well").iter_rows()
    for row, (plate, well) in enumerate(names):
        if described.from_pixels is None:
            expected = describe_wells(["A01", "A02", "B01"])[["A01", "A02", "B01"].index(well)]
        else:
            describe = described.from_pixels(View("", ("DNA", "ER"), 16, settings))
            crops = [
                image[:, top : top + 16, left : left + 16]
                for key, image in pixels.items()
                if key[:2] == (plate, well)
                for top in (4, 20)
                for left in (2, 18, 34)
            ]
            expected = np.mean([describe(crop) for crop in crops], axis=0)
        np.testing.assert_allclose(wells.features[row], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--kind count --channels ER", "no single channel of ER is known to show nuclei"),
        (
            "--kind count --nuclear-channel AGP",
            "--nuclear-channel must be one of DNA, ER, not 'AGP'",
        ),
        ("--kind spectra --tiling grid --crop-size 4", "at least 8 pixels per side, not 4"),
        ("--kind random-layer --filter-size 41", "--filter-size must be at most 40"),
        (
            "--kind random-layer --tiling grid --crop-size 16 --filter-size 17",
            "--filter-size must be at most 16, the smallest side of an image, not 17",
        ),
        ("--kind random-layer --filter-size 0", "--filter-size must be at least 1, not 0"),
        ("--kind random-layer --filters 0", "filters must be at least 1, not 0"),
        ("--kind random-layer --seed -1", "seed must be at least 0, not -1"),
        ("--kind cellprofiler --cell-distance 0", "--cell-distance must be at least 1, not 0"),
        (
            "--kind spectra --filters 64",
            "filters is a setting of kind random-layer, not of spectra",
        ),
        ("--kind intensity --seed 1", "seed is a setting of kind random-layer, not of intensity"),
        (
            "--kind position --nuclear-channel DNA",
            "--nuclear-channel is a setting of kind count and cellprofiler, not of position",
        ),
        (
            "--kind count --cell-distance 5",
            "--cell-distance is a setting of kind cellprofiler, not",
        ),
    ],
)
def test_what_cannot_be_computed_is_one_sentence(
    words: str, sentence: str, screen_path, tmp_path, capsys: pytest.CaptureFixture[str]
):
    command = ["features", str(screen_path), str(tmp_path / "wells"), *words.split()]
    assert cli.run(command) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert sentence in line
    assert not list(tmp_path.iterdir())


FROM_PIXELS = [kind for kind in MEANS if find_kind(kind).from_pixels is not None]


@pytest.mark.parametrize("kind", FROM_PIXELS)
@pytest.mark.parametrize("channels", [("DNA",), ("DNA", "ER", "AGP")])
def test_constant_fields_give_numbers(kind: str, channels: tuple, make_store, tmp_path):
    image = np.full((len(channels), 32, 40), 700, dtype=np.uint16)
    pixels = {("P1", well, 1): image for well in ("A01", "A02")}
    store = make_store(tmp_path / "store", pixels, channels)
    found = read_wells(features(store, tmp_path / "wells", settings=FeaturesSettings(kind=kind)))
    assert np.isfinite(found.features).all()
    np.testing.assert_array_equal(found.features[0], found.features[1])


def test_a_single_channel_has_spectra_without_pairs(make_store, tmp_path):
    image = textured(5, channels=2)[:1]
    store = make_store(tmp_path / "store", {("P1", "A01", 1): image}, ("DNA",))
    found = read_wells(features(store, tmp_path / "wells")).features
    np.testing.assert_allclose(found[0], spectra_by_hand(image, 16), atol=2e-4)


@pytest.mark.parametrize("kind", FROM_PIXELS)
def test_fields_of_different_sizes_have_the_same_features(kind: str, make_store, tmp_path):
    sizes = {"A01": (48, 64), "A02": (40, 53), "B01": (72, 50)}
    pixels = {
        ("P1", well, 1): textured(at, channels=2, height=height, width=width)
        for at, (well, (height, width)) in enumerate(sizes.items())
    }
    settings = FeaturesSettings(kind=kind)
    store = make_store(tmp_path / "store", pixels, ("DNA", "ER"))
    found = read_wells(features(store, tmp_path / "wells", settings=settings))
    # The smallest side, 40, decides what all images can have.
    describe = find_kind(kind).from_pixels(View("", ("DNA", "ER"), 40, settings))
    for row, well in enumerate(found.table["well"]):
        expected = describe(pixels["P1", well, 1])
        np.testing.assert_allclose(found.features[row], expected, rtol=1e-5, atol=1e-5)
