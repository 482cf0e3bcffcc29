"""What a map was made from, and what is known of its names: wells, store and known pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.evaluation.annotations import Annotation, hash_annotations, read_annotations
from phenomae.evaluation.benchmark import find_pairs
from phenomae.evaluation.known_pairs import PERCENTILES, MapPairs, compare_pairs
from phenomae.evaluation.neighbors.well_effects import MapWells
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.evaluation.tier_wells import read_wells_of_map
from phenomae.maps.layout_record import RECORD, hash_points, parse_layout
from phenomae.maps.read import ConsensusProfiles, read_notes_of_map
from phenomae.maps.unit_vectors import unit_rows
from phenomae.reporting.evidence.before_after import BeforeAfter, compare_states
from phenomae.reporting.evidence.cells import Cells, find_cells
from phenomae.reporting.evidence.cluster_tables import ClusterTables, read_clusters
from phenomae.reporting.evidence.corrections import Corrections, trace_corrections
from phenomae.reporting.evidence.plate_groups import PlateGroups, group_by_plates
from phenomae.reporting.evidence.plate_views import PlateViews, view_plates
from phenomae.reporting.evidence.upstream import Record, Source
from phenomae.signatures import read_signature
from phenomae.store.read import Store, open_store
from phenomae.urls import Location

NEAREST_PAIRS = 10
"""Number of new pairs that are looked for, and of known pairs that are shown beside them."""


@dataclass(frozen=True)
class Beside:
    """Where the inputs that go with a map are; None for what is not given."""

    wells: Path | None = None
    store: Location | None = None
    annotations: Path | None = None
    clusters: Path | None = None

    @property
    def places(self) -> list[Path]:
        """The folders that local inputs are in, in which what they were made from is looked for."""
        local = [self.wells, self.store if isinstance(self.store, Path) else None]
        return [path.absolute().parent for path in local if path is not None]


@dataclass(frozen=True)
class OnMap:
    """A map with the inputs that go with it; what is not given is None or empty."""

    path: Path
    profiles: ConsensusProfiles
    wells: MapWells | None = None
    store: Store | None = None
    annotations: Sequence[Annotation] = ()
    """All sources of known pairs."""
    clusters: ClusterTables | None = None
    percentiles: Percentiles = PERCENTILES
    """The percentile pair of the results, if there are any: a known pair is found if it is in these
    tails."""
    corrections: Corrections | None = None
    """Those of the wells."""
    new_pairs: int = NEAREST_PAIRS
    """Number of the highest pairs that are in no source that are looked for."""

    @property
    def has_company(self) -> bool:
        """Whether wells, store or annotations are given."""
        return bool(self.annotations) or self.wells is not None or self.store is not None

    @property
    def records(self) -> list[Record]:
        """What the wells and the store add to the records that sources are looked for in."""
        sources = {} if self.wells is None else {"wells": self.wells.profiles.identity}
        if self.store is not None and isinstance(self.store.path, Path):
            sources["store"] = self.store.identity
        return [{"kind": "", "identity": "", "sources": sources}] if sources else []

    @property
    def identities(self) -> dict[str, str]:
        """Identities of the inputs, by source name."""
        found = {} if self.wells is None else {"wells": self.wells.profiles.identity}
        if self.store is not None:
            found |= self.store.sources
        if self.annotations:
            found["annotations"] = hash_annotations(self.annotations)
        if self.clusters is not None:
            found["clusters"] = self.clusters.identity
        if self.profiles.layout is not None:  # the identity of a map does not cover its layout
            found["layout"] = hash_points(self.profiles.layout)
        return found

    @cached_property
    def layout_record(self) -> dict[str, Any] | None:
        """What `layout` recorded of the layout; None if other software computed it."""
        note = read_notes_of_map(self.path).get(RECORD)
        return None if note is None else parse_layout(note, self.path)

    @cached_property
    def unit(self) -> Float64[np.ndarray, "g d"]:
        """The consensus profiles, of length 1."""
        return unit_rows(self.profiles.features)

    @cached_property
    def pairs(self) -> MapPairs:
        """The known pairs, found or missed, and the highest others."""
        return compare_pairs(
            self.profiles.names,
            self.unit,
            self.annotations,
            percentiles=self.percentiles,
            new=self.new_pairs,
            controls=self._controls,
        )

    @property
    def _controls(self) -> Bool[np.ndarray, " g"] | None:
        """Whether each row is a control; None if the map does not say."""
        obs = self.profiles.obs
        # Maps of other software may have anything of that name.
        if "control" not in obs.columns or obs["control"].dtype != pl.Boolean:
            return None
        return obs["control"].fill_null(False).to_numpy()

    @cached_property
    def cells(self) -> Cells | None:
        """The fields of the names; None without a store."""
        if self.store is None:
            return None
        return find_cells(self.path, self.profiles, self.store, self.wells)

    @cached_property
    def plates(self) -> PlateViews | None:
        """The wells by plate; None without wells."""
        return None if self.wells is None else view_plates(self.wells.profiles, self.store)

    @cached_property
    def states(self) -> BeforeAfter | None:
        """Wells before and after the last correction; None if those before it were not found."""
        if self.wells is None or self.corrections is None or self.corrections.before is None:
            return None
        return compare_states(self.corrections.before, self.wells.of_map.path, self.wells_record)

    @cached_property
    def plate_groups(self) -> PlateGroups | None:
        """The rows by their plates; None without wells, or if all are on the same plates."""
        return None if self.wells is None else group_by_plates(self.wells.of_map, self.unit)

    @property
    def wells_record(self) -> dict[str, Any]:
        """The signature of the wells."""
        assert self.wells is not None
        return read_signature(self.wells.of_map.path)


def read_on_map(path: Path, profiles: ConsensusProfiles, beside: Beside) -> OnMap:
    """Read what goes with a map.

    Raises ValueError if wells or clusters are those of another map, or an input cannot be read.
    """
    wells = store = None
    if beside.wells is not None:
        wells = MapWells.read(read_wells_of_map(beside.wells, path, profiles.names, ()))
    if beside.store is not None:
        store = open_store(beside.store)
    annotations = [] if beside.annotations is None else read_annotations(beside.annotations)
    clusters = None if beside.clusters is None else read_clusters(beside.clusters, profiles)
    return OnMap(path, profiles, wells, store, annotations, clusters)


def keep_sources_on_map(on_map: OnMap, path: Path) -> OnMap:
    """Return the same without sources that have no pair on the map; `path` is that of the sources.

    Raises ValueError if no source has one.
    """
    known = find_pairs(on_map.annotations, on_map.profiles.names, path)
    kept = [annotation for annotation in on_map.annotations if annotation.name in known]
    return replace(on_map, annotations=kept)


def add_corrections(on_map: OnMap, upstream: Sequence[Source]) -> OnMap:
    """Return the same with the corrections of the wells; `upstream` is what they were made from.

    Raises ValueError if the store is another one than that of the wells, or has no field of the
    map.
    """
    if on_map.wells is not None:
        path = on_map.wells.of_map.path
        corrections = trace_corrections(path, on_map.wells_record, upstream)
        store = on_map.store
        if store is not None and corrections.store not in (None, store.identity):
            raise ValueError(
                f"{store.path} is not the store that the wells {path} were computed from: give "
                "that store, or leave out store"
            )
        on_map = replace(on_map, corrections=corrections)
    _ = on_map.cells  # computed here, so that it raises before a file is written
    return on_map
