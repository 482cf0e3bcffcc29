"""AdaBN: batch norm with the statistics of each plate (Sypetkowski et al. 2023, arXiv 2301.05768).

Means and variances of batches (torch.var_mean) are combined in float64. The running statistics of
torch's batch norm are not used: on a CPU torch sums millions of pixels in float32, with errors of
up to 0.2 % at crops of 256 pixels (docs/log.md, 2026-11-25).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from phenomae.models.conv.convolutions import batch_norms
from phenomae.models.float64 import double
from phenomae.models.network import Network


@contextmanager
def kept_statistics(model: Network) -> Iterator[None]:
    """Restore the running statistics of all batch norms after the block."""
    kept = [{name: part.clone() for name, part in norm.named_buffers()} for norm in _norms(model)]
    try:
        yield
    finally:
        for norm, buffers in zip(_norms(model), kept, strict=True):
            # strict=False, because scale and shift are not in `buffers`.
            norm.load_state_dict(buffers, strict=False)


@torch.no_grad()
def reestimate(
    model: Network,
    batches: Iterable[UInt8[Tensor, "_ c h w"] | Float[Tensor, "_ c h w"]],
) -> None:
    """Set the running statistics of every batch norm to those of a plate's crops.

    Mean and unbiased variance are those of all crops together, whatever the sizes of `batches`.
    During the estimate each norm normalises a batch by the batch's own statistics, as in training,
    so every batch should have tens of crops from all over the plate. Equal batches give equal bits.
    Afterwards the model is in eval mode. Raises ValueError if a batch has fewer than two crops, or
    if there are no batches or no batch norms.
    """
    norms = _norms(model)
    totals = [_Total() for _ in norms]
    hooks = [
        norm.register_forward_hook(total.add) for norm, total in zip(norms, totals, strict=True)
    ]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        # Only the norms are in training mode: drop path and the like stay off.
        norm.train()
    try:
        for pixels in batches:
            if len(pixels) < 2:
                raise ValueError(
                    "AdaBN needs two crops or more per plate, and a plate has a single crop: leave "
                    "the plate out, or set adabn to off"
                )
            model.encoder.embed(pixels)
    finally:
        model.eval()
        for hook in hooks:
            hook.remove()
    if totals[0].count == 0:
        raise ValueError("AdaBN needs crops of a plate, and there are none")
    for norm, total in zip(norms, totals, strict=True):
        total.write(norm)


class _Total:
    """Mean and variance of all inputs of a norm, combined in float64.

    Chan et al. 1983 (The American Statistician 37, p. 242), eq. 2.1.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.deviations: Tensor | float = 0.0

    def add(self, norm: _BatchNorm, inputs: tuple[Tensor], _: Tensor) -> None:
        """Forward hook: add the batch that a norm has just normalised."""
        x = inputs[0].float()
        count = x.numel() // x.shape[1]
        axes = [axis for axis in range(x.ndim) if axis != 1]
        variance, mean = (double(part) for part in torch.var_mean(x, axes, correction=0))
        share = count / (self.count + count)
        shift = mean - self.mean
        self.mean = self.mean + shift * share
        self.deviations = self.deviations + variance * count + shift**2 * (self.count * share)
        self.count += count

    def write(self, norm: _BatchNorm) -> None:
        """Set the running statistics of a norm."""
        assert isinstance(self.mean, Tensor)
        assert isinstance(self.deviations, Tensor)
        # In place, because the buffers are registered with the module.
        norm.get_buffer("running_mean").copy_(self.mean)
        norm.get_buffer("running_var").copy_(self.deviations / (self.count - 1))


def _norms(model: Network) -> list[_BatchNorm]:
    norms = batch_norms(model)
    if not norms:
        raise ValueError(f"a {model.family} network has no batch norms, which AdaBN needs")
    return norms
