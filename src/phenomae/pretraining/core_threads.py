"""Computes the micro-batches of a step on several CPU cores at once.

Torch's own threads share every operation and spin while they wait for each other, so that one core
that others use stalls all of them (docs/log.md, 2026-12-01). Here a core takes the next micro-batch
as soon as it has done one. Gradients are added in the order of the micro-batches, so that the
number of cores does not change a bit.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from queue import SimpleQueue
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from phenomae.crops.tensors import Crops

Result = TypeVar("Result")
Gradients = Sequence[Tensor | None]
"""Gradient of each trainable weight; None for weights that the loss does not depend on."""


class CoreThreads:
    """Threads that compute losses and gradients of an objective, each with a copy of its modules.

    The copies share the weights; only what a forward pass remembers (mode, numbers of drop path) is
    their own.
    """

    def __init__(
        self, fabric: Fabric, objective: nn.Module, count: int, threads_each: int = 1
    ) -> None:
        """`threads_each` are torch's threads that share an operation of one micro-batch."""
        self.fabric, self.count = fabric, count
        self.weights = [item for item in objective.parameters() if item.requires_grad]
        self._copies: SimpleQueue[nn.Module] = SimpleQueue()
        for _ in range(count):
            self._copies.put(_copy_modules(objective))
        self._pool = ThreadPoolExecutor(
            count,
            thread_name_prefix="micro-batch",
            initializer=_begin,
            initargs=(threads_each,),
        )

    def gradients(
        self, parts: Sequence[Crops], step: int
    ) -> tuple[list[Mapping[str, Tensor]], Gradients]:
        """Return the losses of each micro-batch, and the gradients of their mean loss."""

        def compute(part: Crops) -> tuple[Mapping[str, Tensor], Gradients]:
            # The backward pass too: with activation checkpointing it runs the modules once more.
            with self._copy(training=True) as objective:
                with self.fabric.autocast():
                    losses = objective(part, step)
                loss = losses["loss"] / len(parts)
                found = torch.autograd.grad(loss, self.weights, allow_unused=True)
            return {name: loss.detach() for name, loss in losses.items()}, found

        every: list[Mapping[str, Tensor]] = []
        total: Gradients = ()
        for losses, found in self._map(compute, parts):
            every.append(losses)
            total = _add(total, found) if total else found
        return every, total

    def losses(self, batches: Sequence[Crops]) -> list[float]:
        """Return the validation loss of each batch, whose index is passed as the step."""

        def compute(numbered: tuple[int, Crops]) -> float:
            index, batch = numbered
            with self._copy(training=False) as objective, self.fabric.autocast(), torch.no_grad():
                return float(objective(batch, index)["loss"])

        return list(self._map(compute, list(enumerate(batches))))

    @contextmanager
    def _copy(self, training: bool) -> Iterator[nn.Module]:
        """Yield a copy of the modules that no other thread uses meanwhile."""
        objective = self._copies.get()
        try:
            objective.train(training)
            yield objective
        finally:
            self._copies.put(objective)

    def _map(self, function: Callable[..., Result], items: Sequence[object]) -> Iterator[Result]:
        """Yield the results in the order of the items."""
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(self._pool.submit(function, item))
            # Bounded, because each gradient that waits for its turn is as large as the weights.
            if len(waiting) > self.count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _begin(threads: int) -> None:
    torch.set_num_threads(threads)  # of this thread: OpenMP keeps the number for each
    # The cache would hand a weight cast in one thread, with its graph, to another.
    torch.set_autocast_cache_enabled(False)


def _copy_modules(objective: nn.Module) -> nn.Module:
    """Return copies of all modules, with the same parameters and buffers."""
    shared = [*objective.parameters(), *objective.buffers()]
    return deepcopy(objective, {id(tensor): tensor for tensor in shared})


def _add(total: Gradients, found: Gradients) -> Gradients:
    """Return the sums, computed in place; None stands for zeros."""
    pairs = list(zip(total, found, strict=True))
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    if both:
        torch._foreach_add_([one for one, _ in both], [other for _, other in both])  # pyright: ignore
    return [other if one is None else one for one, other in pairs]
