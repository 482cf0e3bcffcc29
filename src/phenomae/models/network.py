"""What every family of networks has in common: named channels, tokens block by block, a vector."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

Pool = Literal["mean", "class", "channel"]
Pixels = UInt8[Tensor, "b c h w"] | Float[Tensor, "b c h w"]
"""Crops as networks take them: uint8, or floats in 0..1."""


class Encoder(nn.Module):
    """Turns crops into tokens, block by block."""

    depth: int
    """How many blocks there are to take tokens from."""
    any_channels: ClassVar[bool] = False
    """Whether crops may have other channels than those of the training."""
    pools: ClassVar[tuple[Pool, ...]] = ("mean",)
    """The ways in which this encoder's tokens can become a vector."""

    def walk(self, pixels: Pixels) -> Iterator[Float[Tensor, "b t d"]]:
        """Yield the tokens of every block, the class token first where there is one."""
        raise NotImplementedError

    def forward(self, pixels: Pixels) -> Float[Tensor, "b t d"]:
        """Return the tokens of the last block."""
        tokens = pixels
        for tokens in self.walk(pixels):  # noqa: B007
            pass
        return tokens

    def pool(
        self, tokens: Float[Tensor, "b t d"], pool: Pool, channels: int
    ) -> Float[Tensor, "b n"]:
        """Return one vector a crop of so many channels from the tokens of any block."""
        return tokens.mean(1)

    def finish(
        self, tokens: Float[Tensor, "b t d"], pool: Pool, channels: int
    ) -> Float[Tensor, "b n"]:
        """Return the embedding itself from the tokens of the last block."""
        return self.pool(tokens, pool, channels)

    def embed(
        self, pixels: Pixels, pool: Pool = "mean", block: int | None = None
    ) -> Float[Tensor, "b d"]:
        """Return one vector a crop.

        `pool` is how: `mean` over a crop's tokens (the class token left out), the `class` token
        alone, or the means over each `channel`'s tokens, side by side in the channels' order.
        `block` counts from 1; None is the embedding proper, of the last block. Raises ValueError
        for a block or a pool that the network does not have.
        """
        if block is not None:
            return self.embed_blocks(pixels, [block], pool)[0]
        self.check(pool, ())
        return self.finish(self(pixels), pool, pixels.shape[1])

    def embed_blocks(
        self, pixels: Pixels, blocks: Collection[int], pool: Pool = "mean"
    ) -> list[Float[Tensor, "b _d"]]:
        """Return one vector a crop for each of `blocks`, in their order, in a single pass."""
        self.check(pool, blocks)
        found: dict[int, Tensor] = {}
        for number, tokens in enumerate(self.walk(pixels), start=1):
            if number in blocks:
                found[number] = self.pool(tokens, pool, pixels.shape[1])
            if number == max(blocks):
                break
        return [found[block] for block in blocks]

    def check(self, pool: Pool, blocks: Collection[int]) -> None:
        """Raise ValueError for a pool or a block that there is not."""
        if pool not in self.pools:
            raise ValueError(
                f"this network has no pool {pool!r}: its pools are {', '.join(self.pools)}"
            )
        for block in blocks:
            if not 1 <= block <= self.depth:
                raise ValueError(
                    f"there is no block {block}: this network's blocks are 1 to {self.depth}"
                )

    def check_channels(self, count: int) -> None:
        """Raise ValueError where crops of `count` channels cannot be taken."""


AnyEncoder = TypeVar("AnyEncoder", bound=Encoder)


class Network(nn.Module, Generic[AnyEncoder]):
    """A network as the other rooms see it, whatever its family."""

    family: ClassVar[str]
    encoder: AnyEncoder

    def __init__(self, settings: Any, channels: Sequence[str] | int) -> None:
        super().__init__()
        self.settings = settings
        self.channels = name_channels(channels) if isinstance(channels, int) else tuple(channels)
        """Names of the channels it is trained on, in order."""

    def features(self, pixels: Pixels) -> Float[Tensor, "b t d"]:
        """Return the tokens of whole crops, class token first where the network has one.

        Crops may be of any size that can be cut into patches.
        """
        return self.encoder(pixels)

    def embed(
        self, pixels: Pixels, pool: Pool = "mean", block: int | None = None
    ) -> Float[Tensor, "b d"]:
        """Return one vector a crop; see `Encoder.embed`."""
        return self.encoder.embed(pixels, pool, block)


def name_channels(count: int) -> tuple[str, ...]:
    """Return names for channels that nobody named: `channel 1`, `channel 2`, ..."""
    return tuple(f"channel {number}" for number in range(1, count + 1))


def to_unit(pixels: Pixels) -> Float[Tensor, "b c h w"]:
    """Return pixels as floats in 0..1; raises ValueError as `full_scale`."""
    return pixels.float() / full_scale(pixels)


def full_scale(pixels: Tensor) -> float:
    """Return the largest value pixels can have: 255 for uint8, 1 for floats.

    Raises ValueError for pixels of any other type.
    """
    if pixels.dtype == torch.uint8:
        return 255.0
    if pixels.is_floating_point():
        return 1.0
    raise ValueError(
        f"pixels of type {pixels.dtype} have no known range: give uint8, or floats in 0..1"
    )
