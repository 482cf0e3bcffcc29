"""Limits BLAS to one thread, where phenomae's own threads or other processes occupy the cores."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[object]:
    """Return a context in which the BLAS libraries that the first call found use one thread.

    numpy's is among them, if numpy was imported before; one that is loaded later is not limited.
    """
    return _find_libraries().limit(limits=1, user_api="blas")


@cache  # because it inspects all loaded libraries, which takes longer than a small matrix product
def _find_libraries() -> ThreadpoolController:
    return ThreadpoolController()
