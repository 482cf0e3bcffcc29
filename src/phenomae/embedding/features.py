"""`phenomae features` computes one profile per well without learning: baselines for networks.

What a trained network is worth is what it finds beyond these features. For a fair comparison they
should see the same fields, channels and pixels as the network: `where`, `channels`, `tiling` and
`pixel_size_um` have the same meaning as in `embed`. The module does not use torch.
"""

from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import Parameter

from phenomae.checks import above, at_least, one_of, whole_numbers
from phenomae.crops.fields import keep_fields
from phenomae.crops.tiles import Tiling
from phenomae.crops.turns import TURNS, Turns
from phenomae.embedding.covering import report_left_out_fields, report_left_out_pixels
from phenomae.embedding.hand_made.kinds import KINDS, find_kind
from phenomae.embedding.plates import Plate, plate_units, read_plates
from phenomae.embedding.profiler import Profiler, make_profiler
from phenomae.images.platemap.settings import LABELS, PlateMapSettings
from phenomae.paths import PathLike
from phenomae.progress import track
from phenomae.shards import find_shard
from phenomae.shared_artefacts import (
    SharedFolder,
    deal_units,
    is_finished,
    shared_folder,
)
from phenomae.signatures import Origin
from phenomae.store.read import open_store
from phenomae.store.relabel import relabel_fields
from phenomae.urls import Location, locate
from phenomae.wells import KIND, Wells, write_feature_names, write_plate

FeatureKind = Literal["spectra", "random-layer", "intensity", "count", "cellprofiler", "position"]
_EVERY_KIND = (
    "kind",
    "where",
    "channels",
    "tiling",
    "crop_size",
    "crops_per_field",
    "pixel_size_um",
)


@Parameter(name="*")
@dataclass(frozen=True)
class FeaturesSettings:
    """The kind of features, and the fields, channels and pixels they are computed from."""

    kind: FeatureKind = "spectra"
    """spectra: radial power of each channel and coherence of each pair; random-layer: random
    filters and a GELU, averaged; intensity: 11 statistics of each channel; count: blobs and
    foreground of the nuclear channel; cellprofiler: CellProfiler's features of nuclei and cells, by
    the package cp_measure (slow); position: row, column and distance to the edge."""
    where: str | None = None
    """Condition on the rows of fields.parquet, as in embed: "focus > 0.1 AND plate != 'P3'".
    Only fields that meet it are used; a well without such a field is left out. Default: all
    fields."""
    channels: str = ""
    """Channels of the store to use, comma-separated, in the order of the features: `DNA,ER`. New
    names (`Hoechst=DNA`) are allowed, as in embed. Empty: all channels."""
    tiling: Tiling | None = None
    """Compute features of crops, positioned as in embed (grid or overlap), and average over the
    crops; needs crop_size. Default: features of whole fields."""
    crop_size: int | None = None
    """Side of the crops in pixels, usually that of the network to compare with."""
    crops_per_field: int | None = None
    """Maximum number of crops of a field, as in embed; needs tiling. Default: all."""
    pixel_size_um: float | None = None
    """Pixel size in micrometres to which fields or crops are resampled, as in embed. Default: no
    resampling."""
    filters: int = 128
    """random-layer: number of filters, which is the number of features."""
    filter_size: int = 8
    """random-layer: side of the filters, and of the patches, in pixels."""
    seed: int = 0
    """random-layer: seed of the filters."""
    turns: Turns = 1
    """random-layer: turns over which the features are averaged, as in embed: 4 or 8. Spectra,
    intensity and count do not depend on how an image is turned."""
    nuclear_channel: str = ""
    """count, cellprofiler: name of the channel with nuclei. Empty: the channel named DNA, DAPI,
    Hoechst, ..."""
    cell_distance: int = 10
    """cellprofiler: pixels by which a nucleus is grown to a cell."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        one_of("kind", self.kind, get_args(FeatureKind))
        one_of("tiling", self.tiling, get_args(Tiling))
        one_of("turns", self.turns, TURNS)
        at_least("crop_size", self.crop_size, 1)
        at_least("crops_per_field", self.crops_per_field, 1)
        above("pixel_size_um", self.pixel_size_um, 0)
        for name in ("filters", "filter_size", "cell_distance"):
            at_least(name, getattr(self, name), 1)
        at_least("seed", self.seed, 0)
        self._refuse_settings_of_other_kinds()
        if (self.tiling is None) != (self.crop_size is None):
            raise ValueError("tiling and crop_size need each other: give both or neither")
        if self.crops_per_field is not None and self.tiling is None:
            raise ValueError("crops_per_field needs tiling and crop_size, which cut the crops")

    def _refuse_settings_of_other_kinds(self) -> None:
        for item in fields(self):
            if item.name in _EVERY_KIND or getattr(self, item.name) == item.default:
                continue
            kinds = [name for name in KINDS if item.name in find_kind(name).settings]
            if self.kind not in kinds:
                raise ValueError(
                    f"{item.name} is a setting of kind {' and '.join(kinds)}, not of {self.kind}: "
                    "leave it out"
                )

    def recorded(self) -> dict[str, Any]:
        """Return what identifies the features: constants, and settings that are not the defaults.

        So that wells of `phenomae intensity`, which had fewer settings, count as the same work.
        """
        kind, defaults = find_kind(self.kind), asdict(FeaturesSettings())
        shared = _EVERY_KIND[1:]
        names = (*(("where",) if kind.from_wells else shared), *kind.settings)
        changed = {name: getattr(self, name) for name in names}
        changed = {name: value for name, value in changed.items() if value != defaults[name]}
        return {"method": self.kind, **kind.recorded, **changed}


def features(
    store: Location,
    wells: PathLike,
    /,
    *,
    settings: FeaturesSettings = FeaturesSettings(),
    labels: Annotated[PlateMapSettings, LABELS] = PlateMapSettings(),
    overwrite: bool = False,
    shard: str | None = None,
) -> Wells:
    """Compute one profile per well without learning, as a baseline for networks.

    The profile of a well is the mean over its fields, or with tiling over its crops; for kind
    cellprofiler it is the median over its cells, and wells without a cell are left out. An
    interrupted call resumes with the missing plates.

    Parameters
    ----------
    store
        Store written by `phenomae ingest`: a folder or an s3:// address.
    wells
        Folder to write, one Parquet file per plate.
    settings
        The kind of features, and the fields, channels and pixels they are computed from.
    labels
        A plate map whose labels replace those of the store.
    overwrite
        Replace wells that were made from another store, or with other settings.
    shard
        I/N: this call is the I-th of N that fill the same folder together, plate by plate. By
        default SLURM (job arrays) and torchrun tell; 1/1 is a call alone.

    Raises
    ------
    ValueError
        If the store has no field or lacks a channel, `where` is not valid or matches no field, a
        field is smaller than a crop, the kind of features cannot be computed from the images, the
        package that computes it is not installed, the plate map is wrong, or shards disagree on
        their number.
    """
    share = find_shard(shard)
    if require := find_kind(settings.kind).require:
        require()
    folder, full = Path(wells), relabel_fields(open_store(locate(store)), labels)
    kept = keep_fields(full, settings.where)
    plates = read_plates(kept)
    # Like everything else that can fail, before the folder is made.
    profiler = make_profiler(kept, settings)
    origin = Origin(KIND, settings.recorded(), kept.sources)

    def finish(partial: Path) -> None:
        if not list(partial.glob("*.parquet")):
            raise ValueError(
                f"{kept.path} has no nucleus that is not cut by the edge of an image: name the "
                "channel with nuclei with nuclear_channel, or choose larger crops"
            )
        if profiler.describe_objects is not None:
            write_feature_names(partial, profiler.describe_objects.names)

    units = plate_units(plates)
    with shared_folder(folder, origin, units, share, overwrite, finish=finish) as shared:
        if shared is not None:
            report_left_out_fields(full, kept)
            report_left_out_pixels(kept, profiler.tiles or [], settings.crops_per_field)
            _write_profiles(profiler, plates, shared)
    return Wells(folder, share is None or is_finished(folder, origin))


def _write_profiles(profiler: Profiler, plates: list[Plate], shared: SharedFolder) -> None:
    """Write every plate that is not written yet, and that has a well with a profile."""
    by_name = {plate.name: plate for plate in plates}
    missing = [plate for plate in plates if shared.lacks(plate.name)]
    total, left = (sum(len(plate.fields) for plate in some) for some in (plates, missing))
    with (
        track("features", total, "fields", total - left) as advance,
        profiler.start(left) as profile,
        closing(deal_units([shared])) as dealt,
    ):
        for name, lacking in dealt:
            plate = by_name[name]
            if not lacking:  # another shard has written it
                advance(len(plate.fields))
                continue
            table, values = profile(plate, advance)
            if len(table):
                write_plate(shared.folder, table, values)
