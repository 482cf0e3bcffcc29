"""A small screen with planted effects, for the tests of this room."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae.records import feature_names
from phenomae.wells import write_wells

MakeScreen = Callable[..., Path]


def draw_table(seed: int = 0) -> pl.DataFrame:
    """Return 4 plates of 20 wells: genes `strong` and `weak` do something, `none0` to `none3` not.

    Each gene has 2 wells a plate, of two guides; `lone` has one well in all; 7 or 8 wells a plate
    are controls.
    """
    rng = np.random.default_rng(seed)
    genes = ["strong", "weak", "none0", "none1", "none2", "none3"]
    effects = {"strong": 5 * np.eye(5)[0], "weak": 3 * np.eye(5)[1]}
    parts = []
    for plate in range(4):
        names = [*genes, *genes, "lone" if plate == 0 else "NTC", *["NTC"] * 7]
        shift = rng.normal(size=5)
        for place, name in enumerate(names):
            vector = rng.normal(size=5) + 0.5 * shift + effects.get(name, 0)
            parts.append(
                {
                    "plate": f"P{plate + 1}",
                    "well": f"A{place + 1:02d}",
                    "gene": name,
                    "guide": f"{name}_{place // 6}",
                    "control": name == "NTC",
                    **{f"feature_{index:04d}": value for index, value in enumerate(vector)},
                }
            )
    return pl.DataFrame(parts)


@pytest.fixture
def make_screen(tmp_path: Path) -> MakeScreen:
    """A function that writes the screen, its columns changed as asked, and returns its folder."""

    def make(name: str = "screen", **columns: pl.Expr) -> Path:
        folder = tmp_path / name
        write_wells(folder, draw_table().with_columns(**columns), feature_names(5))
        return folder

    return make
