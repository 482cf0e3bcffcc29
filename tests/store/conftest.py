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
