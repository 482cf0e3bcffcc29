"""The command `neighbors`: which names of a map are most alike, most opposite, and how surely."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from cyclopts import Parameter

from phenomae import checks
from phenomae.artefacts import artefact_folder
from phenomae.evaluation.annotations import hash_annotations, read_annotations
from phenomae.evaluation.neighbors.finder import (
    EFFECTS,
    SIDES,
    NeighborFinder,
    describe_row,
    find_rows,
)
from phenomae.evaluation.neighbors.partners import list_partners
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.outputs import TableOutput
from phenomae.paths import PathLike
from phenomae.print_table import show
from phenomae.progress import count_of, info
from phenomae.signatures import Origin, read_verified
from phenomae.wells import open_wells
from phenomae.whole_files import write_bytes

KIND = "neighbors"
TABLE = "neighbors.parquet"
_MAX_PARTNERS = 20  # that are printed for a name: some have hundreds


class Neighbors(TableOutput):
    """A folder with the neighbors of all names of a map, as `neighbors --all` writes it."""

    def to_polars(self) -> pl.DataFrame:
        """Return one row per name, side and rank; see `neighbors`."""
        read_verified(self.path, KIND, (TABLE,))
        return pl.read_parquet(self.path / TABLE, glob=False)

    def counts(self) -> str:
        """Return the numbers of names and pairs."""
        table = self.to_polars()
        return f"{count_of(table['name'].n_unique(), 'name')}, {count_of(len(table), 'pair')}"


@Parameter(name="*")
@dataclass(frozen=True)
class NeighborsSettings:
    """How many neighbors are listed, and what is said of them."""

    k: int = 20
    """Number of the nearest names, and of the farthest, of each name."""
    wells: PathLike | None = None
    """The wells that the map was made from: p-values are then those among averages of control
    wells, and wells, plates, guides and their agreement, consistency and magnitude of both names
    are listed."""
    annotations: PathLike | None = None
    """File of known pairs, or folder of such files: the column `known` names the sources that have
    a pair."""
    draws: int = 1000
    """Number of averages of control wells, or of other names, that p-values are computed from."""
    seed: int = 0
    """Seed of these draws."""

    def __post_init__(self) -> None:
        """Raise ValueError, naming the setting, if a value is outside its range."""
        checks.whole_numbers(self)
        checks.at_least("k", self.k, 1)
        checks.at_least("draws", self.draws, 1)
        checks.at_least("seed", self.seed, 0)


def neighbors(
    map_path: PathLike,
    /,
    *names: str,
    out: Annotated[PathLike | None, Parameter(name="--all")] = None,
    settings: NeighborsSettings = NeighborsSettings(),
    overwrite: bool = False,
) -> pl.DataFrame | Neighbors:
    """List the names that are nearest to names of a map, and the farthest.

    Prints a table for each name. Cosines are exact and of all features of the map. With
    `annotations` it also prints the known partners of the name that are not among the nearest.

    Parameters
    ----------
    map_path
        An .h5ad file written by `map`, or any other AnnData file with one row per name.
    names
        Genes or other names of the map.
    out
        Folder to write with the neighbors of all names, instead of some names.
    overwrite
        Replace `out` if it was made with other settings.

    Returns
    -------
    A table with the columns name, side (nearest or farthest), rank, neighbor, cosine, p (the share
    of profiles without effect whose neighbor of this rank is as near), fdr (Benjamini & Hochberg
    1995, over all pairs listed), known (sources that have the pair); with `wells` also wells,
    plates, guides and guide_agreement (mean cosine of the mean profiles of the guides; both left
    out where wells have no guide), consistency and magnitude, and neighbor_wells and so on. With
    `out` that folder.

    Raises
    ------
    ValueError
        If the map, the wells or the annotations cannot be used, a name is not on the map, or
        neither names nor `out` are given, or both.
    """
    path = Path(map_path)
    profiles = read_map(path)
    if bool(names) == (out is not None):
        raise ValueError(
            "give names of the map, or a folder for all of them (out, on the command line --all)"
        )
    if out is None:
        rows = find_rows(names, profiles, path)
        finder = _finder(path, profiles, settings)
        table = finder.list_neighbors(rows)
        for row in rows.tolist():
            listed = table.filter(name=finder.names[row])
            _print(listed)
            if settings.annotations is not None:
                _print_partners(finder, row, listed)
        return table
    sources = {"map": profiles.identity}
    origin = Origin(KIND, _recorded(settings), sources | _hash_files(settings))
    with artefact_folder(Path(out), origin, overwrite, resume=False) as folder:
        if folder is not None:
            rows = np.arange(len(profiles.names))
            table = _finder(path, profiles, settings).list_neighbors(rows)
            buffer = io.BytesIO()
            table.write_parquet(buffer)
            write_bytes(folder / TABLE, buffer.getvalue())
            _summarize(table)
    return Neighbors(Path(out))


def _recorded(settings: NeighborsSettings) -> dict[str, object]:
    return {"k": settings.k, "draws": settings.draws, "seed": settings.seed}


def _hash_files(settings: NeighborsSettings) -> dict[str, str]:
    sources = {}
    if settings.wells is not None:
        sources["wells"] = open_wells(Path(settings.wells)).identity
    if settings.annotations is not None:
        sources["annotations"] = hash_annotations(read_annotations(settings.annotations))
    return sources


def _finder(path: Path, profiles: ConsensusProfiles, settings: NeighborsSettings) -> NeighborFinder:
    return NeighborFinder.open(
        path,
        profiles,
        wells=settings.wells,
        annotations=settings.annotations,
        k=settings.k,
        draws=settings.draws,
        seed=settings.seed,
    )


def _print(table: pl.DataFrame) -> None:
    for (name, side), part in table.partition_by("name", "side", as_dict=True).items():
        shown = ["rank", "neighbor", "cosine", "p", "fdr"]
        if part["known"].count():
            shown.append("known")
        print(f"{side} {'to' if side == SIDES[0] else 'from'} {name}{describe_row(part)}")
        renamed = [f"neighbor_{column}" for column in EFFECTS if column in part.columns]
        its = part.select(*shown, *renamed)
        show(its.rename({column: column.removeprefix("neighbor_") for column in renamed}))
        print()


def _print_partners(finder: NeighborFinder, row: int, listed: pl.DataFrame) -> None:
    """Print how many known partners of a name are among the nearest, and where the others are."""
    name = finder.names[row]
    partners = list_partners(finder, row, listed)
    if partners.is_empty():
        print(f"no known partner of {name} is on the map\n")
        return
    others = partners.filter(pl.col("rank") > finder.k)
    near = len(partners) - len(others)
    print(
        f"{name} has {count_of(len(partners), 'known partner')} on the map, {near} among its "
        f"{finder.k} nearest{'; the others, by rank among all names:' if len(others) else ''}"
    )
    if len(others):
        show(others.head(_MAX_PARTNERS).select("rank", "partner", "cosine", "known"))
    if len(others) > _MAX_PARTNERS:
        print(f"and {len(others) - _MAX_PARTNERS} more")
    print()


def _summarize(table: pl.DataFrame) -> None:
    sure = table.filter(pl.col("fdr") <= 0.05)
    info(
        f"{len(sure)} of {count_of(len(table), 'pair')} have a false discovery rate of at most "
        f".05, of {sure['name'].n_unique()} of {count_of(table['name'].n_unique(), 'name')}"
    )
