"""Applies a function to many files in threads, in order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """Apply a function to all items in threads and yield the results in the order of the items.

    After the first error, items that have not been started are dropped.
    """
    # Threads suffice: reading headers waits for the disk or the network, not for Python.
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield from pool.map(function, items)
    finally:
        # Leaving a `with` block would first work through every queued item, also after an error.
        pool.shutdown(wait=True, cancel_futures=True)
