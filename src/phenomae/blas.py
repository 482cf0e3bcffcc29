"""Limits BLAS to one thread, where phenomae's own threads or other processes occupy the cores."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit the BLAS libraries that the first call found to one thread, in the whole process.

    numpy's is among them, if numpy was imported before; one that is loaded later is not limited.
    Contexts of several threads may overlap: the first sets the limit, and the last restores what
    was there before it.
    """
    _LIMIT.add_user()
    try:
        yield
    finally:
        _LIMIT.remove_user()


class _SharedLimit:
    """The limit of the process, and how many contexts need it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._limiter: Any = None

    def add_user(self) -> None:
        with self._lock:
            if not self._users:
                self._limiter = _find_libraries().limit(limits=1, user_api="blas")
                _release_control()
            self._users += 1

    def remove_user(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._limiter.restore_original_limits()
                _release_control()


_LIMIT = _SharedLimit()


def _release_control() -> None:
    """Let other threads than this one set the number of threads.

    threadpoolctl 3.8 ignores them from a call of `limit` to the next end of a context of the
    thread that called it. Here the last context may be of another thread than the first.
    """
    with _find_libraries().limit(limits=None):
        pass


@cache  # because it inspects all loaded libraries, which takes longer than a small matrix product
def _find_libraries() -> ThreadpoolController:
    return ThreadpoolController()
