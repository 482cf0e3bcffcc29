"""The base class of convolutional encoders, whose tokens are the pixels of a block's feature map.

On a CPU, crops pass through convolutions one at a time: the order in which a convolution sums
depends on the number of crops, which changed embeddings by up to 3e-6 (docs/log.md, 2026-11-25).
"""

from collections.abc import Iterator, Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from phenomae.models.network import Encoder, Pixels


class ConvolutionalEncoder(Encoder):
    """Computes feature maps of falling resolution from crops of one set of channels."""

    channels: int

    def enter(self, pixels: Pixels) -> Float[Tensor, "b c h w"]:
        """Return the input of the first convolution, in channels-last memory format.

        Raises ValueError if the crops have the wrong number of channels or an impossible size.
        """
        raise NotImplementedError

    def maps(self, images: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b d y x"]]:
        """Yield the feature map of every block, from what `enter` returns."""
        raise NotImplementedError

    def walk(self, pixels: Pixels) -> Iterator[Float[Tensor, "b t d"]]:
        """Yield the pixels of every block's feature map as tokens, row by row."""
        parts = [self.maps(part) for part in self.split_crops(self.enter(pixels))]
        # Block by block over all parts, because `embed_blocks` may stop before the last block.
        for maps in zip(*parts, strict=True):
            yield rearrange(torch.cat(maps), "b d y x -> b (y x) d")

    def split_crops(self, x: Float[Tensor, "b ..."]) -> Sequence[Float[Tensor, "_ ..."]]:
        """Split crops into parts that are computed separately: single crops on a CPU in float32.

        The last bits of a crop's embedding then do not depend on the other crops, at the cost of a
        tenth of the time on one thread. In bf16, on a GPU and if compiled, crops stay together.
        """
        # A batch norm in training mode needs all crops at once.
        together = x.is_cuda or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
        return [x] if together or learns_statistics(self) else x.split(1)

    def check_channels(self, count: int) -> None:
        """Raise ValueError unless `count` is the number of channels of the model."""
        if count != self.channels:
            raise ValueError(
                f"crops must have the {self.channels} channels that the model was trained on, not "
                f"{count} channels"
            )


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of a network, in the order of its modules."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


def learns_statistics(module: nn.Module) -> bool:
    """Return whether a network has batch norms in training mode."""
    return any(norm.training for norm in batch_norms(module))
