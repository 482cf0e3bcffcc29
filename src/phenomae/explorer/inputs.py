"""What the app shows: the map and what is given with it, read once and shared by all pages."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, Int

from phenomae.blas import one_blas_thread
from phenomae.evaluation.known_pairs import MapPairs
from phenomae.evaluation.neighbors.finder import NeighborFinder, require_three
from phenomae.explorer.other_map import SharedNames
from phenomae.explorer.search import SearchIndex
from phenomae.maps.export_source import FOREIGN, rows_of_map
from phenomae.maps.fields_of_rows import name_fields
from phenomae.maps.read import read_map
from phenomae.maps.unit_vectors import require_directions
from phenomae.paths import PathLike
from phenomae.progress import count_of
from phenomae.reporting.evidence.on_map import Beside, OnMap, add_corrections, read_on_map
from phenomae.reporting.evidence.upstream import find_upstream
from phenomae.store.read import Store
from phenomae.tokens import TokenFiles, open_tokens
from phenomae.urls import Location

NO_STORE = "Images need the store that the wells were embedded from: give it with --store."
NO_WELLS = "This needs the wells that the map was made from: give them with --wells."
NO_ANNOTATIONS = "This needs known pairs: give a file or folder of them with --annotations."


_NEW_PAIRS = 100
_REMEMBERED = 100  # rows
Found = tuple[Int[np.ndarray, "1 k"], Float64[np.ndarray, "1 k"]]


class Reconstructor(Protocol):
    """A network that reconstructs crops of a store; see `probes.reconstruct`."""

    @property
    def side(self) -> int:
        """Side of a crop in pixels of the store."""
        ...

    def draw(self, field: int, top: int, left: int) -> bytes:
        """Return a PNG of a crop and its reconstruction."""
        ...


@dataclass(frozen=True)
class Layout:
    """A point in a plane for each row of a map."""

    points: Float32[np.ndarray, "g 2"]
    description: str


@dataclass(frozen=True)
class Inputs:
    """A map, and what is given with it."""

    on_map: OnMap
    finder: NeighborFinder
    other: SharedNames | None
    """Another map, to compare with."""
    tokens: TokenFiles | None
    """A vector for each crop of the store."""
    reconstructor: Reconstructor | None
    """A network that reconstructs crops of the store."""
    _found: dict[int, list[Found]] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    """Held while the pairs are computed."""

    @classmethod
    def open(
        cls,
        map_path: Path,
        *,
        store: Location | None = None,
        wells: PathLike | None = None,
        annotations: PathLike | None = None,
        clusters: PathLike | None = None,
        compare: PathLike | None = None,
        tokens: PathLike | None = None,
        make_reconstructor: Callable[[Store], Reconstructor] | None = None,
        k: int = 20,
    ) -> "Inputs":
        """Read all inputs; raises ValueError if one cannot be used, or is not of this map."""
        profiles = read_map(map_path)
        require_three(profiles, map_path)
        require_directions(profiles, map_path)
        given = (None if path is None else Path(path) for path in (annotations, clusters))
        beside = Beside(None if wells is None else Path(wells), store, *given)
        on_map = replace(read_on_map(map_path, profiles, beside), new_pairs=_NEW_PAIRS)
        if on_map.wells is not None and on_map.store is not None:
            on_map = add_corrections(on_map, find_upstream(on_map.records, beside.places))
        k = min(k, len(profiles.names) - 1)
        finder = NeighborFinder(profiles.names, on_map.unit, on_map.annotations, on_map.wells, k)
        other = None
        if compare is not None:
            compare = Path(compare)
            other = SharedNames.of(profiles.names, finder.unit, compare, read_map(compare))
        network = None
        if on_map.store is not None and make_reconstructor is not None:
            network = make_reconstructor(on_map.store)
        return cls(on_map, finder, other, _open_tokens(tokens, on_map.store), network)

    def prepare(self) -> None:
        """Compute what every page needs; raises ValueError if the store has no field of the map."""
        assert self.search is not None
        assert self.layout is not None
        _ = self.on_map.cells

    def warm_up(self) -> None:
        """Compute what the first search would wait for."""
        self.finder.list_neighbors(np.zeros(1, dtype=np.int64))

    def neighbors(self, row: int) -> list[Found]:
        """Return rows and cosines of the nearest, and rows and negative cosines of the farthest.

        Several parts of a page ask for those of the same row.
        """
        found = self._found.get(row)
        if found is None:
            found = self.finder.search(np.array([row]))
            if len(self._found) > _REMEMBERED:
                self._found.clear()
            self._found[row] = found
        return found

    @property
    def path(self) -> Path:
        return self.on_map.path

    @property
    def names(self) -> list[str]:
        return self.on_map.profiles.names

    @property
    def clusters(self) -> list[int] | None:
        """Cluster of each row of the map, 0 for the largest; None if they were not given."""
        return None if self.on_map.clusters is None else self.on_map.clusters.labels

    @cached_property
    def rows_are(self) -> str:
        """What a row of the map is, like `gene`; `name` if the map does not record it."""
        return str((self.on_map.profiles.signature or {}).get("settings", {}).get("by", FOREIGN))

    @property
    def about(self) -> str:
        """The numbers of rows, features, wells and fields."""
        rows, width = self.on_map.profiles.features.shape
        parts = [f"{count_of(rows, 'row')} ({self.rows_are}), {count_of(width, 'feature')}"]
        if self.wells is not None:
            parts.append(count_of(len(self.wells), "well"))
        if self.on_map.store is not None:
            parts.append(count_of(len(self.on_map.store.fields), "field"))
        return "; ".join(parts)

    @cached_property
    def wells(self) -> pl.DataFrame | None:
        """One row per well: `name`, plate, well and labels; None without wells and store."""
        if self.finder.wells is not None:
            of_map = self.finder.wells.of_map
            named = pl.Series("name", [*self.names, None], dtype=pl.String)
            return of_map.files.table.with_columns(name=named.gather(of_map.genes % (len(named))))
        if self.on_map.store is None:
            return None
        fields = name_fields(rows_of_map(self.path, self.on_map.profiles), self.on_map.store)
        return fields.unique(["plate", "well"], keep="first", maintain_order=True)

    @property
    def pairs(self) -> MapPairs:
        """The known pairs, found or missed, and the highest other pairs.

        They take seconds, and are computed once, also if several pages ask at the same time.
        """
        with self._lock:
            return self.on_map.pairs

    @cached_property
    def search(self) -> SearchIndex:
        return SearchIndex.build(self.names, self.wells)

    @cached_property
    def layout(self) -> Layout:
        """The layout of the map; without one, its first two principal components."""
        points = self.on_map.profiles.layout
        if points is not None:
            return Layout(points, "UMAP of the map")
        return Layout(
            principal_components(self.finder.unit),
            "first two principal components (phenomae layout adds a UMAP to the map)",
        )


def _open_tokens(folder: PathLike | None, store: Store | None) -> TokenFiles | None:
    """Open tokens; raises ValueError if they are those of another store."""
    if folder is None:
        return None
    tokens = open_tokens(folder)
    if store is not None and tokens.sources.get("store") != store.identity:
        raise ValueError(
            f"{folder} has tokens of another store than {store.path}: give the store that they "
            "were embedded from, or embed it again with tokens"
        )
    return tokens


def principal_components(unit: Float64[np.ndarray, "g d"]) -> Float32[np.ndarray, "g 2"]:
    """Return the scores of the first two principal components, each with a fixed sign."""
    # In float32: the plane is drawn, and a product in float64 takes twice the time.
    centered = unit.astype(np.float32)
    centered -= unit.mean(axis=0, dtype=np.float64).astype(np.float32)
    with one_blas_thread():  # Panel is imported on the other core meanwhile
        _, axes = np.linalg.eigh(centered.T @ centered)
    first = axes[:, ::-1][:, :2]
    first = first * np.sign(first[np.abs(first).argmax(axis=0), np.arange(first.shape[1])])
    scores = centered @ first
    if scores.shape[1] < 2:  # a map of one feature
        scores = np.column_stack([scores, np.zeros(len(scores))])
    return scores.astype(np.float32)
