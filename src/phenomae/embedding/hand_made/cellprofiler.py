"""CellProfiler's features of nuclei and cells, computed by the package cp_measure.

cp_measure (Munoz et al. 2025, arXiv 2507.01163) has the measurements of CellProfiler as functions.
Images are scaled to 0..1 by the plate's intensity windows, as networks see them, and converted to
float64: cp_measure accepts uint8 and uint16 images, but sums in their type, which overflows
(findings/cp_measure_unsigned_images.sh).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt

from phenomae.embedding.hand_made.kind import Kind, View
from phenomae.embedding.hand_made.measurements import load_cp_measure, measure_objects
from phenomae.embedding.hand_made.nuclear_channel import find_nuclear_channel
from phenomae.embedding.hand_made.objects import find_objects

COMPARTMENTS = ("Cells", "Nuclei")


@dataclass(frozen=True)
class CellProfiler:
    """Measures every nucleus that is not cut by the edge of the image, and its cell."""

    channels: tuple[str, ...]
    nucleus: int
    """Index of the nuclear channel."""
    distance: int
    """Pixels by which a nucleus is grown to a cell."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the features, as CellProfiler's: `Cells_AreaShape_Area`."""
        return [f"{part}_{name}" for part in COMPARTMENTS for name in _name(self.channels)]

    def __call__(
        self, pixels: UInt[np.ndarray, "c h w"], windows: Float32[np.ndarray, "c 2"]
    ) -> Float64[np.ndarray, "m d"]:
        """Return one row per cell; undefined features are NaN or infinite."""
        images = scale(pixels, windows)
        objects = find_objects(images[self.nucleus], self.distance)
        if not objects.nuclei.any():
            return np.empty((0, len(COMPARTMENTS) * len(_name(self.channels))))
        parts = [
            measure_objects(labels, images, self.channels)
            for labels in (objects.cells, objects.nuclei)
        ]
        return np.stack([values for part in parts for values in part.values()], axis=1)


def scale(
    pixels: UInt[np.ndarray, "c h w"], windows: Float32[np.ndarray, "c 2"]
) -> Float64[np.ndarray, "c h w"]:
    """Return pixels with the ends of each channel's window as 0 and 1, clipped to them."""
    low, high = (ends[:, None, None].astype(np.float64) for ends in windows.T)
    return np.clip((pixels - low) / np.where(high > low, high - low, 1), 0, 1)


@cache
def _name(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the features of one object, by measuring a disc."""
    rows, columns = np.mgrid[:32, :32]
    disc: Int32[np.ndarray, "h w"] = (np.hypot(rows - 16, columns - 16) < 8).astype(np.int32)
    return tuple(measure_objects(disc, np.ones((len(channels), 32, 32)), channels))


def _make(view: View) -> CellProfiler:
    nucleus = find_nuclear_channel(view)
    return CellProfiler(tuple(view.channels), nucleus, view.settings.cell_distance)


def _find_version() -> str | None:
    try:
        return version("cp_measure")
    except PackageNotFoundError:
        return None


KIND = Kind(
    from_objects=_make,
    recorded={"cp_measure": _find_version(), "well": "median over objects"},
    settings=("nuclear_channel", "cell_distance"),
    require=load_cp_measure,
)
