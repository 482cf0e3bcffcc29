"""`phenomae features` computes one profile per well without learning: baselines for networks.

What a trained network is worth is what it finds beyond these features. For a fair comparison they
should see the same fields, channels and pixels as the network: `where`, `channels`, `tiling` and
`pixel_size_um` have the same meaning as in `embed`. The module does not use torch.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float32, Float64, UInt
from PIL import Image

from phenomae.artefacts import Origin, artefact_folder
from phenomae.checks import above, at_least, one_of
from phenomae.cores import available_cores
from phenomae.crops.fields import keep_fields
from phenomae.crops.prefetch import prefetch
from phenomae.crops.tiles import Tiles, Tiling
from phenomae.embedding.covering import (
    cover_fields,
    report_left_out_fields,
    report_left_out_pixels,
)
from phenomae.embedding.hand_made.kind import Describe, View
from phenomae.embedding.hand_made.kinds import find_kind
from phenomae.embedding.plates import Plate, mean_per_well, read_plates, write_missing_plates
from phenomae.paths import PathLike
from phenomae.progress import Advance, track
from phenomae.records import choose_channels
from phenomae.store.read import Store, open_store, read_field
from phenomae.urls import Location, locate
from phenomae.wells import KIND, Wells, plate_path

FeatureKind = Literal["spectra", "random-layer", "intensity", "count", "position"]


@Parameter(name="*")
@dataclass(frozen=True)
class FeaturesSettings:
    """The kind of features, and the fields, channels and pixels they are computed from."""

    kind: FeatureKind = "spectra"
    """spectra: radial power of each channel and coherence of each pair; random-layer: random
    filters and a GELU, averaged; intensity: 11 statistics of each channel; count: blobs and
    foreground of the nuclear channel; position: row, column and distance to the edge."""
    where: str | None = None
    """SQL condition on the rows of fields.parquet, as in embed: "focus > 0.1 AND plate != 'P3'".
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
    pixel_size_um: float | None = None
    """Pixel size in micrometres to which fields or crops are resampled, as in embed. Default: no
    resampling."""
    filters: int = 128
    """random-layer: number of filters, which is the number of features."""
    filter_size: int = 8
    """random-layer: side of the filters, and of the patches, in pixels."""
    seed: int = 0
    """random-layer: seed of the filters."""
    nuclear_channel: str = ""
    """count: name of the channel with nuclei. Empty: the channel named DNA, DAPI, Hoechst, ..."""

    def __post_init__(self) -> None:
        one_of("kind", self.kind, get_args(FeatureKind))
        one_of("tiling", self.tiling, get_args(Tiling))
        at_least("crop_size", self.crop_size, 1)
        above("pixel_size_um", self.pixel_size_um, 0)
        for name, minimum in (("filters", 1), ("filter_size", 1), ("seed", 0)):
            at_least(name, getattr(self, name), minimum)
        if (self.tiling is None) != (self.crop_size is None):
            raise ValueError("tiling and crop_size need each other: give both or neither")

    def recorded(self) -> dict[str, Any]:
        """Return what identifies the features: constants, and settings that are not the defaults.

        So that wells of `phenomae intensity`, which had fewer settings, count as the same work.
        """
        kind, defaults = find_kind(self.kind), asdict(FeaturesSettings())
        shared = ("where", "channels", "tiling", "crop_size", "pixel_size_um")
        names = (*(shared if kind.from_pixels else ("where",)), *kind.settings)
        changed = {name: getattr(self, name) for name in names}
        changed = {name: value for name, value in changed.items() if value != defaults[name]}
        return {"method": self.kind, **kind.recorded, **changed}


def features(
    store: Location,
    wells: PathLike,
    /,
    *,
    settings: FeaturesSettings = FeaturesSettings(),
    overwrite: bool = False,
) -> Wells:
    """Compute one profile per well without learning, as a baseline for networks.

    The profile of a well is the mean over its fields, or with tiling over its crops. An interrupted
    call resumes with the missing plates.

    Parameters
    ----------
    store
        Store written by `phenomae ingest`: a folder or an s3:// address.
    wells
        Folder to write, one Parquet file per plate.
    settings
        The kind of features, and the fields, channels and pixels they are computed from.
    overwrite
        Replace wells that were made from another store, or with other settings.

    Raises
    ------
    ValueError
        If the store has no field or lacks a channel, `where` is not valid or matches no field, a
        field is smaller than a crop, or the kind of features cannot be computed from the images.
    """
    folder, full = Path(wells), open_store(locate(store))
    kept = keep_fields(full, settings.where)
    plates = read_plates(kept)
    # Like everything else that can fail, before the folder is made.
    profiler = _make_profiler(kept, settings)
    origin = Origin(KIND, settings.recorded(), {"store": kept.identity})
    with artefact_folder(folder, origin, overwrite) as partial:
        if partial is None:
            return Wells(folder)
        report_left_out_fields(full, kept)
        report_left_out_pixels(kept, profiler.tiles or [])
        done = sum(len(item.fields) for item in plates if plate_path(partial, item.name).exists())
        with track("features", len(kept.fields), "fields", done) as advance:
            write_missing_plates(partial, plates, lambda plate: profiler.profile(plate, advance))
    return Wells(folder)


@dataclass(frozen=True)
class _Profiler:
    """Computes the profiles of the wells of a store."""

    store: Store
    settings: FeaturesSettings
    channels: Sequence[int]
    """Indices of the channels, in the order of their features."""
    tiles: Sequence[Tiles] | None
    """Crops of every field; None: whole fields."""
    side: int | None
    """Side of the crops in pixels of the store."""
    scale: float
    """Pixels of the store per pixel of the features."""
    describe: Describe | None
    """Computes the features of an image; None: features of the names of wells."""

    def profile(self, plate: Plate, advance: Advance) -> Float32[np.ndarray, "n d"]:
        """Return the profiles of a plate's wells, one row per well."""
        if self.describe is None:
            from_wells = find_kind(self.settings.kind).from_wells
            assert from_wells is not None
            advance(len(plate.fields))
            return from_wells(plate.table["well"].to_list()).astype(np.float32)
        # Threads, because decompression and numpy release the GIL for most of the time.
        parts, threads = [], min(available_cores(), 8)
        fields = plate.fields.tolist()
        for part in prefetch(self._describe_field, fields, ahead=2 * threads, threads=threads):
            parts.append(part)
            advance()
        wells = np.repeat(plate.well_of, [len(part) for part in parts])
        return mean_per_well(np.concatenate(parts), wells, len(plate.table))

    def _describe_field(self, field: int) -> Float64[np.ndarray, "m d"]:
        """Return one row of features per crop, or one row for the whole field."""
        assert self.describe is not None
        pixels = read_field(self.store, field)[list(self.channels)]
        if self.tiles is None:
            return self.describe(resize(pixels, self.scale))[None]
        corners = zip(self.tiles[field].tops, self.tiles[field].lefts, strict=True)
        side = self.side
        assert side is not None
        crops = [pixels[:, top : top + side, left : left + side] for top, left in corners]
        size = self.settings.crop_size
        return np.stack([self.describe(resize(crop, self.scale, size)) for crop in crops])


def _make_profiler(store: Store, settings: FeaturesSettings) -> _Profiler:
    names = choose_channels(settings.channels, list(store.channels), str(store.path))
    kind, scale = find_kind(settings.kind), store.scale_to(settings.pixel_size_um)
    if kind.from_pixels is None:
        return _Profiler(store, settings, [], None, None, scale, None)
    side = settings.crop_size and max(1, round(settings.crop_size * scale))
    tiles = None
    if settings.tiling and settings.crop_size and side:
        remedy = "choose a smaller crop_size"
        tiles = cover_fields(store, settings.crop_size, side, settings.tiling, remedy)
    smallest = int(store.fields.select("height", "width").min().to_numpy().min())
    seen = settings.crop_size or round(smallest / scale)
    view = View(str(store.path), tuple(names.values()), seen, settings)
    channels = [store.channels.index(name) for name in names]
    return _Profiler(store, settings, channels, tiles, side, scale, kind.from_pixels(view))


def resize(
    pixels: UInt[np.ndarray, "c h w"], scale: float, size: int | None = None
) -> UInt[np.ndarray, "c s t"]:
    """Resample an image to pixels `scale` times as large; crops have `size` pixels per side then.

    The triangle filter of Pillow, which `embed` uses as torch implements it; rounded to the dtype.
    """
    height, width = (size or round(side / scale) for side in pixels.shape[1:])
    if (height, width) == pixels.shape[1:]:
        return pixels
    images = [Image.fromarray(channel.astype(np.float32)) for channel in pixels]
    smooth = [image.resize((width, height), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image).round() for image in smooth]).astype(pixels.dtype)
