"""Lists the nearest and the farthest rows of a map, again and again without reading it anew."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64, Int

from phenomae.evaluation.annotations import Annotation, pairs_on_map, read_annotations
from phenomae.evaluation.false_discovery import false_discovery_rates
from phenomae.evaluation.neighbors.nulls import RowNull, p_of_controls
from phenomae.evaluation.neighbors.well_effects import MapWells
from phenomae.evaluation.tier_wells import read_wells_of_map
from phenomae.maps.nearest import Unit, compare_all, highest_cosines
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_map
from phenomae.paths import PathLike
from phenomae.progress import count_of

SIDES = ("nearest", "farthest")
EFFECTS = ("wells", "plates", "guides", "guide_agreement", "consistency", "magnitude")
"""Columns of `well_effects.MapWells.effects`, and with `neighbor_` before them. Those of guides are
left out where wells have none."""


def find_rows(
    names: Sequence[str], profiles: ConsensusProfiles, path: Path
) -> Int[np.ndarray, " q"]:
    """Return the rows of names; raises ValueError, with the closest, if one is not on the map."""
    rows = {name: row for row, name in enumerate(profiles.names)}
    for name in names:
        if name not in rows:
            lower = {known.lower(): known for known in reversed(profiles.names)}
            close = difflib.get_close_matches(name.lower(), lower, n=3)
            hint = f": did you mean {' or '.join(lower[one] for one in close)}?" if close else ""
            raise ValueError(f"{path} has no name {name!r}{hint}")
    return np.array([rows[name] for name in dict.fromkeys(names)])


def require_three(profiles: ConsensusProfiles, path: Path) -> None:
    """Raise ValueError if a map has fewer than three rows."""
    if len(profiles.names) < 3:
        raise ValueError(f"{path} has {count_of(len(profiles.names), 'row')}: neighbors need 3")


@dataclass(frozen=True)
class NeighborFinder:
    """A map in memory, with what is said of its neighbors; see `neighbors.neighbors`."""

    names: list[str]
    unit: Unit
    """The profiles of the map, of length 1."""
    annotations: Sequence[Annotation]
    wells: MapWells | None
    k: int
    draws: int = 1000
    seed: int = 0

    @classmethod
    def open(
        cls,
        path: Path,
        profiles: ConsensusProfiles,
        *,
        wells: PathLike | None = None,
        annotations: PathLike | None = None,
        k: int = 20,
        draws: int = 1000,
        seed: int = 0,
    ) -> "NeighborFinder":
        """Read wells and known pairs; raises ValueError if they or the map cannot be used."""
        require_three(profiles, path)
        unit = unit_map(profiles, path)
        known = [] if annotations is None else read_annotations(annotations)
        of_map = None
        if wells is not None:
            of_map = MapWells.read(read_wells_of_map(wells, path, profiles.names, ()))
        return cls(profiles.names, unit, known, of_map, min(k, len(unit) - 1), draws, seed)

    def list_neighbors(self, queries: Int[np.ndarray, " q"]) -> pl.DataFrame:
        """Return the table of `neighbors` for some rows of the map."""
        (near, cosines), (far, opposite) = self.search(queries)
        both = (cosines, opposite)
        if self.wells is None:
            p = self._row_null.p_values(queries, both)
        else:
            controls = self.wells.controls
            p = p_of_controls(controls, self.unit, queries, both, self.draws, self.seed)
        ids, values = np.stack([near, far], 1), np.stack([cosines, -opposite], 1)
        table = _pairs(self.names, queries, ids, values, np.stack(p, 1))
        table = table.with_columns(
            known=self.name_sources(table["row"].to_numpy(), table["neighbor_row"].to_numpy())
        )
        if self.wells is not None:
            effects = self.wells.effects(np.unique(np.append(queries, ids)), self.seed)
            table = _add_effects(table, effects)
        return table.drop("row", "neighbor_row")

    def search(
        self, queries: Int[np.ndarray, " q"]
    ) -> list[tuple[Int[np.ndarray, "q k"], Float64[np.ndarray, "q k"]]]:
        """Return rows and cosines of the nearest, and rows and negative cosines of the farthest."""
        if np.array_equal(queries, np.arange(len(self.unit))):
            return compare_all(self.unit, self.k)
        profiles = self.unit[queries]
        return [highest_cosines(sign * profiles, self.unit, self.k, queries) for sign in (1, -1)]

    @cached_property
    def _row_null(self) -> RowNull:
        return RowNull.draw(self.unit, self.k, self.draws, self.seed)

    @cached_property
    def _known(self) -> list[Int[np.ndarray, " pairs"]]:
        """Pairs of rows of each source as one number, lower row x rows + higher row, sorted."""
        pairs = [pairs_on_map(annotation, self.names) for annotation in self.annotations]
        return [each[:, 0] * len(self.names) + each[:, 1] for each in pairs]

    def partners_of(self, row: int) -> Int[np.ndarray, " partners"]:
        """Return the rows that any source has a pair of with a row, in the order of the map."""
        found = [np.empty(0, dtype=np.int64)]
        for known in self._known:
            low, high = np.divmod(known, len(self.names))
            found += [high[low == row], low[high == row]]
        return np.unique(np.concatenate(found))

    def name_sources(
        self, rows: Int[np.ndarray, " pairs"], others: Int[np.ndarray, " pairs"]
    ) -> pl.Series:
        """Return the sources that have each pair, joined by ` | `; null where none has it."""
        pairs = np.minimum(rows, others) * len(self.names) + np.maximum(rows, others)
        found: dict[int, str] = {}
        for annotation, known in zip(self.annotations, self._known, strict=True):
            # Not np.isin, which goes through all known pairs each time.
            places = np.searchsorted(known, pairs)
            inside = places < len(known)
            inside[inside] = known[places[inside]] == pairs[inside]
            for index in np.flatnonzero(inside).tolist():
                before = found.get(index)
                name = annotation.name
                found[index] = name if before is None else f"{before} | {name}"
        return pl.Series([found.get(index) for index in range(len(pairs))], dtype=pl.String)


def _pairs(
    names: Sequence[str],
    queries: Int[np.ndarray, " q"],
    ids: Int[np.ndarray, "q sides k"],
    cosines: Float64[np.ndarray, "q sides k"],
    p: Float64[np.ndarray, "q sides k"],
) -> pl.DataFrame:
    """Return one row per name, side and rank, with the false discovery rate."""
    count, sides, k = ids.shape
    named = np.array(names, dtype=object)
    rows, others, of_pairs = queries.repeat(sides * k), ids.ravel(), p.ravel()
    fdr, tested = np.full(len(of_pairs), np.nan), ~np.isnan(of_pairs)
    if tested.any():
        fdr[tested] = false_discovery_rates(of_pairs[tested])
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


def _add_effects(table: pl.DataFrame, effects: pl.DataFrame) -> pl.DataFrame:
    both = table.join(effects, on="row", how="left", maintain_order="left")
    renamed = effects.rename(lambda name: f"neighbor_{name}")
    return both.join(renamed, on="neighbor_row", how="left", maintain_order="left")


def describe_row(part: pl.DataFrame) -> str:
    """Return wells and effect of the name that a table is of, if they are known."""
    if "wells" not in part.columns:
        return ""
    own = {name: part[name][0] for name in EFFECTS if name in part.columns}
    parts = [f"{count_of(own['wells'], 'well')} on {count_of(own['plates'], 'plate')}"]
    if own.get("guides"):
        agree = own["guide_agreement"]
        agreement = "" if agree is None else f" with agreement {agree:.3f}"
        parts.append(f"{count_of(own['guides'], 'guide')}{agreement}")
    if own["consistency"] is not None:
        parts += [f"consistency {own['consistency']:.3f}", f"magnitude {own['magnitude']:.3g}"]
    return f" ({', '.join(parts)})"
