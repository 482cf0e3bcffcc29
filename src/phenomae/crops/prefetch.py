"""Computes the next results in background threads while the present one is used.

Threads and not processes: reading crops releases Python's lock, and tensors need not be copied.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    make: Callable[[Item], Result], items: Iterable[Item], ahead: int = 3, threads: int = 1
) -> Generator[Result]:
    """Yield `make(item)` for every item, in order, with up to `ahead` results computed in advance.

    An exception in `make` is raised when its result is due.
    """
    waiting: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
    try:
        for item in items:
            waiting.append(executor.submit(make, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Runs also when the caller stops early: calls that have not started are dropped, and no
        # thread reads from the store after this.
        executor.shutdown(wait=True, cancel_futures=True)
