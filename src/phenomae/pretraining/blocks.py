"""The blocks of a network: what FSDP shards, and what activation checkpointing recomputes."""

from collections.abc import Iterable
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from phenomae.models.network import Network


def blocks_of(network: Network) -> Iterable[nn.Module]:
    """Return the blocks of encoder and decoder: the modules in module lists."""
    lists = [part for part in network.modules() if isinstance(part, nn.ModuleList)]
    return [block for part in lists for block in part]


def checkpoint_activations(network: Network) -> None:
    """Keep only the input of every block, and recompute its activations in the backward pass.

    Chen et al. 2016 (arXiv 1604.06174).
    """
    for block in blocks_of(network):
        # Replacing `forward`, not wrapping the module, leaves the names of the weights as they are.
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
