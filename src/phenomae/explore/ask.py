"""The commands `ask complexes` and `ask probe`, whose answers are tables and a figure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter

from phenomae.artefacts import read_identity
from phenomae.evaluation.questions.ask import Tables, answer, describe
from phenomae.evaluation.questions.block_search import find_blocks, probe_blocks
from phenomae.evaluation.questions.complexes import (
    ComplexSettings,
    compare_complexes,
    read_complexes,
    share_apart,
)
from phenomae.evaluation.questions.linear_probe import LinearProbeSettings
from phenomae.evaluation.settings import Several, check_seed
from phenomae.explore.figures.blocks import draw_blocks
from phenomae.explore.figures.complexes import choose_shown, draw_complexes
from phenomae.explore.figures.style import house_style, save
from phenomae.maps.read import read_map
from phenomae.print_table import read_written
from phenomae.progress import info
from phenomae.wells import KIND as WELLS


@Parameter(name="*")
@dataclass(frozen=True)
class ShownSettings:
    """Which complexes the heat map shows, and how chance is found."""

    show: Annotated[tuple[str, ...], Several] = ()
    """Names of complexes to draw; those that stand apart most if not given."""
    shuffle: int = 20
    """Repeat with shuffled names so often, to say how many complexes stand apart by chance."""
    seed: int = 0
    """Of the shuffles."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.shuffle < 0:
            raise ValueError(f"shuffle must be 0 or more, not {self.shuffle}")


def ask_complexes(
    map_path: Path,
    out: Path,
    /,
    *,
    settings: ComplexSettings,
    shown: ShownSettings = ShownSettings(),
    overwrite: bool = False,
) -> None:
    """Ask whether the genes of a complex are more alike to each other than to all others.

    Writes complexes.csv, a row a complex, apart.csv, the share that stands apart, which is printed,
    and a heat map of some complexes in the folder figures.

    Parameters
    ----------
    map_path
        Map by gene.
    out
        Folder to write.
    overwrite
        Replace `out` where it was made with other settings.

    Raises ValueError where the file of complexes does not do, or none has enough genes on the map.
    """
    genes = read_map(map_path)

    def make() -> Tables:
        table = compare_complexes(genes, map_path, settings)
        shares = share_apart(
            genes, table, map_path, settings, shuffles=shown.shuffle, seed=shown.seed
        )
        return {"complexes.csv": table, "apart.csv": shares}

    def draw(folder: Path, tables: Tables) -> None:
        members = read_complexes(settings.complexes)
        chosen = choose_shown(tables["complexes.csv"], members, genes.names, shown.show)
        with house_style():
            save(draw_complexes(genes, chosen), folder / "figures", "complexes")

    origin = describe("complexes", settings, {"map": genes.identity}, complexes=settings.complexes)
    origin.settings.update(show=list(shown.show), shuffle=shown.shuffle, seed=shown.seed)
    answer(out, origin, overwrite, make, printed="apart.csv", draw=draw)
    info(f"the heat map is {out / 'figures' / 'complexes.png'}")


def ask_probe(
    wells: Path,
    out: Path,
    /,
    *,
    settings: LinearProbeSettings = LinearProbeSettings(),
    overwrite: bool = False,
) -> None:
    """Ask a linear probe to tell perturbations apart on batches it has not seen, block by block.

    Writes blocks.csv, which is printed, and a figure in the folder figures. WELLS as
    `embed --block all` wrote them are probed block by block, and the best block is named.

    Parameters
    ----------
    wells
        Folder of wells, or of one such folder a block.
    out
        Folder to write.
    overwrite
        Replace `out` where it was made with other settings.

    Raises ValueError where the wells are of one batch, or fewer than two names can be told apart.
    """
    blocks = find_blocks(wells)
    sources = {
        "wells" if block is None else f"block {block}": read_identity(path, WELLS)
        for block, path in blocks.items()
    }

    def make() -> Tables:
        return {"blocks.csv": probe_blocks(wells, settings)}

    def draw(folder: Path, tables: Tables) -> None:
        if len(blocks) > 1:
            with house_style():
                save(draw_blocks(tables["blocks.csv"]), folder / "figures", "blocks")

    answer(
        out, describe("probe", settings, sources), overwrite, make, printed="blocks.csv", draw=draw
    )
    if len(blocks) > 1:
        best = read_written(out / "blocks.csv").filter(pl.col("best"))["block"][0]
        info(f"block {best} tells best: embed --block {best} takes its tokens")
