"""Cache of open Zarr arrays of stores.

There is one cache per process and none per `Store`, so that a `Store` can be pickled, copied and
filtered.
"""

import os
from collections.abc import Sequence
from functools import lru_cache

import tensorstore as ts

from phenomae.store.files import array_location
from phenomae.urls import locate

# 512 and not 4,096 (docs/log.md, 2026-11-25): a handle itself takes only 10 kB, but is allocated
# between pixel buffers and keeps their memory from being freed, so that memory grew by up to 200 kB
# per handle. Opening an array again takes 0.2 ms.
_MAX_HANDLES = 512


Shape = tuple[int, int, int]


def open_arrays(
    places: Sequence[tuple[str, Shape]], dtype: str, identity: str
) -> list[ts.TensorStore]:
    """Return the arrays at absolute paths or addresses, opened or from the cache.

    All arrays are requested before the first is awaited, because on S3 each opening is a round
    trip. `identity` is the store's identity. Raises ValueError if an array cannot be opened, or if
    its shape (c, h, w) or dtype is not the expected one.
    """
    pending = {
        path: _begin_opening(path, shape, dtype, identity, os.getpid()) for path, shape in places
    }
    return [_finish_opening(path, pending[path]) for path, _ in places]


def _finish_opening(path: str, pending: ts.Future) -> ts.TensorStore:
    try:
        return pending.result()
    except ValueError as error:
        # The cache also keeps failed openings: without this line a repaired store would still fail.
        _begin_opening.cache_clear()
        raise ValueError(f"{path} cannot be opened: {error}") from None


# The identity is part of the cache key so that a store replaced under the same path is opened
# again, and the process id so that a forked process does not use its parent's handles.
@lru_cache(maxsize=_MAX_HANDLES)
def _begin_opening(path: str, shape: Shape, dtype: str, identity: str, process: int) -> ts.Future:
    spec = {
        "driver": "zarr3",
        "kvstore": array_location(locate(path)),
        "metadata": {"shape": list(shape), "data_type": dtype},  # others are an error
        "recheck_cached_data": "open",  # a finished store does not change
        # `ingest` writes every shard, even of a field of zeros, so a missing shard is damage. By
        # default tensorstore would read a missing shard as zeros.
        "fill_missing_data_reads": False,
    }
    return ts.open(spec, open=True, read=True)
