"""The limit of BLAS, as threadpoolctl reads it, where contexts of several threads overlap."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Thread
from typing import Any

import numpy as np  # whose BLAS is limited
import pytest
from threadpoolctl import ThreadpoolController

from phenomae import blas
from phenomae.blas import one_blas_thread
from phenomae.evaluation.clusters.leiden import build_graph
from phenomae.maps.umap_points import compute_points
from phenomae.maps.unit_vectors import unit_rows


def count_threads() -> set[int]:
    libraries = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in libraries}


def set_threads(count: int) -> None:
    # In a thread that ends, because threadpoolctl ignores other threads until then.
    thread = Thread(target=lambda: ThreadpoolController().limit(limits=count, user_api="blas"))
    thread.start()
    thread.join()


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """BLAS with two threads, whatever the environment and the tests before have loaded."""
    blas._find_libraries.cache_clear()
    assert np.eye(2) @ np.eye(2) is not None
    before = max(count_threads())
    set_threads(2)
    assert count_threads() == {2}
    yield
    set_threads(before)


def test_one_context_limits_and_restores():
    with one_blas_thread():
        assert count_threads() == {1}
        with one_blas_thread():
            assert count_threads() == {1}
        assert count_threads() == {1}
    assert count_threads() == {2}


@pytest.mark.parametrize("order", ["first in, first out", "first in, last out"])
def test_contexts_of_two_threads_overlap(order: str):
    stacks = [ExitStack(), ExitStack()]
    # Threads that live on after they have left, as those of a server do.
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        pools = [one, other]
        for pool, stack in zip(pools, stacks, strict=True):
            pool.submit(stack.enter_context, one_blas_thread()).result()
            assert count_threads() == {1}
        for place in (0, 1) if order == "first in, first out" else (1, 0):
            assert count_threads() == {1}
            pools[place].submit(stacks[place].close).result()
        assert count_threads() == {2}
        # And again, because the first round has left nothing behind.
        with one_blas_thread():
            assert count_threads() == {1}
        assert count_threads() == {2}


def test_an_error_restores_the_threads():
    with pytest.raises(KeyError), one_blas_thread():
        raise KeyError
    assert count_threads() == {2}


def test_many_threads_leave_the_process_as_it_was():
    def work(number: int) -> set[int]:
        with one_blas_thread():
            np.ones((50, 50)) @ np.full((50, 50), number)
            return count_threads()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(400)))
    assert found == [{1}] * 400
    assert count_threads() == {2}


@pytest.mark.slow  # umap-learn is imported
@pytest.mark.parametrize("work", [build_graph, lambda unit, k: compute_points(unit, k, 0.1, 0)])
def test_graphs_and_layouts_leave_the_process_as_it_was(work, monkeypatch):
    """Another thread leaves its context while umap-learn computes, under limits of its own."""
    umap_ = pytest.importorskip("umap.umap_")
    set_threads(2)  # numba has started since
    other = ExitStack()
    compute, seen = umap_.fuzzy_simplicial_set, []

    def leave_meanwhile(*words: Any, **named: Any) -> Any:
        pool.submit(other.close).result()
        seen.append(count_threads())
        return compute(*words, **named)

    monkeypatch.setattr(umap_, "fuzzy_simplicial_set", leave_meanwhile)
    unit = unit_rows(np.random.default_rng(0).normal(size=(20, 4)))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(other.enter_context, one_blas_thread()).result()
        work(unit, 5)
    assert seen == [{1}]
    assert count_threads() == {2}
