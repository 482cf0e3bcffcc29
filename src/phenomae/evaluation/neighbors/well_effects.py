"""How strong and how consistent the effect of each row of a map is, from its wells."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from phenomae.evaluation.neighbors.nulls import Controls
from phenomae.evaluation.questions.energy_distance import energy_distances
from phenomae.evaluation.questions.magnitude import split_controls
from phenomae.evaluation.tier_wells import WellsOfMap
from phenomae.maps.aggregate import group_means
from phenomae.maps.consistency import mean_cosines
from phenomae.maps.null_checks import warn_centred
from phenomae.maps.unit_vectors import unit_rows, unit_wells
from phenomae.wells import Profiles, read_wells

_MIN_WELLS = 2  # of a magnitude
_MAX_CONTROLS = 1000  # of the reference: `ask signal` takes as many


@dataclass(frozen=True)
class MapWells:
    """The wells of a map with their features."""

    of_map: WellsOfMap
    profiles: Profiles

    @classmethod
    def read(cls, of_map: WellsOfMap) -> "MapWells":
        """Read the features; raises ValueError if the wells are damaged."""
        profiles = read_wells(of_map.path)
        places = ["plate", "well"]
        assert profiles.table.select(places).equals(of_map.files.table.select(places))
        return cls(of_map, profiles)

    @cached_property
    def controls(self) -> Controls:
        """The control wells; warns, the first time, if p-values among them are too small."""
        is_control, plates = self._is_control, self._plates
        warn_centred(self.profiles.features, plates, is_control, remedy="")
        treated = ~is_control & (self.of_map.genes >= 0)
        return Controls(
            self.profiles.features[is_control],
            plates[is_control],
            self.of_map.genes,
            plates,
            np.bincount(self.of_map.genes[treated], minlength=self.of_map.rows) > 0,
        )

    def effects(self, rows: Int[np.ndarray, " q"], seed: int) -> pl.DataFrame:
        """Return how many wells some rows of the map rest on, and how alike these are, by `row`.

        Columns: wells, plates; if wells have guides, guides and guide_agreement: the mean cosine
        over all pairs of guides, each the mean profile of its wells, null for rows with fewer than
        2; consistency: the mean cosine over all pairs of wells; magnitude: the energy distance from
        half of the controls, as of `ask signal`; both null for rows with one well.
        """
        numbers = np.full(self.of_map.rows, -1)
        numbers[rows] = np.arange(len(rows))
        groups = np.where(self.of_map.genes >= 0, numbers[self.of_map.genes], -1)
        inside = groups >= 0
        features, table = self.profiles.features[inside], self.profiles.table.filter(inside)
        unit = unit_wells(features, table, self.of_map.path)
        plates = table.select("plate").with_columns(group=groups[inside])
        counted = plates.group_by("group").agg(
            wells=pl.len().cast(pl.Int32), plates=pl.col("plate").n_unique().cast(pl.Int32)
        )
        return pl.DataFrame(
            {
                "row": rows,
                **counted.sort("group").select("wells", "plates").to_dict(),
                **self._compare_guides(features, table, groups[inside], len(rows)),
                "consistency": mean_cosines(unit, groups[inside], len(rows)),
                "magnitude": self._magnitudes(features, groups[inside], len(rows), seed),
            },
            nan_to_null=True,
        )

    def _magnitudes(
        self,
        features: Float[np.ndarray, "n d"],
        groups: Int[np.ndarray, " n"],
        count: int,
        seed: int,
    ) -> Float[np.ndarray, " g"]:
        controls = np.flatnonzero(self._is_control)
        if not len(controls):
            return np.full(count, np.nan)
        reference, _ = split_controls(self._plates[controls], _MAX_CONTROLS, seed)
        used = self.profiles.features[controls[reference]].astype(np.float64)
        return energy_distances(features, groups, count, used, _MIN_WELLS)

    def _compare_guides(
        self,
        features: Float[np.ndarray, "n d"],
        table: pl.DataFrame,
        groups: Int[np.ndarray, " n"],
        rows: int,
    ) -> dict[str, np.ndarray]:
        """Return number and agreement of the guides of each group 0 ... rows - 1.

        Nothing if no well on the map has a guide. Wells without one are left out; a guide that
        targets two genes is a guide of each.
        """
        if not self.have_guides:
            return {}
        known = table["guide"].is_not_null().to_numpy()
        pairs = table.filter(known).select("guide", group=groups[known])
        guides = pairs.unique(maintain_order=True).with_row_index("number")
        numbered = pairs.join(guides, on=["guide", "group"], how="left", maintain_order="left")
        means = group_means(features[known], numbered["number"].to_numpy(), len(guides))
        own = guides["group"].to_numpy()
        return {
            "guides": np.bincount(own, minlength=rows).astype(np.int32),
            "guide_agreement": mean_cosines(unit_rows(means), own, rows),
        }

    @cached_property
    def have_guides(self) -> bool:
        """Whether any well on the map has a guide."""
        on_map = self.of_map.genes >= 0
        return self.profiles.table.filter(on_map)["guide"].is_not_null().any()

    @cached_property
    def _is_control(self) -> Bool[np.ndarray, " n"]:
        return self.profiles.table["control"].fill_null(False).to_numpy() & self.of_map.kept

    @cached_property
    def _plates(self) -> Int[np.ndarray, " n"]:
        return self.profiles.table["plate"].rank("dense").cast(pl.Int64).to_numpy() - 1
