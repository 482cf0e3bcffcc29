"""A screen of drawn cells with bad fields among good ones, as a store."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from phenomae.store.ingest import ingest

CAMERA = 4095  # the highest value of a 12-bit camera
Field = tuple[str, str, int]
Spoil = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Planted:
    """A store, and its bad fields as (plate, well, site), by what is wrong with them."""

    store: Path
    bad: dict[str, set[Field]]


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory, write_raw: Callable[..., Path]) -> Planted:
    """Two plates of 24 wells and 48 fields; on each 2 fields are bad of each kind.

    Empty fields show nothing in either channel, the others are bad in ER and good in DNA.
    """
    folder, rng = tmp_path_factory.mktemp("planted"), np.random.default_rng(0)
    wells = tuple(f"{row}{column:02d}" for row in "ABCD" for column in range(1, 7))
    raw = write_raw(folder / "raw", plates=("P1", "P2"), wells=wells)
    bad: dict[str, set[Field]] = {kind: set() for kind in SPOIL}
    for (plate,), rows in (
        pl.read_csv(raw / "load_data.csv").partition_by("Metadata_Plate", as_dict=True).items()
    ):
        kinds = rng.permutation([*SPOIL, *SPOIL, *["good"] * (len(rows) - 2 * len(SPOIL))])
        for row, kind in zip(rows.iter_rows(named=True), kinds, strict=True):
            if kind != "good":
                bad[kind].add((str(plate), row["Metadata_Well"], row["Metadata_Site"]))
            light = draw_cells(rng)
            for channel in ("DNA", "ER"):
                spoil = SPOIL[kind] if kind == "empty" or (kind, channel) in ONE_CHANNEL else keep
                image = rng.poisson(spoil(gaussian_filter(light, 1.2), rng).clip(0) + 20) + 100
                path = raw / row[f"PathName_Orig{channel}"] / row[f"FileName_Orig{channel}"]
                tifffile.imwrite(path, image.clip(0, CAMERA).astype(np.uint16))
    ingest(raw, folder / "store")
    return Planted(folder / "store", bad)


def draw_cells(rng: np.random.Generator, size: int = 192, count: int = 40) -> np.ndarray:
    """Draw the light of sharp discs, 5 to 9 pixels in radius, with grains in them."""
    light = np.zeros((size, size))
    rows, columns = np.indices(light.shape)
    places, radii = rng.uniform(0, size, (2, count)), rng.uniform(5, 9, count)
    for row, column, radius in zip(*places, radii, strict=True):
        light[np.hypot(rows - row, columns - column) <= radius] = 1000
    return light * rng.uniform(0.5, 1.5, light.shape)


def keep(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return light


def blur(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return gaussian_filter(light, 4)


def saturate(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return light * CAMERA / np.percentile(light, 90)


def empty(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.zeros_like(light)


def add_debris(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.indices(light.shape)
    row, column = rng.uniform(20, 170, 2)
    return light + 2000 * (np.hypot(rows - row, columns - column) < 12)


SPOIL: dict[str, Spoil] = {
    "blurred": blur,
    "saturated": saturate,
    "empty": empty,
    "debris": add_debris,
}
ONE_CHANNEL = [(kind, "ER") for kind in SPOIL]
