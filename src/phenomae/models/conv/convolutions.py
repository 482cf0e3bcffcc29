"""The base class of convolutional encoders, whose tokens are the pixels of a block's feature map.

On a CPU, crops pass through convolutions in parts of a fixed number of crops: the order in which a
convolution sums depends on their number, which changed embeddings by up to 3e-6 (docs/log.md,
2026-11-25).
"""

from collections.abc import Iterator

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
        count = len(pixels)
        size = self.crops_per_part(*pixels.shape[-2:]) if self.splits(pixels) else count
        zeros = pixels.new_zeros(-count % size, *pixels.shape[1:])
        parts = map(self.maps, self.enter(torch.cat([pixels, zeros])).split(size))
        # Block by block over all parts, because `embed_blocks` may stop before the last block.
        for maps in zip(*parts, strict=True):
            yield rearrange(torch.cat(maps)[:count], "b d y x -> b (y x) d")

    def splits(self, x: Tensor) -> bool:
        """Return whether crops are computed in parts of a fixed size: on a CPU in float32.

        The last bits of a crop's embedding then do not depend on the other crops. In bf16, on a GPU
        and if compiled, crops stay together.
        """
        exact = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        # A batch norm in training mode needs all crops at once.
        return exact and not torch.compiler.is_compiling() and not learns_statistics(self)

    def crops_per_part(self, height: int, width: int) -> int:
        """Return the crops of a part, a power of two, from the sides of a crop in pixels.

        A part has as many pixels as 16 crops of 64 x 64: smaller ones leave vector units idle,
        larger ones overflow the processor's cache (docs/log.md, 2026-11-29).
        """
        fitting = max(1, 16 * 64 * 64 // (height * width))
        return min(16, 1 << (fitting.bit_length() - 1))

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
