"""`phenomae intensity` computes intensity statistics per well, a baseline for networks.

The statistics contain no shape or texture, so that a network should reach a higher recall. For a
fair comparison the baseline should use the same fields, channels and pixels as the network:
`where`, `channels` and `tiling` have the same meaning as in `embed`. The module does not use torch.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float32, Float64, Int64, UInt

from phenomae.artefacts import Origin, artefact_folder
from phenomae.checks import at_least, one_of
from phenomae.cores import available_cores
from phenomae.crops.fields import keep_fields
from phenomae.crops.prefetch import prefetch
from phenomae.crops.tiles import Tiles, Tiling
from phenomae.embedding.covering import (
    cover_fields,
    report_left_out_fields,
    report_left_out_pixels,
)
from phenomae.embedding.plates import Plate, mean_per_well, read_plates, write_missing_plates
from phenomae.paths import PathLike
from phenomae.progress import Advance, track
from phenomae.records import choose_channels
from phenomae.store.read import Store, open_store, read_field
from phenomae.urls import Location, locate
from phenomae.wells import KIND, Wells, plate_path

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
STATISTICS = ("mean", "sd", *(f"percentile {at}" for at in PERCENTILES), "skewness", "kurtosis")


@Parameter(name="*")
@dataclass(frozen=True)
class IntensitySettings:
    """The fields, channels and pixels whose statistics are computed; by default all."""

    where: str | None = None
    """SQL condition on the rows of fields.parquet, as in embed: "focus > 0.1 AND plate != 'P3'".
    Only fields that meet it are used; a well without such a field is left out. Default: all
    fields."""
    channels: str = ""
    """Channels of the store to use, comma-separated, in the order of the features: `DNA,ER`. New
    names (`Hoechst=DNA`) are allowed, as in embed, but have no effect. Empty: all channels."""
    tiling: Tiling | None = None
    """Compute statistics of crops, positioned as in embed (grid or overlap), and average over the
    crops; needs crop_size. Default: statistics of whole fields."""
    crop_size: int | None = None
    """Side of the crops in pixels of the store, usually that of the network to compare with."""

    def __post_init__(self) -> None:
        one_of("tiling", self.tiling, get_args(Tiling))
        at_least("crop_size", self.crop_size, 1)
        if (self.tiling is None) != (self.crop_size is None):
            raise ValueError("tiling and crop_size need each other: give both or neither")

    def changed(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults.

        Only these are recorded, so that artefacts of older versions, which had no settings, count
        as the same work.
        """
        defaults = asdict(IntensitySettings())
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}


def intensity(
    store: Location,
    wells: PathLike,
    /,
    *,
    settings: IntensitySettings = IntensitySettings(),
    overwrite: bool = False,
) -> Wells:
    """Compute one profile per well from intensity statistics of each channel, as a baseline.

    Each channel has 11 features: mean, standard deviation, percentiles 1, 5, 25, 50, 75, 95 and 99,
    skewness and excess kurtosis of its stored pixels. The profile of a well is the mean over its
    fields, or with tiling over its crops. An interrupted call resumes with the missing plates.

    Parameters
    ----------
    store
        Store written by `phenomae ingest`: a folder or an s3:// address.
    wells
        Folder to write, one Parquet file per plate.
    settings
        The fields, channels and pixels whose statistics are computed.
    overwrite
        Replace wells that were made from another store, or with other settings.

    Raises
    ------
    ValueError
        If the store has no field or lacks a channel, `where` is not valid or matches no field, or a
        field is smaller than a crop.
    """
    folder, full = Path(wells), open_store(locate(store))
    kept = keep_fields(full, settings.where)
    plates = read_plates(kept)
    names = choose_channels(settings.channels, list(kept.channels), str(kept.path))
    channels = [kept.channels.index(name) for name in names]
    # Like everything else that can fail, before the folder is made.
    describer = _Describer(kept, channels, _lay_crops(kept, settings), settings.crop_size)
    recorded = {"method": "intensity", "statistics": list(STATISTICS), **settings.changed()}
    origin = Origin(KIND, recorded, {"store": kept.identity})
    with artefact_folder(folder, origin, overwrite) as partial:
        if partial is None:
            return Wells(folder)
        report_left_out_fields(full, kept)
        report_left_out_pixels(kept, describer.tiles or [])
        done = sum(len(item.fields) for item in plates if plate_path(partial, item.name).exists())
        with track("intensity", len(kept.fields), "fields", done) as advance:
            write_missing_plates(partial, plates, lambda plate: describer.describe(plate, advance))
    return Wells(folder)


def _lay_crops(store: Store, settings: IntensitySettings) -> list[Tiles] | None:
    side = settings.crop_size
    if settings.tiling is None or side is None:
        return None
    return cover_fields(store, side, side, settings.tiling, "choose a smaller crop_size")


def describe_field(pixels: UInt[np.ndarray, "c h w"]) -> Float64[np.ndarray, " d"]:
    """Return the `STATISTICS` of every channel, one channel after the other.

    Standard deviation and moments are divided by the number of pixels (not by one less). Kurtosis
    is excess kurtosis, 0 for a normal distribution. Both moments of a constant channel are 0.
    """
    return np.concatenate([_describe_channel(channel.ravel()) for channel in pixels])


@dataclass(frozen=True)
class _Describer:
    """Computes the statistics of the fields of a store."""

    store: Store
    channels: Sequence[int]
    """Indices of the channels, in the order of their features."""
    tiles: Sequence[Tiles] | None
    """Crops of every field; None: whole fields."""
    crop_size: int | None

    def describe(self, plate: Plate, advance: Advance) -> Float32[np.ndarray, "n d"]:
        """Return the profiles of a plate's wells, one row per well."""
        # Threads, because decompression and numpy release the GIL for most of the time.
        parts, threads = [], min(available_cores(), 8)
        fields = plate.fields.tolist()
        for part in prefetch(self._describe_field, fields, ahead=2 * threads, threads=threads):
            parts.append(part)
            advance()
        wells = np.repeat(plate.well_of, [len(part) for part in parts])
        return mean_per_well(np.concatenate(parts), wells, len(plate.table))

    def _describe_field(self, field: int) -> Float64[np.ndarray, "m d"]:
        """Return one row of statistics per crop, or one row for the whole field."""
        pixels = read_field(self.store, field)[list(self.channels)]
        if self.tiles is None:
            return describe_field(pixels)[None]
        corners = zip(self.tiles[field].tops, self.tiles[field].lefts, strict=True)
        side = self.crop_size
        assert side is not None
        crops = [pixels[:, top : top + side, left : left + side] for top, left in corners]
        return np.stack([describe_field(crop) for crop in crops])


def _describe_channel(pixels: UInt[np.ndarray, " n"]) -> Float64[np.ndarray, " k"]:
    """Return the `STATISTICS` of one channel."""
    # From the histogram, because there are fewer intensity levels than pixels.
    counts = np.bincount(pixels)
    values = np.flatnonzero(counts)
    weights = counts[values] / len(pixels)
    mean = values @ weights
    # Central moments from offsets, because differences of raw moments would cancel.
    offsets = values - mean
    squares = offsets * offsets
    variance, third, fourth = (
        power @ weights for power in (squares, squares * offsets, squares * squares)
    )
    shape = (third / variance**1.5, fourth / variance**2 - 3) if variance else (0.0, 0.0)
    return np.array([mean, np.sqrt(variance), *_percentiles(values, counts[values]), *shape])


def _percentiles(
    values: Int64[np.ndarray, " v"], counts: Int64[np.ndarray, " v"]
) -> Float64[np.ndarray, " k"]:
    """Return the `PERCENTILES`, linearly interpolated, of `values` that occur `counts` times."""
    # The pixel of rank r is the first value whose cumulative count exceeds r.
    ends = np.cumsum(counts)
    places = np.array(PERCENTILES) / 100 * (ends[-1] - 1)
    below, above = (
        values[np.searchsorted(ends, rank(places), side="right")] for rank in (np.floor, np.ceil)
    )
    return below + (above - below) * (places - np.floor(places))
