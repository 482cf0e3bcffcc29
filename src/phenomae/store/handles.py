"""Open Zarr arrays of stores, kept for the next read because opening one takes longer than a crop.

The cache belongs to the process, not to a `Store`, so that stores can be pickled, copied and
filtered freely.
"""

import os
from collections.abc import Sequence
from functools import lru_cache

import tensorstore as ts

from phenomae.store.files import array_location
from phenomae.urls import locate

# 512 and not 4,096 (log, 2026-11-25): each handle has only 10 kB of its own, but lies among the
# buffers of pixels, which then cannot be given back: memory grew by up to 200 kB per handle.
# Opening an array again takes 0.2 ms.
_MAX_HANDLES = 512


def open_arrays(paths: Sequence[str], identity: str) -> list[ts.TensorStore]:
    """Open the arrays at absolute paths or addresses, or return those that are still open.

    All are requested before the first is awaited, because on S3 every opening is a round trip.
    `identity` is that of the store. Raises ValueError if one cannot be opened.
    """
    pending = {path: _begin_opening(path, identity, os.getpid()) for path in paths}
    return [_finish_opening(path, pending[path]) for path in paths]


def _finish_opening(path: str, pending: ts.Future) -> ts.TensorStore:
    try:
        return pending.result()
    except ValueError as error:
        # The cache holds failures too: without this a repaired store could not be opened again.
        _begin_opening.cache_clear()
        raise ValueError(f"{path} cannot be opened: {error}") from None


# The identity is part of the key so that a store replaced under the same name is opened again, and
# the process number so that a forked process does not use its parent's handles.
@lru_cache(maxsize=_MAX_HANDLES)
def _begin_opening(path: str, identity: str, process: int) -> ts.Future:
    spec = {
        "driver": "zarr3",
        "kvstore": array_location(locate(path)),
        "recheck_cached_data": "open",  # a finished store does not change
        # Every shard is written, even an empty one, so a missing shard is damage. By default
        # tensorstore would return zeros for it.
        "fill_missing_data_reads": False,
    }
    return ts.open(spec, open=True, read=True)
