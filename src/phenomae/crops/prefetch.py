"""Computes the next results in background threads while the caller uses the current result.

Threads suffice, because reading crops releases the GIL; with processes, tensors would be copied.
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

    An exception raised by `make(item)` is raised when the result for that item would be yielded.
    """
    waiting: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
    try:
        for item in items:
            waiting.append(executor.submit(make, item))
            # Bounded, because results that the caller has not taken yet occupy memory.
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Also reached if the caller stops early: calls that have not started are cancelled, and
        # running calls are awaited, so that no thread reads from the store afterwards.
        executor.shutdown(wait=True, cancel_futures=True)
