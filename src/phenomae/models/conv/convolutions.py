"""What convolutional encoders have in common: maps, block by block, whose pixels are the tokens."""

from collections.abc import Iterator, Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from phenomae.models.network import Encoder, Pixels


class ConvolutionalEncoder(Encoder):
    """Turns crops of one set of channels into maps, ever coarser."""

    channels: int

    def enter(self, pixels: Pixels) -> Float[Tensor, "b c h w"]:
        """Return crops as the first convolution takes them; raises ValueError where it cannot.

        Their channels lie innermost in memory, which is up to twice as fast.
        """
        raise NotImplementedError

    def maps(self, images: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b d y x"]]:
        """Yield the map that every block makes of entered crops."""
        raise NotImplementedError

    def walk(self, pixels: Pixels) -> Iterator[Float[Tensor, "b t d"]]:
        """Yield the pixels of every block's map as tokens, row by row."""
        parts = [self.maps(part) for part in self.apart(self.enter(pixels))]
        for maps in zip(*parts, strict=True):
            yield rearrange(torch.cat(maps), "b d y x -> b (y x) d")

    def apart(self, x: Float[Tensor, "b ..."]) -> Sequence[Float[Tensor, "_ ..."]]:
        """Return what may be computed together so that no crop feels its mates in the last bit.

        On a CPU that is one crop at a time: convolutions and products are done in another order
        for another number of crops. It takes a tenth longer on one thread, and more on several that
        other work keeps busy. Nobody counts on last bits in bf16, on a GPU or from a compiled
        network. A batch norm in training mode has to see all crops together.
        """
        together = x.is_cuda or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
        return [x] if together or learns_statistics(self) else x.split(1)

    def check_channels(self, count: int) -> None:
        """Raise ValueError where crops have another number of channels than the model."""
        if count != self.channels:
            raise ValueError(
                f"crops of {count} channels were given to a model of {self.channels}: "
                "channels must be those it was trained on"
            )


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of a network, in a fixed order."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


def learns_statistics(module: nn.Module) -> bool:
    """Say whether a network has batch norms in training mode."""
    return any(norm.training for norm in batch_norms(module))
