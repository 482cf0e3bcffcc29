"""The wells of a map's genes, for recall by pairs of wells: read, checked and grouped.

Features are read plate by plate, once for all tiers.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from phenomae.cores import available_cores
from phenomae.evaluation.recall.mean_cosines import MeanCosines, TierPairs
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.evaluation.recall.strata import find_strata
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.recall.well_groups import count_wells
from phenomae.evaluation.recall.well_sums import OfWells, Part, sum_wells
from phenomae.evaluation.tier_groups import group_codes, require_groups
from phenomae.maps.read import read_record_of_map
from phenomae.maps.row_names import name_rows
from phenomae.maps.settings import MapSettings
from phenomae.maps.unit_vectors import unit_wells
from phenomae.paths import PathLike
from phenomae.progress import count_of
from phenomae.row_filter import match_rows
from phenomae.wells import PlateFiles, open_wells


@dataclass(frozen=True)
class WellsOfMap:
    """The wells behind a map."""

    path: Path
    files: PlateFiles
    genes: Int[np.ndarray, " n"]
    """Row of the map that each well is of; -1 for wells that are not on the map."""
    rows: int
    """Number of rows of the map."""
    kept: Bool[np.ndarray, " n"]
    """Whether each well was there for the map: whether its condition `where` is true."""

    def count(
        self, tiers: Sequence[TierName], percentiles: Sequence[Percentiles]
    ) -> dict[TierName, TierPairs]:
        """Return what each tier leaves out, without the sums of profiles."""
        counted: dict[TierName, TierPairs] = {}
        for tier in tiers:
            groups = count_wells(self.genes, self.groups(tier), self.rows)
            counted[tier] = TierPairs(groups, find_strata(groups, percentiles), None)
        return counted

    def read(self, tiers: Mapping[TierName, TierPairs]) -> MeanCosines:
        """Return the mean cosines of every two rows of the map in the tiers that were counted.

        Raises ValueError if a well on the map has a feature that is NaN, or features of 0 only.
        """
        groups: dict[TierName, OfWells] = {
            tier: (pairs.groups, self.groups(tier)) for tier, pairs in tiers.items()
        }
        totals, sums = sum_wells(self._read_plates(), self.genes, groups, self.files.width)
        made: dict[TierName, TierPairs] = {
            tier: replace(pairs, sums=sums[tier]) for tier, pairs in tiers.items()
        }
        return MeanCosines(totals, np.bincount(self.genes[self.genes >= 0]), made)

    def groups(self, tier: TierName) -> Int[np.ndarray, " n"] | None:
        """Return the group of each well, which a pair of wells may not share; None for tier any."""
        return group_codes(self.files.table, tier)

    def _read_plates(self) -> Iterator[Part]:
        """Yield the wells of each plate that are on the map."""
        plates = self.files.table["plate"]
        order = np.argsort(plates.rank("dense").to_numpy(), kind="stable")
        sizes = plates.value_counts().sort("plate")
        starts = np.cumsum(sizes["count"].to_numpy())[:-1]
        parts = zip(sizes["plate"], np.split(order, starts), strict=True)
        used = [(plate, wells) for plate, wells in parts if (self.genes[wells] >= 0).any()]
        cores = available_cores()
        with ThreadPoolExecutor(cores) as pool:
            # As many at once as there are cores, because all plates may not fit into memory.
            for first in range(0, len(used), cores):
                yield from pool.map(self._read_plate, used[first : first + cores])

    def _read_plate(self, plate: tuple[str, Int[np.ndarray, " m"]]) -> Part:
        """Return the wells of one plate that are on the map, with profiles of length 1."""
        name, wells = plate
        used = self.genes[wells] >= 0
        unit = unit_wells(self.files.read(name), self.files.table[wells], self.path, used)
        return wells[used], np.ascontiguousarray(unit[used], dtype=np.float32)


def read_wells_of_map(
    wells: PathLike, map_path: Path, names: Sequence[str], tiers: Sequence[TierName]
) -> WellsOfMap:
    """Return the wells of the rows of a map, which have these `names`.

    Wells are assigned to rows as `map` did it; on a map of other software, by their genes. Raises
    ValueError if the map was made from other wells, a row has no well, or a tier leaves no pair.
    """
    path = Path(wells)
    files, signature = open_wells(path), read_record_of_map(map_path)
    settings, kept = MapSettings(), np.ones(len(files.table), dtype=bool)
    if signature is not None:
        if signature.get("sources", {}).get("wells") != files.identity:
            raise ValueError(f"{map_path} was not made from the wells {path}: give those it is of")
        made = signature["settings"]
        settings = MapSettings(by=made["by"], controls=made["controls"])
        if made["where"] is not None:
            kept = match_rows(files.table, made["where"], str(path))
    row_of = {name: row for row, name in enumerate(names)}
    named = name_rows(files.table, settings)["name"]
    genes = np.array([-1 if name is None else row_of.get(name, -1) for name in named])
    found = WellsOfMap(path, files, np.where(kept, genes, -1), len(names), kept)
    _require_wells(found, names, map_path)
    for tier in tiers:
        if (groups := found.groups(tier)) is not None:
            require_groups(groups[found.genes >= 0], tier, path)
    return found


def _require_wells(wells: WellsOfMap, names: Sequence[str], map_path: Path) -> None:
    """Raise ValueError if a row of the map has no well."""
    numbers = np.bincount(wells.genes[wells.genes >= 0], minlength=wells.rows)
    if without := np.flatnonzero(numbers == 0).tolist():
        raise ValueError(
            f"{wells.path} has no well of {count_of(len(without), 'row')} of {map_path}, like "
            f"{names[without[0]]}: give the wells that the map was made from"
        )
