"""The wells of a map's genes, for recall by pairs of wells: read, checked and grouped.

Features are read plate by plate, and again for each tier if those of the whole screen are large.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int

from phenomae.evaluation.recall.one_pass import PairValues
from phenomae.evaluation.recall.tiers import Part, TierName, any_wells, other_groups
from phenomae.evaluation.tier_groups import group_codes, require_groups
from phenomae.maps.read import read_signature_of_map
from phenomae.maps.row_names import name_rows
from phenomae.maps.settings import MapSettings
from phenomae.maps.unit_vectors import unit_wells
from phenomae.paths import PathLike
from phenomae.row_filter import match_rows
from phenomae.wells import PlateFiles, open_wells

_KEPT = 1 << 29  # bytes of profiles that are kept in memory from tier to tier


@dataclass(frozen=True)
class WellsOfMap:
    """The wells behind a map."""

    path: Path
    files: PlateFiles
    genes: Int[np.ndarray, " n"]
    """Row of the map that each well is of; -1 for wells that are not on the map."""
    count: int
    """Number of rows of the map."""

    def values(self, tier: TierName) -> PairValues:
        """Return the mean cosine of every two rows of the map over the pairs of wells of a tier.

        Raises ValueError if a well on the map has a feature that is NaN, or features of 0 only.
        """
        groups, width = self.groups(tier), self.files.width
        if groups is None:
            return any_wells(self._each_plate(), self.genes, self.count, width)
        return other_groups(self._each_plate(), self.genes, groups, self.count, width)

    def groups(self, tier: TierName) -> Int[np.ndarray, " n"] | None:
        """Return the group of each well, which a pair of wells may not share; None for tier any."""
        return group_codes(self.files.table, tier)

    def _each_plate(self) -> Iterable[Part]:
        """Return the wells of each plate, kept for the next tier if they take little memory."""
        # Reading takes as long as computing a tier.
        fits = (self.genes >= 0).sum() * self.files.width * 4 <= _KEPT
        return self._kept if fits else self._read_plates()

    @cached_property
    def _kept(self) -> list[Part]:
        return list(self._read_plates())

    def _read_plates(self) -> Iterator[Part]:
        plates = self.files.table["plate"]
        order = np.argsort(plates.rank("dense").to_numpy(), kind="stable")
        sizes = plates.value_counts().sort("plate")
        starts = np.cumsum(sizes["count"].to_numpy())[:-1]
        for plate, numbers in zip(sizes["plate"], np.split(order, starts), strict=True):
            used = self.genes[numbers] >= 0
            if not used.any():
                continue
            features, table = self.files.read(plate), self.files.table[numbers]
            unit = unit_wells(features, table, self.path, used)
            yield numbers[used], unit[used].astype(np.float32)


def read_wells_of_map(
    wells: PathLike, map_path: Path, names: Sequence[str], tiers: Sequence[TierName]
) -> WellsOfMap:
    """Return the wells of the rows of a map, which have these `names`.

    Wells are assigned to rows as `map` did it; on a map of other software, by their genes. Raises
    ValueError if the map was made from other wells, a row has no well, or a tier leaves no pair.
    """
    path = Path(wells)
    files, signature = open_wells(path), read_signature_of_map(map_path)
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
    found = WellsOfMap(path, files, np.where(kept, genes, -1), len(names))
    _require_wells(found, names, map_path)
    for tier in tiers:
        if (groups := found.groups(tier)) is not None:
            require_groups(groups[found.genes >= 0], tier, path)
    return found


def _require_wells(wells: WellsOfMap, names: Sequence[str], map_path: Path) -> None:
    """Raise ValueError if a row of the map has no well."""
    numbers = np.bincount(wells.genes[wells.genes >= 0], minlength=wells.count)
    if without := np.flatnonzero(numbers == 0).tolist():
        raise ValueError(
            f"{wells.path} has no well of {len(without)} rows of {map_path}, like "
            f"{names[without[0]]}: give the wells that the map was made from"
        )
