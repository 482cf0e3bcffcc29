"""The command `features`, by its intensity statistics, against scipy and numpy."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from phenomae import cli
from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.embedding.features import FeaturesSettings, features
from phenomae.embedding.hand_made.intensity import PERCENTILES, STATISTICS, describe_field
from phenomae.signatures import read_signature
from phenomae.wells import Wells, read_wells

INTENSITY = FeaturesSettings(kind="intensity")


def by_hand(channel: np.ndarray) -> list[float]:
    values = channel.ravel().astype(np.float64)
    return [
        values.mean(),
        values.std(),
        *np.percentile(values, PERCENTILES),
        stats.skew(values),
        stats.kurtosis(values),
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_field_is_described_as_scipy_does(dtype: type) -> None:
    rng = np.random.default_rng(0)
    image = (rng.gamma(2.0, 30.0, (3, 31, 37))).clip(0, 255).astype(dtype)
    expected = np.concatenate([by_hand(channel) for channel in image])
    np.testing.assert_allclose(describe_field(image), expected, rtol=1e-10)
    assert len(expected) == 3 * len(STATISTICS)


def test_a_flat_channel_has_no_skewness() -> None:
    found = describe_field(np.full((1, 8, 8), 7, dtype=np.uint16))
    np.testing.assert_array_equal(found, [7, 0, *[7] * len(PERCENTILES), 0, 0])


def test_a_well_is_the_mean_of_its_fields(screen_path: Path, pixels: dict, tmp_path: Path) -> None:
    features(screen_path, tmp_path / "wells", settings=INTENSITY)
    wells = read_wells(tmp_path / "wells")
    assert wells.features.shape == (6, 2 * len(STATISTICS))
    for row, (plate, well) in enumerate(wells.table.select("plate", "well").iter_rows()):
        sites = [image for key, image in pixels.items() if key[:2] == (plate, well)]
        expected = np.mean(
            [np.concatenate([by_hand(channel) for channel in image]) for image in sites], axis=0
        )
        np.testing.assert_allclose(wells.features[row], expected, rtol=1e-5, atol=1e-6)


def test_the_same_store_gives_the_same_bytes(screen_path: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        features(screen_path, tmp_path / name, settings=INTENSITY)
    for name in ("P1.parquet", "P2.parquet", "artefact.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_empty_store_is_refused(tmp_path: Path, make_store) -> None:
    screen = make_store(tmp_path / "store", {}, ("DNA",))
    with pytest.raises(ValueError, match="has no field"):
        features(screen, tmp_path / "wells")
    assert not list(tmp_path.glob("wells*"))


def test_it_needs_no_torch() -> None:
    program = "import sys, phenomae.embedding.features; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("tiling", "tops", "lefts"),
    [("grid", [4, 20], [2, 18, 34]), ("overlap", [0, 16, 24], [0, 16, 32, 37])],
)
def test_tiling_describes_the_crops_that_embed_sees(
    screen_path: Path, pixels: dict, tmp_path: Path, tiling, tops, lefts
) -> None:
    settings = FeaturesSettings(kind="intensity", tiling=tiling, crop_size=16)
    features(screen_path, tmp_path / "wells", settings=settings)
    wells = read_wells(tmp_path / "wells")
    for row, (plate, well) in enumerate(wells.table.select("plate", "well").iter_rows()):
        crops = [
            np.concatenate([by_hand(channel[y : y + 16, x : x + 16]) for channel in image])
            for key, image in pixels.items()
            if key[:2] == (plate, well)
            for y, x in itertools.product(tops, lefts)
        ]
        np.testing.assert_allclose(wells.features[row], np.mean(crops, 0), rtol=1e-5, atol=1e-6)


def test_channels_are_chosen_and_ordered_by_name(screen_path: Path, tmp_path: Path) -> None:
    features(screen_path, tmp_path / "all", settings=INTENSITY)
    dna, er = np.split(read_wells(tmp_path / "all").features, 2, axis=1)
    for channels, expected in {
        "ER": er,
        "ER,DNA": np.concatenate([er, dna], axis=1),
        "DNA=ER,ER=DNA": np.concatenate([dna, er], axis=1),
    }.items():
        settings = FeaturesSettings(kind="intensity", channels=channels)
        features(screen_path, tmp_path / channels, settings=settings)
        np.testing.assert_array_equal(read_wells(tmp_path / channels).features, expected)


def test_where_takes_the_fields_that_embed_takes(
    screen_path: Path, run: Path, pixels: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = "plate = 'P1' AND site = 2"
    paths = [str(screen_path), str(tmp_path / "wells")]
    assert cli.run(["features", *paths, "--kind", "intensity", "--where", where]) == 0
    assert "where leaves out 6 of 9 fields" in capsys.readouterr().err
    wells = read_wells(tmp_path / "wells")
    on_cpu = EmbedSettings(where=where, device="cpu", precision="float32")
    embed(screen_path, run, tmp_path / "embedded", settings=on_cpu)
    assert wells.table.equals(read_wells(tmp_path / "embedded").table)
    for row, well in enumerate(wells.table["well"]):
        expected = [by_hand(channel) for channel in pixels["P1", well, 2]]
        np.testing.assert_allclose(wells.features[row], np.concatenate(expected), rtol=1e-5)


def test_only_settings_that_are_not_the_defaults_are_recorded(
    screen_path: Path, tmp_path: Path
) -> None:
    """So that wells of versions without settings are taken for the same work."""
    made = features(screen_path, tmp_path / "wells", settings=INTENSITY)
    assert isinstance(made, Wells)
    expected = {"method": "intensity", "statistics": list(STATISTICS)}
    assert read_signature(tmp_path / "wells")["settings"] == expected
    assert features(str(screen_path), str(tmp_path / "wells"), settings=INTENSITY) == made
    chosen = FeaturesSettings(kind="intensity", channels="ER")
    with pytest.raises(ValueError, match="another setting: channels = None, now 'ER'"):
        features(screen_path, made, settings=chosen)
    features(screen_path, made, settings=chosen, overwrite=True)
    assert read_signature(made.path)["settings"] == {**expected, "channels": "ER"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tiling": "grid", "crop_size": 0}, "crop_size must be at least 1, not 0"),
        ({"tiling": "grid"}, "tiling and crop_size need each other: give both or neither"),
        ({"crop_size": 16}, "tiling and crop_size need each other: give both or neither"),
        ({"tiling": "grid", "crop_size": 41}, "of 41 x 41: choose a smaller crop_size"),
        ({"channels": "AGP"}, "no channel 'AGP'"),
        ({"where": "focus > 9"}, "where 'focus > 9'"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    screen_path: Path, tmp_path: Path, change: dict, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        features(
            screen_path, tmp_path / "wells", settings=FeaturesSettings(kind="intensity", **change)
        )
    assert not list(tmp_path.glob("wells*"))
