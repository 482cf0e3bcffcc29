"""Embeds some wells, corrects them, builds their map, and computes the recall of known pairs.

The functions are those of `embed`, `correct`, `map` and `benchmark`, so that with all wells and
crops, and the same correction by plate, the recall equals that of these commands (tests).
"""

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32, Int

from phenomae.correction.batches import require_controls
from phenomae.correction.correct import fit_controls
from phenomae.crops.tiles import Tiles
from phenomae.devices import all_threads
from phenomae.embedding.covering import cover_fields
from phenomae.embedding.embed import EmbedSettings
from phenomae.embedding.embedder import Embedder
from phenomae.embedding.plates import list_plates
from phenomae.evaluation.annotations import read_annotations
from phenomae.evaluation.benchmark import check_count, check_map, find_pairs
from phenomae.evaluation.recall.recall_tables import measure
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.aggregate import aggregate
from phenomae.maps.map import MapSettings, name_rows
from phenomae.maps.read import ConsensusProfiles
from phenomae.pretraining.data import Data
from phenomae.pretraining.session import Session
from phenomae.probes.choose import Choice, choose_wells, thin
from phenomae.progress import count_of, info
from phenomae.wells import Profiles, require_finite

_PERCENTILES = [(0.05, 0.95)]
_NO_CROPS = Tiles((), (), 0)


class Measurement:
    """Computes recall on fixed wells and crops, with the current weights of the network."""

    def __init__(
        self, session: Session, annotations: Path, *, max_wells: int, max_crops: int, method: str
    ) -> None:
        """Choose the wells and crops.

        Raises ValueError if the annotations cannot be read, if none of their pairs has both genes
        on the map, if there are fewer than two controls, or if there are too few genes.
        """
        self.session, self.objective, self.method = session, session.objective, method
        data = session.data
        known = read_annotations(annotations)
        genes = pl.concat([annotation.genes for annotation in known]).unique().to_list()
        fields = _name_fields(data)
        chosen = choose_wells(fields, max_wells, genes)
        names = chosen.wells["name"].drop_nulls().unique().sort().to_list()
        # Without bootstrap: confidence intervals would cost more than the measurement itself.
        self.benchmark = BenchmarkSettings(annotations, resamples=0)
        self.pairs = find_pairs(known, names, annotations)
        check_count(len(names), session.folder, _PERCENTILES)
        taken = fields.join(chosen.wells, on=["store", "plate", "well"], how="semi")["field"]
        self._lay_out(data, np.sort(taken.cast(pl.Int64).to_numpy()), chosen, max_crops)
        require_controls(self.batches, self.table["control"].fill_null(False).to_numpy())
        self.through_guides = not self._lacks_guides()
        self._report(chosen, len(names))

    def measure(self) -> tuple[dict[str, float], float]:
        """Return the recall of every annotation source, and the recall expected by chance.

        Raises ValueError if embeddings are not finite, or if the controls do not differ.
        """
        where = self.session.folder
        wells = Profiles(self.table, self._embed(), identity="")
        require_finite(wells, where)
        correction = fit_controls(wells, self.batches, self.method)
        # float64, as `correct` computes, so that the numbers are the same.
        corrected = correction.transform(wells.features.astype(np.float64), self.batches)
        # Controls have no name and are not on the map.
        named = name_rows(wells.table, MapSettings())
        kept = named["name"].is_not_null().to_numpy()
        features = corrected[kept].astype(np.float32)
        rows = aggregate(named.filter(kept), features, self.through_guides)
        genes = ConsensusProfiles(rows.names, rows.features, rows.counts, identity="")
        check_map(genes, where, _PERCENTILES)
        table = measure(genes, self.pairs, _PERCENTILES, self.benchmark)["recall.csv"]
        recalls = dict(zip(table["source"].to_list(), table["recall"].to_list(), strict=True))
        return recalls, float(table["chance"][0])

    def _embed(self) -> Float32[np.ndarray, "n d"]:
        """Return one embedding per well, computed with the current weights."""
        # In training mode drop path would be active, and batch norm would update its statistics.
        was_training = self.objective.training
        self.objective.eval()
        try:
            # The training may have left this thread only one core.
            with all_threads():
                parts = [
                    self.embedder.embed(plate, [None], lambda advance=1, note="": None)[0]
                    for plate in self.plates
                ]
        finally:
            self.objective.train(was_training)
        # In the order of `self.table`, whose parts are those of the plates.
        return np.concatenate(parts)

    def _lay_out(
        self, data: Data, taken: Int[np.ndarray, " m"], chosen: Choice, max_crops: int
    ) -> None:
        """Collect the plates, batches and crops of the chosen fields, and make the embedder."""
        crop_size, stores = data.crop_size, data.reader.stores
        rows = data.fields.with_row_index("field")[taken]
        owners = data.reader.store_of[taken]
        sides = data.reader.sides(crop_size).tolist()
        everywhere = [
            tiles
            for store, side in zip(stores, sides, strict=True)
            for tiles in cover_fields(store, crop_size, side, "grid")
        ]
        tiles = [_NO_CROPS] * len(everywhere)
        self.plates, batches = [], []
        for owner in np.unique(owners).tolist():
            for plate in list_plates(rows.filter(owners == owner)):
                self.plates.append(plate)
                # Plates of two stores may have the same name but are different batches.
                batches += [f"plate {plate.name} of store {owner + 1}"] * len(plate.table)
                for field, some in thin(plate, everywhere, max_crops).items():
                    tiles[field] = some
        self.table = pl.concat([plate.table for plate in self.plates])
        self.batches = np.array(batches) if chosen.by_plate else None
        self.embedder = self._open_embedder(data, tiles)

    def _open_embedder(self, data: Data, tiles: list[Tiles]) -> Embedder:
        # Not more crops per forward pass than in training, whose micro-batch fits the memory.
        usual, at_once = EmbedSettings(), self.session.settings.max_crops_at_once
        adapts = bool(self.objective.notes().get("adabn"))
        return Embedder(
            reader=data.reader,
            tiles=tiles,
            model=self.objective.model,
            machine=self.session.team.machine,
            crops_at_once=min(usual.crops_at_once, at_once or usual.crops_at_once),
            adabn_crops=usual.adabn_crops if adapts else 0,
        )

    def _lacks_guides(self) -> bool:
        named = name_rows(self.table, MapSettings()).filter(pl.col("name").is_not_null())
        return named["guide"].has_nulls()

    def _report(self, chosen: Choice, genes: int) -> None:
        controls = int(self.table["control"].fill_null(False).sum())
        pairs = ", ".join(
            f"{count_of(len(known), 'pair')} of {name}" for name, known in self.pairs.items()
        )
        crops = sum(self.embedder.count(plate) for plate in self.plates)
        info(
            f"recall is measured on {count_of(len(self.table), 'well')}, including "
            f"{count_of(controls, 'control')}, and {count_of(crops, 'crop')}: "
            f"{count_of(genes, 'gene')}, {pairs}; corrected "
            + ("plate by plate" if chosen.by_plate else "all together")
        )


def _name_fields(data: Data) -> pl.DataFrame:
    """Return one row per field, with the columns that `choose_wells` needs and `field`."""
    fields = data.fields.with_row_index("field").with_columns(store=pl.Series(data.reader.store_of))
    columns = ["field", "store", "plate", "well", "name", "guide", "control"]
    return name_rows(fields, MapSettings()).select(columns)
