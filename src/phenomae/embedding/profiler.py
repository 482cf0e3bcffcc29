"""Computes the profiles of a store's wells by one kind of hand-made features."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, UInt
from PIL import Image

from phenomae.cores import available_cores
from phenomae.crops.prefetch import prefetch
from phenomae.crops.tiles import Tiles
from phenomae.embedding.covering import cover_fields
from phenomae.embedding.hand_made.kind import Describe, DescribeObjects, Kind, View
from phenomae.embedding.hand_made.kinds import find_kind
from phenomae.embedding.object_profiles import Images, start_profiler
from phenomae.embedding.plates import Plate, mean_per_well
from phenomae.progress import Advance
from phenomae.records import choose_channels
from phenomae.store.read import Store, read_field, windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from phenomae.embedding.features import FeaturesSettings

    Profile = Callable[[Plate, Advance], tuple[pl.DataFrame, Float32[np.ndarray, "n d"]]]
    """Returns the wells of a plate that have a profile, and their profiles."""


@dataclass(frozen=True)
class Profiler:
    """Computes the profiles of the wells of a store."""

    store: Store
    settings: "FeaturesSettings"
    kind: Kind
    channels: Sequence[int]
    """Indices of the channels, in the order of their features."""
    tiles: Sequence[Tiles] | None
    """Crops of every field; None: whole fields."""
    side: int | None
    """Side of the crops in pixels of the store."""
    scale: float
    """Pixels of the store per pixel of the features."""
    describe: Describe | None
    """Computes the features of an image."""
    describe_objects: DescribeObjects | None
    """Computes the features of the objects in an image. Neither: features of names of wells."""

    @contextmanager
    def start(self, fields: int) -> Iterator["Profile"]:
        """Yield the function that profiles a plate; `fields` are those that are still to do."""
        if self.describe_objects is None:
            yield self._profile
        else:
            with start_profiler(self._read, self.describe_objects, fields) as objects:
                yield objects.profile

    def _profile(
        self, plate: Plate, advance: Advance
    ) -> tuple[pl.DataFrame, Float32[np.ndarray, "n d"]]:
        """Return the wells of a plate and their profiles, one row per well."""
        if self.describe is None:
            assert self.kind.from_wells is not None
            advance(len(plate.fields))
            values = self.kind.from_wells(plate.table["well"].to_list())
            return plate.table, values.astype(np.float32)
        # Threads, because decompression and numpy release the GIL for most of the time.
        parts, threads = [], min(available_cores(), 8)
        fields = plate.fields.tolist()
        for part in prefetch(self._describe_field, fields, ahead=2 * threads, threads=threads):
            parts.append(part)
            advance()
        wells = np.repeat(plate.well_of, [len(part) for part in parts])
        return plate.table, mean_per_well(np.concatenate(parts), wells, len(plate.table))

    def _describe_field(self, field: int) -> Float64[np.ndarray, "m d"]:
        """Return one row of features per crop, or one row for the whole field."""
        assert self.describe is not None
        images, _ = self._read(field)
        return np.stack([self.describe(image) for image in images])

    def _read(self, field: int) -> Images:
        """Return the crops of a field, or the whole field, and the windows of the channels."""
        pixels = read_field(self.store, field)[list(self.channels)]
        ends = windows(self.store, [field])[0][list(self.channels)]
        if self.tiles is None:
            return [resize(pixels, self.scale)], ends
        corners = zip(self.tiles[field].tops, self.tiles[field].lefts, strict=True)
        side, size = self.side, self.settings.crop_size
        assert side is not None
        crops = [pixels[:, top : top + side, left : left + side] for top, left in corners]
        return [resize(crop, self.scale, size) for crop in crops], ends


def make_profiler(store: Store, settings: "FeaturesSettings") -> Profiler:
    """Return the profiler of a kind; raises ValueError if the images do not allow it."""
    names = choose_channels(settings.channels, list(store.channels), str(store.path))
    kind, scale = find_kind(settings.kind), store.scale_to(settings.pixel_size_um)
    if kind.from_wells is not None:
        return Profiler(store, settings, kind, [], None, None, scale, None, None)
    side = settings.crop_size and max(1, round(settings.crop_size * scale))
    tiles = None
    if settings.tiling and settings.crop_size and side:
        remedy = "choose a smaller crop_size"
        tiles = cover_fields(
            store, settings.crop_size, side, settings.tiling, settings.crops_per_field, remedy
        )
    smallest = int(store.fields.select("height", "width").min().to_numpy().min())
    seen = settings.crop_size or round(smallest / scale)
    view = View(str(store.path), tuple(names.values()), seen, settings)
    channels = [store.channels.index(name) for name in names]
    describe = kind.from_pixels and kind.from_pixels(view)
    objects = kind.from_objects and kind.from_objects(view)
    return Profiler(store, settings, kind, channels, tiles, side, scale, describe, objects)


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
