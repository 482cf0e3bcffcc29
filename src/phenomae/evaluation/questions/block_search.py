"""Which block of a network tells perturbations apart best: the linear probe on each one's wells.

Kenyon-Dean et al. 2024 (arXiv 2411.02572): often it is not the last.
"""

from pathlib import Path

import numpy as np
import polars as pl

from phenomae.evaluation.questions.linear_probe import LinearProbeSettings, probe_wells
from phenomae.progress import tracked
from phenomae.wells import read_wells

BLOCKS: dict[str, pl.DataType] = {
    "block": pl.Int64(),
    "accuracy": pl.Float64(),
    "sd": pl.Float64(),
    "balanced": pl.Float64(),
    "chance": pl.Float64(),
    "folds": pl.Int64(),
    "best": pl.Boolean(),
}
_NAME = "block-"


def find_blocks(folder: Path) -> dict[int | None, Path]:
    """Return the wells of every block that `embed --block all` wrote, or `folder` as block None.

    Raises ValueError where some are not finished.
    """
    if partial := sorted(folder.glob(f"{_NAME}*.partial")):
        raise ValueError(f"{partial[0]} is not finished: run embed again, it goes on from there")
    found = {
        int(path.name.removeprefix(_NAME)): path
        for path in folder.glob(f"{_NAME}*")
        if path.is_dir() and path.name.removeprefix(_NAME).isdecimal()
    }
    return dict(sorted(found.items())) or {None: folder}


def probe_blocks(
    folder: Path,
    settings: LinearProbeSettings = LinearProbeSettings(),
) -> pl.DataFrame:
    """Return how well the linear probe does on each block, the same wells of each; a row a block.

    Columns: block (empty where `folder` holds one set of wells), accuracy, sd, balanced, chance
    (means and spread over the parts held out), folds, best (the block of the highest accuracy).

    Raises ValueError where blocks are not of the same wells, or as `read_wells` and `probe_wells`.
    """
    blocks = find_blocks(folder)
    first: pl.DataFrame | None = None
    rows: list[tuple[int | float | None, ...]] = []
    for block, path in tracked(blocks.items(), "linear probe", len(blocks), "blocks"):
        screen = read_wells(path)
        places = screen.table.select("plate", "well")
        first = places if first is None else first
        if not places.equals(first):
            raise ValueError(
                f"{path} has other wells than {next(iter(blocks.values()))}: embed all blocks anew"
            )
        folds = probe_wells(screen, path, settings)
        spread = float(np.std(folds["accuracy"].to_numpy(), ddof=1)) if len(folds) > 1 else None
        means = [
            float(folds[name].to_numpy().mean()) for name in ("accuracy", "balanced", "chance")
        ]
        rows.append((block, means[0], spread, *means[1:], len(folds), False))
    table = pl.DataFrame(rows, schema=BLOCKS, orient="row")
    best = int(table["accuracy"].to_numpy().argmax())
    return table.with_columns(best=pl.Series(np.arange(len(table)) == best))
