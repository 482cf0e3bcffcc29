"""Profiles wells by the objects in their images: the median over all objects of a well.

Processes, not threads, because measuring objects holds the GIL for most of the time. Memory is
bounded by the objects of one well, and the images of two fields per process.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, UInt

from phenomae.blas import one_blas_thread
from phenomae.cores import available_cores
from phenomae.crops.prefetch import prefetch
from phenomae.embedding.hand_made.kind import DescribeObjects
from phenomae.embedding.plates import Plate
from phenomae.progress import Advance, info
from phenomae.workers import start_workers

Images = tuple[Sequence[UInt[np.ndarray, "c h w"]], Float32[np.ndarray, "c 2"]]
"""The crops of a field, or the whole field, and the windows of its channels."""
_WORTH_A_PROCESS = 8  # fields: a process takes as long to start as two or three fields
_MAX_WORKERS = 16


@dataclass(frozen=True)
class ObjectProfiler:
    """Computes the profiles of wells from their objects."""

    read: Callable[[int], Images]
    """Reads the images of a field, given its index."""
    describe: DescribeObjects
    pool: Executor | None
    """Processes that describe images; None: this process does."""
    workers: int

    def profile(
        self, plate: Plate, advance: Advance
    ) -> tuple[pl.DataFrame, Float32[np.ndarray, "n d"]]:
        """Return the wells of a plate that have an object, and their profiles, one row per well.

        Prints the number of wells without an object.
        """
        order = np.argsort(plate.well_of, kind="stable")
        fields, wells = plate.fields[order].tolist(), plate.well_of[order].tolist()
        # The threads only read and wait: the work is done by the processes.
        parts = prefetch(self._describe, fields, ahead=2 * self.workers, threads=self.workers)
        kept, profiles = [], []
        for well, group in groupby(zip(wells, parts, strict=True), key=lambda pair: pair[0]):
            objects = []
            for _, part in group:
                objects.append(part)
                advance()
            found = np.concatenate(objects)
            if len(found):
                kept.append(well)
                profiles.append(median_profile(found))
        if left_out := len(plate.table) - len(kept):
            info(
                f"{plate.name}: {left_out} of {len(plate.table)} wells are left out: they have no "
                "nucleus that is not cut by the edge of an image"
            )
        shape = (len(kept), len(self.describe.names))
        return plate.table[kept], np.array(profiles, dtype=np.float32).reshape(shape)

    def _describe(self, field: int) -> Float64[np.ndarray, "m d"]:
        images = self.read(field)
        if self.pool is None:
            return _describe_images(self.describe, images)
        return self.pool.submit(_describe_images, self.describe, images).result()


@contextmanager
def start_profiler(
    read: Callable[[int], Images], describe: DescribeObjects, fields: int
) -> Iterator[ObjectProfiler]:
    """Yield a profiler with a process per core, or without where there are few fields to read."""
    workers = min(available_cores(), _MAX_WORKERS, fields // _WORTH_A_PROCESS)
    if workers < 2:
        yield ObjectProfiler(read, describe, None, 1)
    else:
        with start_workers(workers) as pool:
            yield ObjectProfiler(read, describe, pool, workers)


def median_profile(objects: Float64[np.ndarray, "m d"]) -> Float32[np.ndarray, " d"]:
    """Return the median of each feature over the objects for which it is a finite number.

    A feature that is undefined for all objects is 0, as in the other kinds of features.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered")
        median = np.nanmedian(np.where(np.isfinite(objects), objects, np.nan), axis=0)
    return np.nan_to_num(median, nan=0.0).astype(np.float32)


def _describe_images(describe: DescribeObjects, images: Images) -> Float64[np.ndarray, "m d"]:
    pixels, windows = images
    # The products of one object are small: threads of BLAS wait for each other most of the time.
    with one_blas_thread():
        return np.concatenate([describe(image, windows) for image in pixels])
