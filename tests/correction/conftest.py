"""A small screen whose plates are shifted, for every test of the room."""

from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import pytest

from phenomae.wells import write_wells

FEATURES = [f"x{index}" for index in range(6)]


class MakeScreen(Protocol):
    """Writes four plates of 24 wells, 8 of them controls; columns may be replaced."""

    def __call__(self, name: str = "wells", **columns: pl.Expr | pl.Series) -> Path: ...


def screen_table(seed: int = 0, plates: tuple[str, ...] = ("P1", "P2", "P3", "P4")) -> pl.DataFrame:
    """Eight genes twice a plate, their effects alike on all plates, each plate with an offset."""
    rng, other = np.random.default_rng(7), np.random.default_rng(seed)
    control = np.arange(24) % 3 == 0
    gene = np.where(
        control,
        "",
        np.array([f"G{index % 8}" for index in np.arange(24) // 3 * 2 + np.arange(24) % 3]),
    )
    effects = rng.normal(size=(8, 6)) * 3
    parts = []
    for _ in plates:
        noise = other.normal(size=(24, 6)) * 0.5 + other.normal(size=6) * 10
        noise[~control] += effects[[int(name[1:]) for name in gene[~control]]]
        parts.append(noise)
    return pl.DataFrame(
        {
            "plate": np.repeat(plates, 24),
            "well": [f"{'AB'[at // 12]}{at % 12 + 1:02d}" for at in range(24)] * len(plates),
            "batch": np.repeat([f"day{place // 2}" for place in range(len(plates))], 24),
            "gene": [name or None for name in gene] * len(plates),
            "control": control.tolist() * len(plates),
        }
    ).with_columns(pl.from_numpy(np.concatenate(parts), schema=FEATURES))


@pytest.fixture
def make_screen(tmp_path: Path) -> MakeScreen:
    """A function that writes the screen as a wells folder."""

    def make(name: str = "wells", **columns: pl.Expr | pl.Series) -> Path:
        write_wells(
            tmp_path / name, screen_table().with_columns(**columns), FEATURES, max_missing=None
        )
        return tmp_path / name

    return make


@pytest.fixture
def make_plates(tmp_path: Path):
    """A function that writes other plates of the same genes."""

    def make(name: str, plates: tuple[str, ...], seed: int = 1, **columns: pl.Expr) -> Path:
        table = screen_table(seed, plates).with_columns(**columns)
        write_wells(tmp_path / name, table, FEATURES)
        return tmp_path / name

    return make
