"""Cache of open Zarr arrays of stores.

There is one cache per process and none per `Store`, so that a `Store` can be pickled, copied and
filtered.
"""

import os
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import tensorstore as ts

from phenomae.cores import available_cores
from phenomae.store.files import array_location
from phenomae.urls import first_reason, locate

# 512 and not 4,096 (docs/log.md, 2026-11-25): a handle itself takes only 10 kB, but is allocated
# between pixel buffers and keeps their memory from being freed, so that memory grew by up to 200 kB
# per handle. Opening an array again takes 0.2 ms.
_MAX_HANDLES = 512


class Target(NamedTuple):
    """An array to open."""

    path: str
    """Absolute path or address."""
    shape: tuple[int, ...]
    driver: str | None = None
    """tensorstore's driver of an array that other software wrote; None for a store's own."""
    whole: bool = True
    """Whether a chunk that is missing is damage; it is of the fill value otherwise."""


def open_arrays(places: Sequence[Target], dtype: str, identity: str) -> list[ts.TensorStore]:
    """Return the arrays at absolute paths or addresses, opened or from the cache.

    All arrays are requested before the first is awaited, because on S3 each opening is a round
    trip. `identity` is the store's identity. Raises ValueError if an array cannot be opened, or if
    its shape or dtype is not the expected one.
    """
    pending = {target: _begin_opening(target, dtype, identity, os.getpid()) for target in places}
    return [_finish_opening(target, dtype, pending[target]) for target in places]


def _finish_opening(target: Target, dtype: str, pending: ts.Future) -> ts.TensorStore:
    try:
        array = pending.result()
        is_other = array.shape != target.shape or array.dtype.name != dtype
        if target.driver is None or not is_other:
            return array
        reason = f"it is {array.dtype.name} of the shape {array.shape} now"
    except ValueError as error:
        reason = first_reason(error) if target.driver else str(error)
    # The cache also keeps failed openings: without this line a repaired store would still fail.
    _begin_opening.cache_clear()
    if target.driver is None:
        raise ValueError(f"{target.path} cannot be opened: {reason}")
    raise ValueError(
        f"{target.path}, to which the store refers, cannot be opened; if its plate was moved, "
        "ingest it in place again from where it is (with add, if plates were added to the store); "
        f"if it has changed, with overwrite: {reason}"
    )


# The identity is part of the cache key so that a store replaced under the same path is opened
# again, and the process id so that a forked process does not use its parent's handles.
@lru_cache(maxsize=_MAX_HANDLES)
def _begin_opening(target: Target, dtype: str, identity: str, process: int) -> ts.Future:
    spec = {
        "driver": target.driver or "zarr3",
        "kvstore": array_location(locate(target.path)),
        "recheck_cached_data": "open",  # a finished store does not change
        # `ingest` writes every shard, even of a field of zeros, so a missing shard is damage. By
        # default tensorstore would read a missing shard as zeros.
        "fill_missing_data_reads": not target.whole,
    }
    if target.driver is None:  # other shapes and types are an error
        spec["metadata"] = {"shape": list(target.shape), "data_type": dtype}
    return ts.open(spec, open=True, read=True, context=_limit_cores(available_cores()))


@cache
def _limit_cores(count: int) -> ts.Context:
    """Return a context whose arrays are decoded by that many threads together."""
    # By default as many as the machine has cores, also in a container that may not use them.
    return ts.Context({"data_copy_concurrency": {"limit": count}})
