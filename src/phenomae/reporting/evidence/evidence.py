"""Reads and checks all inputs of a report before any file is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from phenomae.evaluation.baseline_maps import kinds_of, report_assumed_kinds
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.reporting.evidence.baselines import Comparison, compare
from phenomae.reporting.evidence.clusters import Clusters, cluster_map, require_cosines
from phenomae.reporting.evidence.on_map import (
    Beside,
    OnMap,
    add_corrections,
    keep_sources_on_map,
    read_on_map,
)
from phenomae.reporting.evidence.results import BenchmarkTables, read_results
from phenomae.reporting.evidence.training import Training, read_training
from phenomae.reporting.evidence.upstream import Record, Source, find_upstream
from phenomae.whole_files import hash_json


@dataclass(frozen=True)
class Evidence:
    """The inputs of a report; an input that is not given is None."""

    training: Training | None
    results: BenchmarkTables | None
    genes: ConsensusProfiles | None
    """The consensus profiles of the map."""
    map_signature: dict[str, Any] | None
    """Recorded settings and sources of the map; None if there is no map, or none are recorded."""
    baselines: dict[str, BenchmarkTables]
    comparison: list[Comparison]
    """Recall of the map, the baselines and the permuted names, for each source of the results."""
    upstream: list[Source]
    """What run, map and results were made from, as far as it was found."""
    on_map: OnMap | None
    """The map with wells, store and annotations; None without a map."""

    @property
    def measured(self) -> BenchmarkTables:
        """The results, for sections that require results."""
        assert self.results is not None
        return self.results

    @property
    def profiles(self) -> ConsensusProfiles:
        """The map, for sections that require a map."""
        assert self.genes is not None
        return self.genes

    @property
    def noun(self) -> str:
        """The noun for a row of the map: gene, compound, ...; "row" for maps not by phenomae."""
        return self.map_signature["settings"]["by"] if self.map_signature else "row"

    @property
    def map(self) -> OnMap:
        """The map with what goes with it, for sections that require a map."""
        assert self.on_map is not None
        return self.on_map

    @cached_property
    def clusters(self) -> Clusters:
        """The clustering of the map, computed when a section first asks for it."""
        # cached_property writes to __dict__ and so works on a frozen dataclass.
        return cluster_map(self.profiles)

    @property
    def identities(self) -> dict[str, str]:
        """Identities of the inputs, by source name (run, results, map, baseline NAME)."""
        made = {"run": self.training, "results": self.results}
        found = [source.identity for source in self.upstream if source.record is not None]
        return {
            **{name: part.signature["identity"] for name, part in made.items() if part},
            **({} if self.genes is None else {"map": self.genes.identity}),
            **({} if self.on_map is None else self.on_map.identities),
            **{
                f"baseline {name}": part.signature["identity"]
                for name, part in self.baselines.items()
            },
            # The page shows their settings, so that it changes with what is found.
            **({"upstream": hash_json(found)} if found else {}),
        }


def read_evidence(
    run: Path | None,
    results: Path | None,
    map_path: Path | None,
    baselines: dict[str, Path],
    among: Sequence[Path],
    beside: Beside,
) -> Evidence:
    """Read the inputs that are given; `beside` is what goes with the map.

    What they were made from is looked for in their folders and in `among`.

    Raises ValueError if an input cannot be used, or results, wells or store are of another map.
    """
    training = None if run is None else read_training(run)
    measured = None if results is None else read_results(results)
    genes = signature = on_map = None
    if map_path is not None:
        genes = read_map(map_path)
        signature = genes.signature
        require_cosines(genes, map_path)
        # Identities are compared, not paths, so that a copy of the benchmarked map is accepted.
        if measured is not None and measured.signature["sources"].get("map") != genes.identity:
            raise ValueError(
                f"{results} are results of another map, not of {map_path}: give the map that was "
                "benchmarked, or benchmark this one"
            )
        on_map = read_on_map(map_path, genes, beside)
        if beside.annotations is not None:
            on_map = keep_sources_on_map(on_map, beside.annotations)
        if measured is not None:
            on_map = replace(on_map, percentiles=measured.percentiles[0])
    # Baselines are compared here, so that an unusable baseline raises before files are written.
    others = {name: read_results(path) for name, path in baselines.items()}
    report_assumed_kinds(kinds_of(others))
    comparison = [] if measured is None else compare(measured, others)
    records: list[Record] = [] if on_map is None else on_map.records[::-1]
    records += [part.signature for part in (measured, training) if part is not None]
    records += [] if signature is None else [signature]
    places = [path.absolute().parent for path in (map_path, results, run) if path is not None]
    places = list(dict.fromkeys([*places, *beside.places, *among]))
    upstream = find_upstream(records[::-1], places)
    if on_map is not None:
        on_map = add_corrections(on_map, upstream)
    return Evidence(training, measured, genes, signature, others, comparison, upstream, on_map)
