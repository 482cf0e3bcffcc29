"""The command `neighbors`: which names of a map are most alike, most opposite, and how surely."""

import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64, Int

from phenomae import checks
from phenomae.artefacts import artefact_folder
from phenomae.evaluation.annotations import Annotation, pairs_on_map, read_annotations
from phenomae.evaluation.neighbors.nulls import p_of_controls, p_of_rows
from phenomae.evaluation.neighbors.well_effects import MapWells
from phenomae.evaluation.recall.nearest import compare_all, highest_cosines
from phenomae.evaluation.tier_wells import read_wells_of_map
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.maps.unit_vectors import unit_map
from phenomae.outputs import TableOutput
from phenomae.paths import PathLike
from phenomae.print_table import show
from phenomae.progress import count_of, info
from phenomae.signatures import Origin, read_verified
from phenomae.wells import open_wells
from phenomae.whole_files import hash_json, write_bytes

KIND = "neighbors"
TABLE = "neighbors.parquet"
SIDES = ("nearest", "farthest")
EFFECTS = ("wells", "plates", "consistency", "magnitude")
"""Columns of `well_effects.MapWells.effects`, and with `neighbor_` before them."""


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
    wells, and wells, plates, consistency and magnitude of both names are listed."""
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

    Prints a table for each name. Cosines are exact and of all features of the map.

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
    plates, consistency and magnitude, and neighbor_wells and so on. With `out` that folder.

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
        table = _list_neighbors(path, profiles, _find(names, profiles, path), settings)
        _print(table)
        return table
    sources = {"map": profiles.identity}
    origin = Origin(KIND, _recorded(settings), sources | _hash_files(settings))
    with artefact_folder(Path(out), origin, overwrite, resume=False) as folder:
        if folder is not None:
            rows = np.arange(len(profiles.names))
            table = _list_neighbors(path, profiles, rows, settings)
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
        found = read_annotations(settings.annotations)
        sources["annotations"] = hash_json([[each.name, each.checksum] for each in found])
    return sources


def _find(names: Sequence[str], profiles: ConsensusProfiles, path: Path) -> Int[np.ndarray, " q"]:
    """Return the rows of names; raises ValueError, with the closest, if one is not on the map."""
    rows = {name: row for row, name in enumerate(profiles.names)}
    for name in names:
        if name not in rows:
            lower = {known.lower(): known for known in reversed(profiles.names)}
            close = difflib.get_close_matches(name.lower(), lower, n=3)
            hint = f": did you mean {' or '.join(lower[one] for one in close)}?" if close else ""
            raise ValueError(f"{path} has no name {name!r}{hint}")
    return np.array([rows[name] for name in dict.fromkeys(names)])


def _list_neighbors(
    path: Path,
    profiles: ConsensusProfiles,
    asked: Int[np.ndarray, " q"],
    settings: NeighborsSettings,
) -> pl.DataFrame:
    """Return the table of `neighbors` for some rows of the map."""
    if len(profiles.names) < 3:
        raise ValueError(f"{path} has {count_of(len(profiles.names), 'row')}: neighbors need 3")
    unit = unit_map(profiles, path)
    wells = None
    if settings.wells is not None:
        wells = MapWells.read(read_wells_of_map(settings.wells, path, profiles.names, ()))
    annotations = [] if settings.annotations is None else read_annotations(settings.annotations)
    k = min(settings.k, len(unit) - 1)
    (near, cosines), (far, opposite) = (
        compare_all(unit, k)
        if np.array_equal(asked, np.arange(len(unit)))
        else [highest_cosines(sign * unit[asked], unit, k, asked) for sign in (1, -1)]
    )
    both, draws, seed = (cosines, opposite), settings.draws, settings.seed
    if wells is None:
        p = p_of_rows(unit, asked, both, draws, seed)
    else:
        p = p_of_controls(wells.controls(), unit, asked, both, draws, seed)
    ids, values = np.stack([near, far], 1), np.stack([cosines, -opposite], 1)
    table = _pairs(profiles.names, asked, ids, values, np.stack(p, 1))
    table = table.with_columns(known=_sources(annotations, profiles.names, table))
    if wells is not None:
        table = _add_effects(table, wells.effects(np.unique(np.append(asked, ids)), seed))
    return table.drop("row", "neighbor_row")


def _pairs(
    names: Sequence[str],
    asked: Int[np.ndarray, " q"],
    ids: Int[np.ndarray, "q sides k"],
    cosines: Float64[np.ndarray, "q sides k"],
    p: Float64[np.ndarray, "q sides k"],
) -> pl.DataFrame:
    """Return one row per name, side and rank, with the false discovery rate."""
    from scipy.stats import false_discovery_control  # imported here: .6 s would delay --help

    count, sides, k = ids.shape
    named = np.array(names, dtype=object)
    rows, others, of_pairs = asked.repeat(sides * k), ids.ravel(), p.ravel()
    fdr, tested = np.full(len(of_pairs), np.nan), ~np.isnan(of_pairs)
    if tested.any():
        fdr[tested] = false_discovery_control(of_pairs[tested])
    columns = {
        "name": pl.Series(named[rows], dtype=pl.String),
        "side": np.tile(np.repeat(SIDES, k), count).tolist(),
        "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), count * sides),
        "neighbor": pl.Series(named[others], dtype=pl.String),
        "cosine": cosines.ravel(),
        "p": of_pairs,
        "fdr": fdr,
        "row": rows,
        "neighbor_row": others,
    }
    return pl.DataFrame(columns, nan_to_null=True)


def _sources(annotations: Sequence[Annotation], names: list[str], table: pl.DataFrame) -> pl.Series:
    """Return the sources that have each pair, joined by ` | `; null where none has it."""
    low = table.select(pl.min_horizontal("row", "neighbor_row")).to_series().to_numpy()
    high = table.select(pl.max_horizontal("row", "neighbor_row")).to_series().to_numpy()
    found: dict[int, str] = {}
    for annotation in annotations:
        pairs = pairs_on_map(annotation, names)
        known = pairs[:, 0] * len(names) + pairs[:, 1]
        for index in np.flatnonzero(np.isin(low * len(names) + high, known)).tolist():
            before = found.get(index)
            found[index] = annotation.name if before is None else f"{before} | {annotation.name}"
    return pl.Series([found.get(index) for index in range(len(table))], dtype=pl.String)


def _add_effects(table: pl.DataFrame, effects: pl.DataFrame) -> pl.DataFrame:
    both = table.join(effects, on="row", how="left", maintain_order="left")
    renamed = effects.rename(lambda name: f"neighbor_{name}")
    return both.join(renamed, on="neighbor_row", how="left", maintain_order="left")


def _print(table: pl.DataFrame) -> None:
    for (name, side), part in table.partition_by("name", "side", as_dict=True).items():
        shown = ["rank", "neighbor", "cosine", "p", "fdr"]
        if part["known"].count():
            shown.append("known")
        print(f"{side} {'to' if side == SIDES[0] else 'from'} {name}{_describe(part)}")
        renamed = [f"neighbor_{column}" for column in EFFECTS if column in part.columns]
        its = part.select(*shown, *renamed)
        show(its.rename({column: column.removeprefix("neighbor_") for column in renamed}))
        print()


def _describe(part: pl.DataFrame) -> str:
    """Return wells and effect of the name that a table is of, if they are known."""
    if "wells" not in part.columns:
        return ""
    wells, plates, consistency, magnitude = part.select(EFFECTS).row(0)
    parts = [f"{count_of(wells, 'well')} on {count_of(plates, 'plate')}"]
    if consistency is not None:
        parts += [f"consistency {consistency:.3f}", f"magnitude {magnitude:.3g}"]
    return f" ({', '.join(parts)})"


def _summarize(table: pl.DataFrame) -> None:
    sure = table.filter(pl.col("fdr") <= 0.05)
    info(
        f"{len(sure)} of {count_of(len(table), 'pair')} have a false discovery rate of at most "
        f".05, of {sure['name'].n_unique()} of {count_of(table['name'].n_unique(), 'name')}"
    )
