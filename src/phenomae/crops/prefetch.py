"""Makes the next pieces of work in background threads while the present one is used."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetch(
    make: Callable[[Item], Made], items: Iterable[Item], ahead: int = 3, threads: int = 1
) -> Generator[Made]:
    """Yield `make(item)` for every item, in order, holding up to `ahead` results in readiness.

    What `make` raises is raised where its result would have come.
    """
    waiting: deque[Future[Made]] = deque()
    executor = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
    try:
        for item in items:
            waiting.append(executor.submit(make, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
