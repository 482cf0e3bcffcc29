"""Fixtures every room's tests may ask for."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import pytest
import tifffile
from jaxtyping import install_import_hook

from phenomae.artefacts import Origin, hash_json, sign
from phenomae.records import FIELD_COLUMNS
from phenomae.store.write import checksum, write_array

# Shapes in the signatures of the networks' wing are checked here, and only here. The hook works on
# what is imported after it, so it stands above every test of them.
WING = [f"phenomae.{room}" for room in ("models", "crops", "pretrain", "embed")]
install_import_hook(WING, "beartype.beartype")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden cases and real data that lies beside the project on some machines."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the golden cases and data in ../shared, which are not here")
    return folder


class MakeStore(Protocol):
    """Writes a store of random pixels, or of those given as (plate, well, site) -> (c, h, w)."""

    def __call__(
        self, path: Path, pixels: dict[tuple[str, str, int], np.ndarray], channels: Sequence[str]
    ) -> Path: ...


@pytest.fixture(scope="session")
def make_store() -> MakeStore:
    """A store of given pixels, (plate, well, site) -> (c, h, w), written by the store's own writer.

    Wells of the first column are controls; windows are 100 to 4000.
    """
    return _write_store


def _write_store(
    path: Path, pixels: dict[tuple[str, str, int], np.ndarray], channels: Sequence[str]
) -> Path:
    path.mkdir(parents=True)
    rows = []
    sites: dict[tuple[str, str], int] = {}
    for (plate, well, site), image in sorted(pixels.items()):
        index = sites[plate, well] = sites.get((plate, well), -1) + 1
        where = f"{plate}.zarr/{well[0]}/{well[1:]}/{index}"
        write_array(path / where / "0", image)
        rows.append(
            {
                "plate": plate,
                "well": well,
                "site": site,
                "batch": plate,
                "perturbation": f"gene {well}",
                "gene": f"gene {well}",
                "control": well[1:] == "01",
                "path": where,
                "height": image.shape[1],
                "width": image.shape[2],
                "window_low": [100.0] * len(channels),
                "window_high": [4000.0] * len(channels),
                "checksum": checksum(image),
            }
        )
    table = pl.DataFrame(rows, schema=FIELD_COLUMNS)
    table.write_parquet(path / "fields.parquet")
    dtype = str(next(iter(pixels.values())).dtype) if pixels else "uint8"
    settings = {"channels": list(channels), "dtype": dtype, "pixel_size_um": 0.5}
    origin = Origin("store", settings, {"pixels": hash_json(table["checksum"].to_list())})
    sign(path, origin, origin.identity)
    return path


@pytest.fixture
def write_screen(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a small raw screen of noise, LoadData CSV and plate map, as files."""

    def write(
        name: str = "raw",
        plates: tuple[str, ...] = ("P1",),
        wells: tuple[str, ...] = ("A01", "A02", "B01"),
        sites: int = 2,
        channels: tuple[str, ...] = ("DNA", "ER"),
        size: tuple[int, int] = (150, 130),
        dtype: str = "uint16",
    ) -> Path:
        raw, rng = tmp_path / name, np.random.default_rng(0)
        fields, mapped = [], []
        for plate in plates:
            folder = raw / "images" / plate
            folder.mkdir(parents=True)
            for number, well in enumerate(wells):
                mapped.append([plate, well, f"GENE{number}", f"GENE{number}_1", number == 0])
                for site in range(1, sites + 1):
                    names = [f"{well}_s{site}_{channel}.tiff" for channel in channels]
                    for file in names:
                        pixels = rng.poisson(rng.uniform(20, 200), size).astype(dtype)
                        tifffile.imwrite(folder / file, pixels)
                    fields.append([plate, well, site, *names, *[f"images/{plate}"] * len(names)])
        columns = [f"{part}_Orig{c}" for part in ("FileName", "PathName") for c in channels]
        head = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", *columns]
        tables = {
            "load_data.csv": [head, *fields],
            "plate_map.csv": [["plate", "well", "gene", "guide", "control"], *mapped],
        }
        for file, rows in tables.items():
            with open(raw / file, "w", newline="") as opened:
                csv.writer(opened).writerows(rows)
        return raw

    return write
