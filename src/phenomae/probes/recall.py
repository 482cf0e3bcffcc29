"""The recall of known pairs while a network is trained, on a map of some wells."""

from statistics import fmean

import numpy as np
import polars as pl
from jaxtyping import Float32, Int

from phenomae.correction.batches import require_controls
from phenomae.correction.correct import fit_controls
from phenomae.crops.tiles import Tiles
from phenomae.embedding.covering import cover_fields
from phenomae.embedding.embed import EmbedSettings
from phenomae.embedding.embedder import Embedder
from phenomae.embedding.plates import list_plates
from phenomae.evaluation.annotations import read_sources
from phenomae.evaluation.benchmark import check_count, check_map, find_pairs
from phenomae.evaluation.recall.recall_tables import measure
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.aggregate import aggregate
from phenomae.maps.map import MapSettings, name_rows
from phenomae.maps.read import ConsensusProfiles
from phenomae.pretraining.data import Data
from phenomae.pretraining.loop import Losses, Probe
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.session import Session
from phenomae.pretraining.team import is_shared
from phenomae.probes.choose import Choice, choose_wells, thin
from phenomae.progress import info
from phenomae.wells import Profiles, require_finite

_PERCENTILES = [(0.05, 0.95)]
_NO_CROPS = Tiles((), (), 0)


def recall_of(session: Session) -> Probe:
    """Return what measures recall as a session's settings say; it makes a probe for a training.

    Under fsdp nothing is measured, and a line says so. Raises ValueError as `Recall`, and where the
    settings do not ask for it.
    """
    if not session.settings.recall_every:
        raise ValueError("recall_every is 0: say after how many steps recall is to be measured")
    if is_shared(session.checkpoints.objective):
        info("recall is not measured: under fsdp no process has the whole network")
        return lambda done, losses: None
    return Recall(session)


class Recall:
    """Embeds some wells, corrects them, makes their map, and logs how many known pairs it finds.

    What a training goes by is as it was afterwards: modes, statistics of batch norms, random state.
    """

    def __init__(self, session: Session) -> None:
        """Choose the wells.

        Raises ValueError where the annotations cannot be read or have no pair on the map, where
        there are fewer than two controls, or too few genes.
        """
        self.session = session
        settings, data = session.settings, session.data
        assert settings.annotations is not None
        assert isinstance(session.checkpoints.objective, Objective)
        self.objective = session.checkpoints.objective
        sources = read_sources(settings.annotations)
        known = pl.concat([source.genes for source in sources])
        fields = _name_fields(data)
        chosen = choose_wells(fields, settings.recall_wells, known.unique().to_list())
        names = chosen.wells["name"].drop_nulls().unique().sort().to_list()
        self.benchmark = BenchmarkSettings(settings.annotations, resamples=0)
        self.pairs = find_pairs(sources, names, settings.annotations)
        check_count(len(names), session.folder, _PERCENTILES)
        taken = fields.join(chosen.wells, on=["store", "plate", "well"], how="semi")["field"]
        self._lay_out(data, np.sort(taken.cast(pl.Int64).to_numpy()), chosen)
        require_controls(self.batches, self.table["control"].fill_null(False).to_numpy())
        self.through_guides = not self._lacks_guides()
        self._tell(chosen, len(names))

    def __call__(self, done: int, losses: Losses) -> None:
        """Measure where it is time to: a probe of the loop."""
        settings, team = self.session.settings, self.session.team
        if done % settings.recall_every and done != settings.steps:
            return
        if team.writes:
            self.log(done)
        team.any(False)  # the others wait for it

    def log(self, done: int) -> None:
        """Write the recall after `done` steps down; where there is none, say why."""
        try:
            recalls, chance = self.measure()
        except ValueError as error:
            info(f"recall after {done} steps is left out: {error}")
            return
        values = {"recall": fmean(recalls.values())}
        if len(recalls) > 1:
            values |= {f"recall_{name}": recall for name, recall in recalls.items()}
        self.session.journal.write(done, **{**values, "recall_chance": chance})

    def measure(self) -> tuple[dict[str, float], float]:
        """Return the recall of every source, and what chance gives.

        Raises ValueError where vectors are no numbers, or do not differ where they have to.
        """
        method, where = self.session.settings.recall_method, self.session.folder
        wells = Profiles(self.table, self._embed(), identity="")
        require_finite(wells, where)
        correction = fit_controls(wells, self.batches, method)
        corrected = correction.transform(wells.features.astype(np.float64), self.batches)
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
        """Return a vector a well, by the network as it is."""
        was_training = self.objective.training
        self.objective.eval()
        try:
            parts = [
                self.embedder.embed(plate, [None], lambda advance=1, note="": None)[0]
                for plate in self.plates
            ]
        finally:
            self.objective.train(was_training)
        return np.concatenate(parts)

    def _lay_out(self, data: Data, taken: Int[np.ndarray, " m"], chosen: Choice) -> None:
        """Take those fields, and find where their crops lie."""
        settings = self.session.settings
        crop_size, stores = data.crop_size, data.reader.stores
        rows = data.fields.with_row_index("field")[taken]
        owners = data.reader.store_of[taken]
        sides = data.reader.sides(crop_size).tolist()
        whole = [
            tiles
            for store, side in zip(stores, sides, strict=True)
            for tiles in cover_fields(store, crop_size, side, "grid")
        ]
        tiles = [_NO_CROPS] * len(whole)
        self.plates, batches = [], []
        for owner in np.unique(owners).tolist():
            for plate in list_plates(rows.filter(owners == owner)):
                self.plates.append(plate)
                batches += [f"plate {plate.name} of store {owner + 1}"] * len(plate.table)
                for field, some in thin(plate, whole, settings.recall_crops).items():
                    tiles[field] = some
        self.table = pl.concat([plate.table for plate in self.plates])
        self.batches = np.array(batches) if chosen.by_plate else None
        usual = EmbedSettings()
        adapts = bool(self.objective.notes().get("adabn"))
        self.embedder = Embedder(
            reader=data.reader,
            tiles=tiles,
            model=self.objective.model,
            machine=self.session.team.machine,
            crops_at_once=min(usual.crops_at_once, settings.crops_at_once or usual.crops_at_once),
            adabn_crops=usual.adabn_crops if adapts else 0,
        )

    def _lacks_guides(self) -> bool:
        named = name_rows(self.table, MapSettings()).filter(pl.col("name").is_not_null())
        return named["guide"].has_nulls()

    def _tell(self, chosen: Choice, genes: int) -> None:
        controls = int(self.table["control"].fill_null(False).sum())
        pairs = ", ".join(f"{len(known)} pairs of {name}" for name, known in self.pairs.items())
        crops = sum(self.embedder.count(plate) for plate in self.plates)
        info(
            f"recall is measured on {len(self.table)} wells, {controls} of them controls, and "
            f"{crops} crops: {genes} genes, {pairs}; corrected "
            + ("plate by plate" if chosen.by_plate else "all together")
        )


def _name_fields(data: Data) -> pl.DataFrame:
    """Return what is to be known of every field to choose wells."""
    fields = data.fields.with_row_index("field").with_columns(store=pl.Series(data.reader.store_of))
    columns = ["field", "store", "plate", "well", "name", "guide", "control"]
    return name_rows(fields, MapSettings()).select(columns)
