"""Calls cp_measure for the objects of an image, with CellProfiler's names for what it returns."""

import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import combinations
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float64, Int32
from scipy import ndimage

# Where an object lies in the field says nothing of how it looks.
_PLACES = ("Location_", "Center_", "BoundingBoxMinimum_", "BoundingBoxMaximum_")
# Undefined for every object: the order of a normalised moment is 2 or more.
_UNDEFINED = ("NormalizedMoment_0_0", "NormalizedMoment_0_1", "NormalizedMoment_1_0")
_SHAPES = ("sizeshape", "zernike", "feret")
_INTENSITIES = ("intensity", "texture", "granularity", "radial_distribution", "radial_zernikes")
_CORRELATIONS = ("pearson", "manders_fold", "rwc")
_NAMES = {"Correlation_Pearson": "Correlation_Correlation"}  # CellProfiler's name
_LINEAR = ("Correlation_Pearson", "Correlation_Slope")

Measured = dict[str, Float64[np.ndarray, " m"]]


def load_cp_measure() -> ModuleType:
    """Return the module cp_measure.bulk; raises ValueError if the package is not installed."""
    try:
        return import_module("cp_measure.bulk")
    except ImportError:
        raise ValueError(
            "kind cellprofiler needs cp_measure: pip install 'phenomae[cellprofiler]'"
        ) from None


def measure_objects(
    labels: Int32[np.ndarray, "h w"],
    images: Float64[np.ndarray, "c h w"],
    channels: Sequence[str],
) -> Measured:
    """Return the features of the objects 1, 2, ... of a label image, by name, in a fixed order.

    Intensities have a range of 0 to 1. These are all features of cp_measure but three groups: the
    place of an object in the field, the three normalised moments that are undefined for every
    object, and Costes' coefficients, which cp_measure defines otherwise than CellProfiler (by a
    threshold of each object, not of the image), and which were NaN for 54 % of simulated cells and
    took more time than all others. Correlation and slope are NaN where a channel has one value.
    Quartiles are CellProfiler's (`legacy=True`).
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # A feature that is undefined for an object is NaN or infinite, and is left out by callers.
        warnings.simplefilter("ignore", RuntimeWarning)
        return dict(_measure(labels, images, channels))


def _measure(
    labels: Int32[np.ndarray, "h w"], images: Float64[np.ndarray, "c h w"], channels: Sequence[str]
) -> Iterator[tuple[str, Float64[np.ndarray, " m"]]]:
    bulk = load_cp_measure()
    core = bulk.get_core_measurements(legacy=True, sanitize=False)
    for group in _SHAPES:
        for key, values in core[group](labels, None).items():
            if not key.startswith(_PLACES) and key not in _UNDEFINED:
                yield f"AreaShape_{key}", values
    for channel, image in zip(channels, images, strict=True):
        for group in _INTENSITIES:
            for key, values in core[group](labels, image).items():
                if not key.startswith(_PLACES):
                    yield _name_intensity(group, key, channel), values
    pairwise = bulk.get_correlation_measurements(sanitize=False)
    flat = [_find_flat(labels, image) for image in images]
    for one, other in combinations(range(len(images)), 2):
        for group in _CORRELATIONS:
            for key, values in pairwise[group](images[one], images[other], labels).items():
                # cp_measure returns rounding errors here, slopes of -35 to 10 among them
                # (findings/cp_measure_flat_channel.sh).
                undefined = (flat[one] | flat[other]) & (key in _LINEAR)
                name = _name_correlation(key, channels[one], channels[other])
                yield name, np.where(undefined, np.nan, values)


def _find_flat(
    labels: Int32[np.ndarray, "h w"], image: Float64[np.ndarray, "h w"]
) -> Bool[np.ndarray, " m"]:
    """Return in which objects a channel has one value."""
    index = np.arange(1, labels.max() + 1)
    lowest, highest = (find(image, labels, index) for find in (ndimage.minimum, ndimage.maximum))
    return np.asarray(lowest) == np.asarray(highest)


def _name_intensity(group: str, key: str, channel: str) -> str:
    """Return the name with the channel in CellProfiler's place for it."""
    if group == "texture":  # Contrast_3_00_256
        name, _, scale = key.partition("_")
        return f"Texture_{name}_{channel}_{scale}"
    if group.startswith("radial"):  # RadialDistribution_FracAtD_1of4
        module, name, part = key.split("_", 2)
        return f"{module}_{name}_{channel}_{part}"
    return f"{key}_{channel}"  # Intensity_MeanIntensity, Granularity_1


def _name_correlation(key: str, first: str, second: str) -> str:
    if key in _LINEAR:
        return f"{_NAMES.get(key, key)}_{first}_{second}"
    name, _, way = key.rpartition("_")  # Correlation_Manders_1: of the first in the second
    return f"{name}_{first}_{second}" if way == "1" else f"{name}_{second}_{first}"
