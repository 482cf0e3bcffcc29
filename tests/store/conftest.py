"""What tests of ingest share: raw files of any kind, and the store as zarr-python reads it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zarr

from phenomae import cli

PATTERN = (
    r"(?P<plate>[^/]+)/(?P<well>[A-H]\d\d)_s(?P<site>\d)_(?P<channel>[^/]+)\.(?i:tiff?|png|jp2)"
)

Ingested = dict[tuple[str, str, int], np.ndarray]


@pytest.fixture
def ingested(tmp_path: Path) -> Callable[..., Ingested]:
    """A function that ingests by the command and returns (plate, well, site) -> pixels.

    Without `--layout` files are `PLATE/A01_s1_DNA.tif`. The pixels are those that zarr-python
    reads, the store is `tmp_path / "store"`.
    """

    def ingest(raw: Path, *flags: str) -> Ingested:
        how = [] if "--layout" in flags or "--pattern" in flags else ["--pattern", PATTERN]
        store = tmp_path / "store"
        assert cli.run(["ingest", str(raw), str(store), "--workers", "1", *how, *flags]) == 0
        table = pl.read_parquet(store / "fields.parquet")
        return {
            (plate, well, site): np.asarray(zarr.open_array(store / path / "0", mode="r")[:])
            for plate, well, site, path in table.select("plate", "well", "site", "path").rows()
        }

    return ingest


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that ingests what cannot be, and returns all that was said of it."""

    def ingest(raw: Path, *flags: str) -> str:
        how = [] if "--layout" in flags or "--pattern" in flags else ["--pattern", PATTERN]
        capsys.readouterr()
        assert cli.run(["ingest", str(raw), str(tmp_path / "store"), *how, *flags]) == 1
        assert not list(tmp_path.glob("store*"))
        return capsys.readouterr().err

    return ingest


@pytest.fixture
def expose() -> Callable[..., np.ndarray]:
    """A function that takes a picture: shot noise, an offset of 100 and the limit of the type."""

    def take(light: np.ndarray, rng: np.random.Generator, dtype: str = "uint16") -> np.ndarray:
        return (rng.poisson(light) + 100).clip(0, np.iinfo(dtype).max).astype(dtype)

    return take


@pytest.fixture
def cells() -> Callable[..., np.ndarray]:
    """A function that draws light of sharp discs, 5 to 9 pixels in radius, with grains in them."""

    def draw(rng: np.random.Generator, size: int = 400, count: int = 40) -> np.ndarray:
        light = np.zeros((size, size))
        rows, columns = np.mgrid[:size, :size]
        places, radii = rng.uniform(0, size, (2, count)), rng.uniform(5, 9, count)
        for row, column, radius in zip(*places, radii, strict=True):
            light[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 2000
        return light * rng.uniform(0.5, 1.5, light.shape)

    return draw
