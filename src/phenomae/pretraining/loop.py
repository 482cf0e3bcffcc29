"""The training loop: learning rate, forward, backward, clipping, optimiser step, callbacks.

This file is the whole loop. The objective (what is trained), the fabric (on which devices) and the
callbacks (meter, log, validation, checkpoints, ...) are passed in.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from phenomae.crops.stream import CropStream
from phenomae.crops.tensors import Crops
from phenomae.free_memory import is_out_of_memory
from phenomae.pretraining.core_threads import CoreThreads
from phenomae.pretraining.team import whole
from phenomae.progress import info

Losses = Mapping[str, Tensor]
"""Losses of a step by name; `loss` is minimised. Empty if the step was skipped."""

TakeStep = Callable[[Crops, int], Losses]
"""Function that takes a training step, given its crops and its number, counted from 0."""

Callback = Callable[[int, Losses], None]
"""Function called after every step with the number of steps done and the losses of that step."""

Schedule = Callable[[int], float]
"""Function that returns the learning rate of a step; steps are counted from 0."""


def train(
    take_step: TakeStep,
    stream: CropStream,
    *,
    first_step: int,
    steps: int,
    skipped: Collection[int] = (),
    callbacks: Sequence[Callback] = (),
) -> None:
    """Take the steps `first_step` to `steps - 1` except the `skipped` ones; call the callbacks.

    Callbacks are also called after a skipped step, with empty losses.
    """
    for step, crops in stream.steps(first_step, steps, skipped):
        losses = take_step(crops, step) if crops is not None else {}
        for callback in callbacks:
            callback(step + 1, losses)


class Learner:
    """Takes training steps with an objective and an optimiser that `fabric` has set up."""

    def __init__(
        self,
        fabric: Fabric,
        objective: nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: Schedule,
        *,
        crops_at_once: int | None = None,
        gradient_clip: float = 0.0,
        threads: CoreThreads | None = None,
        may_shrink: bool = False,
    ) -> None:
        """Prepare to take steps.

        `threads` compute micro-batches at once, in place of `objective`; None: one by one. With
        `may_shrink`, micro-batches become smaller, once, if a step does not fit into the memory.
        """
        self.fabric, self.objective, self.optimiser = fabric, objective, optimiser
        self.schedule = schedule
        self.crops_at_once = crops_at_once
        self.gradient_clip = gradient_clip
        self.threads = threads
        self.may_shrink = may_shrink

    def __call__(self, crops: Crops, step: int) -> Losses:
        """Take a step; return its losses and `gradient_norm`, the gradient norm before clipping."""
        # A callback may have switched the objective to eval mode.
        self.objective.train()
        for group in self.optimiser.param_groups:
            # A function of the step alone, so that a run that continues needs no scheduler state.
            group["lr"] = self.schedule(step)
        losses = self._backward_if_it_fits(crops, step)
        if losses is None:
            self._shrink(len(crops))
            losses = self._backward(split(crops, self.crops_at_once), step)
        norm = self._clip()
        self.optimiser.step()
        self.optimiser.zero_grad()
        means = {name: _mean([part[name] for part in losses]) for name in losses[0]}
        return {**means, "gradient_norm": norm}

    def _backward_if_it_fits(self, crops: Crops, step: int) -> Sequence[Losses] | None:
        """Do as `_backward`; None if memory ran out, and smaller micro-batches can be tried."""
        try:
            return self._backward(split(crops, self.crops_at_once), step)
        except (RuntimeError, MemoryError) as error:
            size = min(self.crops_at_once or len(crops), len(crops))
            if not (self.may_shrink and size > 1 and is_out_of_memory(error)):
                raise
        # The error holds the tensors of the step, so that memory is free only now.
        return None

    def _shrink(self, crops: int) -> None:
        """Make micro-batches half as large, or less, after memory ran out."""
        size = min(self.crops_at_once or crops, crops)
        self.crops_at_once = next(k for k in range(size // 2, 0, -1) if crops % k == 0)
        self.may_shrink = False
        info(f"out of memory: going on with {self.crops_at_once} crops at once instead of {size}")
        self.optimiser.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _backward(self, parts: Sequence[Crops], step: int) -> Sequence[Losses]:
        """Compute the gradients of the mean loss; return the losses of each micro-batch."""
        if self.threads is None:
            losses = [self._accumulate(part, step, len(parts)) for part in parts[:-1]]
            return [*losses, self._accumulate(parts[-1], step, len(parts), last=True)]
        losses, gradients = self.threads.gradients(parts, step)
        for weight, gradient in zip(self.threads.weights, gradients, strict=True):
            weight.grad = gradient
        return losses

    def validate(self, batches: Sequence[Crops]) -> float:
        """Return the mean validation loss over all crops; the index of a batch is its step."""
        # The same masks every time; no drop path, and the running statistics of batch norm.
        found = self.threads.losses if self.threads else self._validate_each
        losses = found(batches)
        weights = [len(batch) for batch in batches]
        sums = [loss * weight for loss, weight in zip(losses, weights, strict=True)]
        return sum(sums) / sum(weights)

    @torch.no_grad()
    def _validate_each(self, batches: Sequence[Crops]) -> list[float]:
        self.objective.eval()
        losses = [float(self.objective(part, step)["loss"]) for step, part in enumerate(batches)]
        self.objective.train()
        return losses

    def _accumulate(self, crops: Crops, step: int, parts: int, last: bool = False) -> Losses:
        """Gradient accumulation: forward and backward pass of one of `parts` micro-batches."""
        # Processes exchange gradients once per step, in the backward pass of the last micro-batch.
        with self.fabric.no_backward_sync(self.objective, enabled=not last):  # pyright: ignore
            losses = self.objective(crops, step)
            # Micro-batches have equally many crops, so the sum is the gradient of the mean loss.
            self.fabric.backward(losses["loss"] / parts)
        # Without detach the graph of every micro-batch would stay in memory until the step ends.
        return {name: loss.detach() for name, loss in losses.items()}

    def _clip(self) -> Tensor:
        """Clip the gradient norm to `gradient_clip` (0: no clipping); return it before clipping."""
        if self.gradient_clip:
            # Raising here would need a GPU sync; the meter detects a norm that is not finite.
            norm = self.fabric.clip_gradients(
                self.objective,
                self.optimiser,
                max_norm=self.gradient_clip,
                error_if_nonfinite=False,
            )
            assert norm is not None
        else:
            parameters = self.objective.parameters()
            gradients = [item.grad for item in parameters if item.grad is not None]
            # torch's get_total_norm makes one more call per tensor, to move its norm.
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))  # pyright: ignore
        return whole(norm)


def split(crops: Crops, crops_at_once: int | None) -> Sequence[Crops]:
    """Split crops into micro-batches of `crops_at_once` crops; None: one micro-batch."""
    if crops_at_once is None or crops_at_once >= len(crops):
        return [crops]
    return [crops.part(at, at + crops_at_once) for at in range(0, len(crops), crops_at_once)]


def _mean(losses: Sequence[Tensor]) -> Tensor:
    return losses[0] if len(losses) == 1 else torch.stack(list(losses)).mean()
