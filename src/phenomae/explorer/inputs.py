"""What the app shows: the map and what is given with it, read once and shared by all pages."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int

from phenomae.evaluation.known_pairs import MapPairs, compare_pairs
from phenomae.evaluation.neighbors.finder import NeighborFinder
from phenomae.explorer.other_map import SharedNames
from phenomae.explorer.search import SearchIndex
from phenomae.maps.export_source import FOREIGN, rows_of_map
from phenomae.maps.fields_of_rows import name_fields
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.paths import PathLike
from phenomae.reporting.evidence.cells import Cells, find_cells
from phenomae.reporting.evidence.cluster_tables import read_clusters
from phenomae.reporting.evidence.plate_views import PlateViews, view_plates
from phenomae.store.read import Store, open_store
from phenomae.tokens import TokenFiles, open_tokens
from phenomae.urls import Location

NO_STORE = "Images need the store that the wells were embedded from: give it with --store."
NO_WELLS = "This needs the wells that the map was made from: give them with --wells."
NO_ANNOTATIONS = "This needs known pairs: give a file or folder of them with --annotations."


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

    path: Path
    profiles: ConsensusProfiles
    finder: NeighborFinder
    store: Store | None
    fields: pl.DataFrame | None
    """The fields of the store with `field`, their index, and `name`, their row of the map."""
    clusters: list[int] | None
    """Cluster of each row of the map, 0 for the largest."""
    other: SharedNames | None
    """Another map, to compare with."""
    tokens: TokenFiles | None
    """A vector for each crop of the store."""
    reconstructor: Reconstructor | None
    """A network that reconstructs crops of the store."""
    _found: dict[int, list[Found]] = field(default_factory=dict, repr=False)
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
        finder = NeighborFinder.open(map_path, profiles, wells=wells, annotations=annotations, k=k)
        opened = None if store is None else open_store(store)
        fields = None if opened is None else name_fields(rows_of_map(map_path, profiles), opened)
        labels = None if clusters is None else read_clusters(Path(clusters), profiles).labels
        other = None
        if compare is not None:
            compare = Path(compare)
            other = SharedNames.of(profiles.names, finder.unit, compare, read_map(compare))
        crops = None if tokens is None else open_tokens(tokens)
        network = None
        if opened is not None and make_reconstructor is not None:
            network = make_reconstructor(opened)
        return cls(map_path, profiles, finder, opened, fields, labels, other, crops, network)

    def prepare(self) -> None:
        """Compute what every page needs; raises ValueError if the store is not of this map."""
        assert self.search is not None
        assert self.layout is not None
        if self.store is not None:
            assert self.cells is not None

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
    def names(self) -> list[str]:
        return self.profiles.names

    @cached_property
    def rows_are(self) -> str:
        """What a row of the map is, like `gene`; `name` if the map does not record it."""
        return str((self.profiles.signature or {}).get("settings", {}).get("by", FOREIGN))

    @cached_property
    def wells(self) -> pl.DataFrame | None:
        """One row per well: `name`, plate, well and labels; None without wells and store."""
        if self.finder.wells is not None:
            of_map = self.finder.wells.of_map
            named = pl.Series("name", [*self.names, None], dtype=pl.String)
            return of_map.files.table.with_columns(name=named.gather(of_map.genes % (len(named))))
        if self.fields is not None:
            return self.fields.unique(["plate", "well"], keep="first", maintain_order=True)
        return None

    @cached_property
    def cells(self) -> Cells | None:
        """The fields of each row; None without store."""
        if self.store is None:
            return None
        return find_cells(self.path, self.profiles, self.store, self.finder.wells)

    @cached_property
    def plates(self) -> PlateViews | None:
        """Values of the wells of each plate; None without wells."""
        if self.finder.wells is None:
            return None
        return view_plates(self.finder.wells.profiles, self.store)

    @property
    def pairs(self) -> MapPairs:
        """The known pairs, found or missed, and the highest other pairs.

        They take seconds, and are computed once, also if several pages ask at the same time.
        """
        with self._lock:
            return self._pairs

    @cached_property
    def _pairs(self) -> MapPairs:
        finder = self.finder
        return compare_pairs(self.names, finder.unit, finder.annotations, controls=self._controls)

    @property
    def _controls(self) -> Bool[np.ndarray, " g"] | None:
        obs = self.profiles.obs
        return obs["control"].to_numpy() if "control" in obs.columns else None

    @cached_property
    def search(self) -> SearchIndex:
        return SearchIndex.build(self.names, self.wells)

    @cached_property
    def layout(self) -> Layout:
        """The layout of the map; without one, its first two principal components."""
        points = getattr(self.profiles, "layout", None)
        if points is not None:
            return Layout(points, "UMAP of the map")
        return Layout(
            principal_components(self.finder.unit),
            "first two principal components (phenomae layout adds a UMAP to the map)",
        )


def principal_components(unit: Float32[np.ndarray, "g d"]) -> Float32[np.ndarray, "g 2"]:
    """Return the scores of the first two principal components, each with a fixed sign."""
    centered = unit - unit.mean(axis=0)
    # In float32: the plane is drawn, and a product in float64 takes twice the time.
    centered = centered.astype(np.float32)
    _, axes = np.linalg.eigh(centered.T @ centered)
    first = axes[:, ::-1][:, :2]
    first = first * np.sign(first[np.abs(first).argmax(axis=0), np.arange(first.shape[1])])
    scores = centered @ first
    if scores.shape[1] < 2:  # a map of one feature
        scores = np.column_stack([scores, np.zeros(len(scores))])
    return scores.astype(np.float32)
