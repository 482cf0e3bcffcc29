"""Processes that share a command's work, and none that outlives it."""

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

_MOST = 16


@contextmanager
def start_workers(count: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of processes, one a core; raises OSError where one of them is killed."""
    count = count or min(available_cores(), _MOST)
    context = get_context("spawn")
    try:
        with ProcessPoolExecutor(count, mp_context=context, initializer=_begin) as pool:
            yield pool
    except BrokenProcessPool:
        raise OSError(
            "a worker process was killed, perhaps for want of memory; run the same command again, "
            "it goes on (a script must call phenomae under `if __name__ == '__main__':`)"
        ) from None


def _begin() -> None:
    keep_memory()  # every field takes as much as the one before
    _follow_parent()


def _follow_parent() -> None:
    """End this process as soon as its parent is gone, and leave Ctrl-C to the parent.

    A worker whose parent was killed would go on writing what the same command, run again, writes
    too, and would then wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watch parent", daemon=True).start()
