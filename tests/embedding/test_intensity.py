"""Intensity statistics against scipy and numpy."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from phenomae.embedding.intensity import PERCENTILES, STATISTICS, describe_field, intensity
from phenomae.wells import read_wells


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
    intensity(screen_path, tmp_path / "wells")
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
        intensity(screen_path, tmp_path / name)
    for name in ("P1.parquet", "P2.parquet", "artefact.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_empty_store_is_refused(tmp_path: Path, make_store) -> None:
    screen = make_store(tmp_path / "store", {}, ("DNA",))
    with pytest.raises(ValueError, match="holds no field"):
        intensity(screen, tmp_path / "wells")
    assert not list(tmp_path.glob("wells*"))


def test_it_needs_no_torch() -> None:
    program = "import sys, phenomae.embedding.intensity; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
