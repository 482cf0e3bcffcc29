"""A pool of worker processes that ends with the process that started it.

Processes, not threads, because decoding and compressing images holds the GIL in part.
"""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process

from phenomae.cores import available_cores
from phenomae.memory import keep_memory

_MAX_WORKERS = 16


@contextmanager
def start_workers(count: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of `count` processes, by default one per core and at most 16.

    Raises OSError if one of them is killed.
    """
    count = count or min(available_cores(), _MAX_WORKERS)
    # Not fork: a forked child inherits the locks of tensorstore's and polars' threads, but not the
    # threads, and waits for them forever.
    context = get_context("spawn")
    try:
        with ProcessPoolExecutor(count, mp_context=context, initializer=_begin) as pool:
            yield pool
    except BrokenProcessPool:
        raise OSError(
            "a worker process was killed, perhaps because memory ran out; run the same command "
            "again to go on (a script must call phenomae under `if __name__ == '__main__':`)"
        ) from None


def _begin() -> None:
    keep_memory()  # every field needs as much as the one before
    _follow_parent()


def _follow_parent() -> None:
    """End this process as soon as its parent ends, and leave Ctrl-C to the parent.

    A worker whose parent was killed would still write files while the same command, run again,
    writes them too, and would then wait for work forever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watch parent", daemon=True).start()
