"""Compares the blocks of a network by a linear probe on the wells of each block.

The best block is often not the last (Kenyon-Dean et al. 2024, arXiv 2411.02572).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from phenomae.evaluation.questions.linear_probe import LinearProbeSettings, fit_probe
from phenomae.evaluation.questions.question import (
    Figure,
    Input,
    Question,
    Score,
    Tables,
    baseline_wells,
)
from phenomae.evaluation.questions.unit_scores import UnitScores, unit_scores
from phenomae.progress import tracked
from phenomae.signatures import read_identity
from phenomae.wells import KIND as WELLS
from phenomae.wells import Profiles, open_wells, read_wells

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


@dataclass(frozen=True)
class Blocks:
    """The wells folders of a network's blocks, or one wells folder as block None."""

    folders: dict[int | None, Path]
    identity: dict[str, str]
    """Identity of each wells folder, by the source name that the output records."""

    def read(self) -> Iterator[tuple[int | None, Path, Profiles]]:
        """Yield number, folder and profiles of each block, one at a time.

        All blocks together may not fit in memory. Raises ValueError if a block has other wells.
        """
        first: pl.DataFrame | None = None
        each: Iterable[tuple[int | None, Path]] = self.folders.items()
        if None not in self.folders:
            each = tracked(each, "linear probe", len(self.folders), "blocks")
        for block, path in each:
            profiles = read_wells(path)
            wells = profiles.table.select("plate", "well")
            first = wells if first is None else first
            # Accuracies on different wells would not be comparable.
            if not wells.equals(first):
                raise ValueError(
                    f"{path} has other wells than {next(iter(self.folders.values()))}: embed all "
                    "blocks again"
                )
            yield block, path, profiles


def find_blocks(folder: Path) -> dict[int | None, Path]:
    """Return the wells folder of every block that `embed --block all` wrote.

    A folder without blocks is returned as block None, because it should contain wells itself.
    Raises ValueError if a block is not finished.
    """
    # Without this error, an unfinished block would silently be missing from the comparison.
    if partial := sorted(folder.glob(f"{_NAME}*.partial")):
        raise ValueError(f"{partial[0]} is not finished: run embed again to complete it")
    found = {
        int(path.name.removeprefix(_NAME)): path
        for path in folder.glob(f"{_NAME}*")
        if path.is_dir() and path.name.removeprefix(_NAME).isdecimal()
    }
    return dict(sorted(found.items())) or {None: folder}


def read_blocks(folder: Path) -> Blocks:
    """Find the blocks of a folder and read their identities, but not their profiles."""
    folders = find_blocks(folder)
    return Blocks(
        folders,
        {
            "wells" if block is None else f"block {block}": read_identity(path, WELLS)
            for block, path in folders.items()
        },
    )


def probe_blocks(
    folder: Path,
    settings: LinearProbeSettings = LinearProbeSettings(),
) -> pl.DataFrame:
    """Compute the accuracy of the linear probe for each block on the same wells, one row per block.

    Columns: block (null if `folder` is itself a folder of wells), accuracy, sd, chance (means and
    standard deviation over folds), balanced (balanced accuracy over the wells of all folds), folds,
    best (true for the block with the highest accuracy).

    Raises ValueError if the blocks have different wells, and as `read_wells` and `probe_wells` do.
    """
    return predict_blocks(folder, settings)[0]


def predict_blocks(
    folder: Path, settings: LinearProbeSettings = LinearProbeSettings()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compute the rows of blocks.csv and of predictions.csv.

    predictions.csv has one row per block and validation well: block, fold, plate, well, name,
    predicted. Raises ValueError as `probe_blocks` does.
    """
    return _probe(Blocks(find_blocks(folder), {}).read(), settings)


def _probe(
    blocks: Iterable[tuple[int | None, Path, Profiles]], settings: LinearProbeSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of blocks.csv and of predictions.csv."""
    rows: list[tuple[int | float | None, ...]] = []
    predictions: list[pl.DataFrame] = []
    for block, path, profiles in blocks:
        # Folds are counted where blocks are not: a terminal has one bar at a time.
        probe = fit_probe(profiles, path, settings, show_progress=block is None)
        accuracies = probe.folds["accuracy"].to_numpy()
        spread = float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None
        chance = float(probe.folds["chance"].to_numpy().mean())
        scores = (float(accuracies.mean()), spread, probe.balanced, chance)
        rows.append((block, *scores, len(accuracies), False))
        number = pl.lit(block, pl.Int64()).alias("block")
        predictions.append(probe.predictions.select(number, pl.all()))
    table = pl.DataFrame(rows, schema=BLOCKS, orient="row")
    # argmax takes the first of several blocks with the same accuracy.
    best = int(table["accuracy"].to_numpy().argmax())
    marked = table.with_columns(best=pl.Series(np.arange(len(table)) == best))
    return marked, pl.concat(predictions)


def _tables(wells: Blocks | Profiles, path: Path, settings: LinearProbeSettings) -> Tables:
    # A baseline is one folder of wells, whose profiles are in the order of the first input.
    blocks = [(None, path, wells)] if isinstance(wells, Profiles) else wells.read()
    table, predictions = _probe(blocks, settings)
    return {"blocks.csv": table, "predictions.csv": predictions}


def _units(tables: Tables, settings: LinearProbeSettings) -> dict[tuple[str, ...], UnitScores]:
    """Return the wells that are classified correctly per name, each fold with the same weight."""
    share = 1 / pl.len().over("fold")
    right = pl.col("name") == pl.col("predicted")
    shares = tables["predictions.csv"].with_columns(share=share, right=right * share)
    return {(): unit_scores(shares, "name", total=pl.col("right"), weight=pl.col("share"))}


def _table_of(blocks: Blocks, folder: Path) -> pl.DataFrame:
    """Return the table of the wells that baselines must have; raises ValueError for many blocks."""
    if len(blocks.folders) > 1:
        raise ValueError(
            f"{folder} has {len(blocks.folders)} blocks, but baselines are compared with one: give "
            f"a block, like {list(blocks.folders.values())[-1]}"
        )
    return open_wells(next(iter(blocks.folders.values()))).table


def _conclude(blocks: pl.DataFrame) -> str | None:
    if len(blocks) == 1:
        return None
    best = blocks.filter(pl.col("best"))["block"][0]
    return f"block {best} has the highest accuracy: use embed --block {best}"


QUESTION = Question(
    name="probe",
    help="""Does a linear probe classify perturbations on unseen batches, and from which block best?

    Writes blocks.csv, which is printed, predictions.csv, and a figure in the folder figures. For
    the output of `embed --block all`, every block is probed and the best block is printed. Raises
    ValueError if all wells are of one batch (or plate, or compound, as --leave-out says), or fewer
    than two names can be classified.
    """,
    takes=(
        Input(
            "wells",
            "Folder of wells, or output of `embed --block all`.",
            read_blocks,
            baseline_wells(_table_of),
        ),
    ),
    settings=LinearProbeSettings,
    tables=_tables,
    printed="blocks.csv",
    files=("mechanisms",),
    figure=Figure("blocks", "phenomae.reporting.figures.blocks:draw_answer"),
    conclude=_conclude,
    # Baselines are compared with one block, which is the best of one.
    score=Score("accuracy", _units, drop=("block", "best")),
)
