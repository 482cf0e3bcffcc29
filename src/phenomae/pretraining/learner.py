"""One step of training: the gradients of all its crops, a part at a time, and the optimiser."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from phenomae.crops.tensors import Crops
from phenomae.models.network import Network
from phenomae.pretraining.loop import Losses
from phenomae.pretraining.team import blocks_of, whole

Schedule = Callable[[int], float]
"""The learning rate of a step, counted from 0."""


class Learner:
    """Lowers an objective's loss, step by step; objective and optimiser are the fabric's."""

    def __init__(
        self,
        fabric: Fabric,
        objective: nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: Schedule,
        *,
        crops_at_once: int | None = None,
        gradient_clip: float = 0.0,
    ) -> None:
        self.fabric, self.objective, self.optimiser = fabric, objective, optimiser
        self.schedule = schedule
        self.crops_at_once = crops_at_once
        self.gradient_clip = gradient_clip

    def __call__(self, crops: Crops, step: int) -> Losses:
        """Take a step and return its losses, and the norm of its gradients before any clipping."""
        self.objective.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule(step)
        parts = split(crops, self.crops_at_once)
        losses = [self._add_gradients(part, step, len(parts)) for part in parts[:-1]]
        losses.append(self._add_gradients(parts[-1], step, len(parts), last=True))
        norm = self._clip()
        self.optimiser.step()
        self.optimiser.zero_grad()
        means = {name: _mean([part[name] for part in losses]) for name in losses[0]}
        return {**means, "gradient_norm": norm}

    def _add_gradients(self, crops: Crops, step: int, parts: int, last: bool = False) -> Losses:
        with self.fabric.no_backward_sync(self.objective, enabled=not last):  # pyright: ignore
            losses = self.objective(crops, step)
            self.fabric.backward(losses["loss"] / parts)
        return {name: loss.detach() for name, loss in losses.items()}

    def _clip(self) -> Tensor:
        if self.gradient_clip:
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
            norm = nn.utils.get_total_norm(gradients)
        return whole(norm)


def split(crops: Crops, most: int | None) -> Sequence[Crops]:
    """Cut crops into parts of `most`; None leaves them whole."""
    if most is None or most >= len(crops):
        return [crops]
    return [crops.part(at, at + most) for at in range(0, len(crops), most)]


def checkpoint_activations(network: Network) -> None:
    """Let a network's blocks keep their inputs alone, and work the rest out again on the way back.

    Chen et al. 2016 (arXiv 1604.06174).
    """
    for block in blocks_of(network):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _mean(losses: Sequence[Tensor]) -> Tensor:
    return losses[0] if len(losses) == 1 else torch.stack(list(losses)).mean()
