"""Bad fields among good ones: figures tell them, and windows stay sane."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from scipy.ndimage import gaussian_filter


def test_bad_fields_of_a_plate_can_be_told(tmp_path: Path, ingested, cells, expose):
    """One field each out of focus, in one channel only, saturated, empty; the others are good."""
    rng, bad = np.random.default_rng(0), {"blurred": 3, "saturated": 5, "empty": 7}
    (tmp_path / "raw/P1").mkdir(parents=True)
    for site in range(1, 10):
        light = cells(rng)
        for channel in ("DNA", "ER"):
            shown = gaussian_filter(light, 1 if channel == "DNA" else 1.5)
            if site == bad["blurred"] and channel == "ER":
                shown = gaussian_filter(light, 4)
            if site == bad["saturated"]:
                shown = shown * 60
            if site == bad["empty"]:
                shown = shown * 0
            image = expose(shown + 20, rng).clip(0, 4095)
            tifffile.imwrite(tmp_path / f"raw/P1/A01_s{site}_{channel}.tif", image)
    ingested(tmp_path / "raw")
    table = pl.read_parquet(tmp_path / "store/fields.parquet")

    def chosen(expression: str) -> list[int]:
        return table.filter(pl.sql_expr(expression))["site"].to_list()

    assert chosen("focus < 0.6 AND foreground > 0.01") == [bad["blurred"]]
    assert chosen("saturation > 0.01") == [bad["saturated"]]
    assert chosen("foreground < 0.01") == [bad["empty"]]
    assert table["window_low"][0].to_list() == pytest.approx([110, 110], abs=10)
    (high, _) = table["window_high"][0].to_list()
    assert 1500 < high <= 4095


def test_windows_stay_sane_where_much_is_saturated_or_empty(tmp_path: Path, ingested):
    """Plates of one kind of bad field alone: low below high, and no pixel lies far outside."""
    rng = np.random.default_rng(0)
    kinds = {
        "saturated": np.full((140, 150), 65535, np.uint16),
        "half": np.where(np.arange(150) < 75, rng.poisson(300, (140, 150)), 65535),
        "empty": rng.poisson(100, (140, 150)),
        "zeros": np.zeros((140, 150)),
        "one": np.where(np.arange(140 * 150).reshape(140, 150) == 999, 40_000, 7),
    }
    for name, pixels in kinds.items():
        (tmp_path / "raw" / name).mkdir(parents=True)
        tifffile.imwrite(tmp_path / f"raw/{name}/A01_s1_DNA.tif", pixels.astype(np.uint16))
    ingested(tmp_path / "raw")
    table = pl.read_parquet(tmp_path / "store/fields.parquet")
    ends = {
        plate: (low[0], high[0])
        for plate, low, high in table.select("plate", "window_low", "window_high").iter_rows()
    }
    for name, pixels in kinds.items():
        low, high = np.percentile(pixels, [0.1, 99.9], method="inverted_cdf").astype(float)
        assert ends[name] == (low, max(high, low + 1)), name
    shares = {
        name: row[0] for name, row in zip(table["plate"], table["channel_saturation"], strict=True)
    }
    assert shares == {"saturated": 1, "half": 0.5, "zeros": 0, "empty": shares["empty"], "one": 0}
    assert shares["empty"] < 1e-3
