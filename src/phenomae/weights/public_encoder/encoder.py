"""A public encoder as a network of phenomae: images from crops, tokens from a transformers model.

Registers are not patches; and where a model has a norm after its last block, block None is with it
and block N is the tokens as they leave that block, which is what `block` means for all networks.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from phenomae.models.network import Encoder, Network, Pixels, Pool, pool_tokens
from phenomae.weights.public_encoder.preparation import Preparation


class PublicEncoder(Encoder):
    """Embeds each channel of a crop by itself and concatenates, or three channels as one image."""

    any_channels = True
    pools = ("mean", "mean-std", "class")

    def __init__(
        self,
        model: nn.Module,
        prepare: Preparation,
        depth: int,
        leading: int,
        options: Callable[[Float[Tensor, "b k s s"]], dict[str, Any]],
    ) -> None:
        """Wrap a model.

        Parameters
        ----------
        leading
            Tokens before those of the patches: the class token, if there is one, and registers.
        options
            Returns the arguments that `model` takes beside the images.
        """
        super().__init__()
        self.model, self.prepare = model, prepare
        self.depth, self.leading, self.options = depth, leading, options

    def walk(self, pixels: Pixels) -> Iterator[Float[Tensor, "b t d"]]:
        """Yield the tokens of every block; those of one channel after those of another."""
        found = [self._run(images, hidden=True) for images in self.prepare(pixels)]
        for tokens in zip(*found, strict=True):
            yield torch.cat(tokens, dim=1)

    def forward(self, pixels: Pixels) -> Float[Tensor, "b t d"]:
        """Return the tokens of the last block after the last norm."""
        return torch.cat([self._last(images) for images in self.prepare(pixels)], dim=1)

    def pool(
        self, tokens: Float[Tensor, "b t d"], pool: Pool, channels: int
    ) -> Float[Tensor, "b n"]:
        """Return one vector per crop: the vectors of its images, side by side."""
        images = channels if self.prepare.channels_as == "grey" else 1
        each = rearrange(tokens, "b (c t) d -> (b c) t d", c=images)
        return rearrange(self._pool_image(each, pool), "(b c) n -> b (c n)", c=images)

    def embed(
        self, pixels: Pixels, pool: Pool = "mean", block: int | None = None
    ) -> Float[Tensor, "b d"]:
        """Return one vector per crop; see `Encoder.embed`."""
        if block is not None:
            return self.embed_blocks(pixels, [block], pool)[0]
        self.check(pool, ())
        # Channel by channel, so that the tokens of one are freed before those of the next.
        parts = [self._pool_image(self._last(part), pool) for part in self.prepare(pixels)]
        return torch.cat(parts, dim=1)

    def embed_blocks(
        self, pixels: Pixels, blocks: Collection[int], pool: Pool = "mean"
    ) -> list[Float[Tensor, "b _d"]]:
        """Return one vector per crop for each of `blocks`, in order, from one forward pass."""
        self.check(pool, blocks)
        found: dict[int, list[Tensor]] = {block: [] for block in blocks}
        for images in self.prepare(pixels):
            walked = self._run(images, hidden=True)
            for block, vectors in found.items():
                vectors.append(self._pool_image(walked[block - 1], pool))
        return [torch.cat(found[block], dim=1) for block in blocks]

    def check(self, pool: Pool, blocks: Collection[int]) -> None:
        """Raise ValueError if there is no such pool or block."""
        if pool == "class" and not self.leading:
            raise ValueError("this network has no class token: its pools are mean, mean-std")
        super().check(pool, blocks)

    def check_channels(self, count: int) -> None:
        """Raise ValueError if crops of `count` channels make no image."""
        if self.prepare.channels_as == "rgb" and count != 3:
            raise ValueError(f"channels_as rgb makes an image of 3 channels, not of {count}")

    def _pool_image(self, tokens: Float[Tensor, "b t d"], pool: Pool) -> Float[Tensor, "b n"]:
        return tokens[:, 0] if pool == "class" else pool_tokens(tokens[:, self.leading :], pool)

    def _last(self, images: Float[Tensor, "b k s s"]) -> Float[Tensor, "b t d"]:
        return self._run(images, hidden=False)[-1]

    def _run(
        self, images: Float[Tensor, "b k s s"], hidden: bool
    ) -> Sequence[Float[Tensor, "b t d"]]:
        """Return the tokens of every block, or of the last one after the last norm."""
        options = self.options(images)
        found = self.model(pixel_values=images, output_hidden_states=hidden, **options)
        # The first of the hidden states is the input of the first block.
        return found.hidden_states[1:] if hidden else [found.last_hidden_state]


@dataclass(frozen=True)
class PublicModel:
    """What a public encoder has of the settings of phenomae's own networks."""

    crop_size: int
    """Side of the crops that are cut, in pixels."""


class PublicNetwork(Network[PublicEncoder]):
    """A public encoder in the place of a network that phenomae trained."""

    family = "public encoder"
    Settings = PublicModel
    encoder_type = PublicEncoder

    def __init__(
        self, settings: PublicModel, channels: Sequence[str], encoder: PublicEncoder
    ) -> None:
        super().__init__(settings, channels)
        self.encoder = encoder
