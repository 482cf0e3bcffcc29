"""Finds the blocks of a network: the units of FSDP and of activation checkpointing."""

from collections.abc import Iterable
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from phenomae.models.network import Network


def blocks_of(network: Network) -> Iterable[nn.Module]:
    """Return the blocks of encoder and decoder: all modules inside an `nn.ModuleList`."""
    lists = [part for part in network.modules() if isinstance(part, nn.ModuleList)]
    return [block for part in lists for block in part]


def checkpoint_activations(network: Network) -> None:
    """Activation checkpointing: recompute block activations in the backward pass to save memory.

    Only the input of every block is kept (Chen et al. 2016, arXiv 1604.06174).
    """
    for block in blocks_of(network):
        # `forward` is replaced, because a wrapper module would change the names of the weights.
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
