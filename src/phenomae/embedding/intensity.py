"""Hand-made intensity statistics of every well, the baseline that a network has to beat."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt

from phenomae.artefacts import Origin, artefact_folder
from phenomae.cores import available_cores
from phenomae.crops.prefetch import prefetch
from phenomae.embedding.plates import Plate, mean_per_well, read_plates, write_missing_plates
from phenomae.progress import Advance, track
from phenomae.store.read import Store, open_store, read_field
from phenomae.urls import Location
from phenomae.wells import KIND, plate_path

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
STATISTICS = ("mean", "sd", *(f"percentile {at}" for at in PERCENTILES), "skewness", "kurtosis")


def intensity(store: Location, wells: Path, /, *, overwrite: bool = False) -> None:
    """Describe every well by statistics of its pixels' intensities, channel by channel.

    A channel's features stand together, in the order of `STATISTICS`. Form and arrangement cannot
    be told from them, so they show what a network adds. Raises ValueError where the store has no
    field.

    Parameters
    ----------
    store
        What `phenomae ingest` made: a folder, or an s3:// address.
    wells
        Folder of the vectors, one Parquet file a plate.
    overwrite
        Replace wells that are there already.
    """
    screen = open_store(store)
    plates = read_plates(screen)
    settings = {"method": "intensity", "statistics": list(STATISTICS)}
    origin = Origin(KIND, settings, {"store": screen.identity})
    with artefact_folder(wells, origin, overwrite) as folder:
        if folder is None:
            return
        done = sum(len(plate.fields) for plate in plates if plate_path(folder, plate.name).exists())
        with track("intensity", len(screen.fields), "fields", done) as advance:
            write_missing_plates(folder, plates, lambda plate: _describe(screen, plate, advance))


def describe_field(pixels: UInt[np.ndarray, "c h w"]) -> Float64[np.ndarray, " d"]:
    """Return `STATISTICS` of every channel, one channel after the other.

    sd and the moments are those of all pixels (divided by n); kurtosis is 0 for a normal
    distribution. Skewness and kurtosis of a flat channel are 0.
    """
    return np.concatenate([_describe_channel(channel.ravel()) for channel in pixels])


def _describe(screen: Store, plate: Plate, advance: Advance) -> Float32[np.ndarray, "n d"]:
    def describe(field: int) -> Float64[np.ndarray, " d"]:
        return describe_field(read_field(screen, field))

    vectors, threads = [], min(available_cores(), 8)
    for vector in prefetch(describe, plate.fields.tolist(), ahead=2 * threads, threads=threads):
        vectors.append(vector)
        advance()
    return mean_per_well(np.stack(vectors), plate.well_of, len(plate.table))


def _describe_channel(pixels: UInt[np.ndarray, " n"]) -> Float64[np.ndarray, " k"]:
    """Work on the histogram, which is exact for integers and shorter than the pixels."""
    counts = np.bincount(pixels)
    values = np.flatnonzero(counts)
    weights = counts[values] / len(pixels)
    mean = values @ weights
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
    """Return `PERCENTILES` of values that occur so often, between neighbours along a line."""
    ends = np.cumsum(counts)
    places = np.array(PERCENTILES) / 100 * (ends[-1] - 1)
    below, above = (
        values[np.searchsorted(ends, rank(places), side="right")] for rank in (np.floor, np.ceil)
    )
    return below + (above - below) * (places - np.floor(places))
