"""The base classes of networks: `Encoder`, and `Network`, an encoder with a decoder or a head.

Code outside `phenomae.models` uses networks of all families through these two classes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, ClassVar, Generic, Literal, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from phenomae.checks import at_least, require
from phenomae.models.cost.flops import count_pass
from phenomae.models.inputs import Array, Window, choose_window, to_pixels
from phenomae.models.named_axes import NamedAxis

Pool = Literal["mean", "mean-std", "class", "channel"]
Pixels = UInt8[Tensor, "b c h w"] | Float[Tensor, "b c h w"]
"""Type of the crops that encoders accept: uint8, or floats from 0 to 1."""


class Encoder(nn.Module):
    """Computes tokens from crops, block by block, and embeddings from tokens."""

    depth: int
    """Number of blocks whose tokens can be taken."""
    any_channels: ClassVar[bool] = False
    """Whether crops may have channels that the network was not trained on."""
    pools: ClassVar[tuple[Pool, ...]] = ("mean", "mean-std")
    """The values of `pool` that the encoder supports; see `embed`."""

    def walk(self, pixels: Pixels) -> Iterator[Float[Tensor, "b t d"]]:
        """Yield the tokens of every block, class token first if there is one."""
        raise NotImplementedError

    def forward(self, pixels: Pixels) -> Float[Tensor, "b t d"]:
        """Return the tokens of the last block."""
        # The walk is exhausted instead of stored, so that tokens of earlier blocks are freed.
        tokens = pixels
        for tokens in self.walk(pixels):  # noqa: B007
            pass
        return tokens

    def token_shape(self, pixels: Pixels) -> tuple[int, int]:
        """Return the number of tokens of the last block and their width, for crops like these.

        Encoders whose blocks all have tokens of one shape can be quicker than this.
        """
        _, count, width = self(pixels).shape
        return count, width

    def pool(
        self, tokens: Float[Tensor, "b t d"], pool: Pool, channels: int
    ) -> Float[Tensor, "b n"]:
        """Return one vector per crop from the tokens of any block."""
        return pool_tokens(tokens, pool)

    def finish(
        self, tokens: Float[Tensor, "b t d"], pool: Pool, channels: int
    ) -> Float[Tensor, "b n"]:
        """Return the embedding from the tokens of the last block: pooling, and any layers after."""
        return self.pool(tokens, pool, channels)

    def embed(
        self, pixels: Pixels, pool: Pool = "mean", block: int | None = None
    ) -> Float[Tensor, "b d"]:
        """Return one vector per crop, with gradients and in the current mode of the network.

        `pool` is `mean` (over the tokens without the class token), `mean-std` (mean and standard
        deviation of these tokens, concatenated), `class` (the class token) or `channel` (the mean
        over each channel's tokens, concatenated in the order of the channels).
        `block` is counted from 1; None: the last block, with the layers after it. Raises ValueError
        if the network has no such block or pool.
        """
        if block is not None:
            return self.embed_blocks(pixels, [block], pool)[0]
        self.check(pool, ())
        return self.finish(self(pixels), pool, pixels.shape[1])

    def embed_blocks(
        self, pixels: Pixels, blocks: Collection[int], pool: Pool = "mean"
    ) -> list[Float[Tensor, "b _d"]]:
        """Return one vector per crop for each of `blocks`, in order, from one forward pass."""
        self.check(pool, blocks)
        found: dict[int, Tensor] = {}
        for number, tokens in enumerate(self.walk(pixels), start=1):
            if number in blocks:
                found[number] = self.pool(tokens, pool, pixels.shape[1])
            # Later blocks need not be computed.
            if number == max(blocks):
                break
        return [found[block] for block in blocks]

    def check(self, pool: Pool, blocks: Collection[int]) -> None:
        """Raise ValueError if there is no such pool or block."""
        if pool not in self.pools:
            raise ValueError(
                f"this network has no pool {pool!r}: its pools are {', '.join(self.pools)}"
            )
        for block in blocks:
            if not 1 <= block <= self.depth:
                raise ValueError(
                    f"this network has no block {block}: its blocks are 1 to {self.depth}"
                )

    def check_channels(self, count: int) -> None:
        """Raise ValueError if the encoder does not accept crops of `count` channels."""


def pool_tokens(tokens: Float[Tensor, "b t d"], pool: Pool) -> Float[Tensor, "b n"]:
    """Return the mean of the tokens, and for `mean-std` also their (biased) standard deviation."""
    mean = tokens.mean(1)
    if pool == "mean":
        return mean
    # In float32: the square of a bf16 deviation has only three digits.
    return torch.cat([mean, tokens.float().std(1, correction=0).to(mean.dtype)], dim=1)


AnyEncoder = TypeVar("AnyEncoder", bound=Encoder)


class Network(nn.Module, Generic[AnyEncoder]):
    """Base class of the networks of all families.

    The class attributes are all that the rest of the package uses of a family; a line in
    `phenomae.models.families` registers the family.
    """

    family: ClassVar[str]
    """Name of the family, as on the command line."""
    Settings: ClassVar[type[Any]]
    """Dataclass of everything that is needed to build a network, except channels and classes."""
    SIZES: ClassVar[Mapping[str, Any]] = {}
    """Settings of the published sizes, by name; all have the same crop size."""
    # A string, because networks do not import phenomae.pretraining.
    objective: ClassVar[str]
    """The training objective: an `Objective` of phenomae.pretraining, as "module:Class"."""
    has_classes: ClassVar[bool] = False
    """Whether the network is built with the names of classes."""
    encoder_type: ClassVar[type[Encoder]]
    """Class of the encoder; a warm start is possible between families with the same class."""
    named_axes: ClassVar[tuple[NamedAxis, ...]] = ()
    """Tensors with one entry per channel or class; a warm start matches these entries by name."""
    of_all_channels: ClassVar[tuple[str, ...]] = ()
    """Tensors that fit only one list of channels (`*` matches any text); a warm start with any
    other channels leaves them at their initial values."""
    free_settings: ClassVar[frozenset[str]] = frozenset(
        {
            "crop_size",
            "layer_scale",
            "drop_path",
            "mask_ratio",
            "fourier_weight",
            "fourier_norm",
            "normalise_targets",
        }
    )
    """Settings that may differ in a warm start: they change the training or the initial weights,
    but not the shapes of tensors."""
    encoder: AnyEncoder

    def __init__(self, settings: Any, channels: Sequence[str] | int) -> None:
        super().__init__()
        self.settings = settings
        self.channels = name_channels(channels) if isinstance(channels, int) else tuple(channels)
        """Names of the channels that the network is trained on, in order."""

    def __repr__(self) -> str:
        """Return one line; `print(model.encoder)` shows the modules of the encoder."""
        # torch's own repr of a network has hundreds of lines.
        count = sum(weights.numel() for weights in self.parameters())
        return (
            f"{type(self).__name__}({self._name()!r}, channels={list(self.channels)}, "
            f"crop_size={self.settings.crop_size}, parameters={count:,})"
        )

    def _name(self) -> str:
        """Return `FAMILY/SIZE`, or the family alone if no published size has these tensors."""
        names = [item.name for item in fields(self.settings)]
        fixed = [name for name in names if name not in self.free_settings]
        for size, published in self.SIZES.items():
            if all(getattr(published, name) == getattr(self.settings, name) for name in fixed):
                return f"{self.family}/{size}"
        return self.family

    def embedding_flops(self) -> int:
        """Return the FLOPs of embedding one crop of the settings' size.

        The network must be on torch's meta device, also for `training_flops`.
        """
        return count_pass(self, lambda: self.encoder.embed(self.meta_crop()))

    def training_flops(self) -> int:
        """Return the FLOPs of one crop in a training step, forward and backward.

        Hidden patches count only in layers that process their tokens.
        """
        raise NotImplementedError

    def embedding_width(self) -> int:
        """Return the length of an embedding with the pool `mean`."""
        size = self.settings.crop_size
        crop = torch.zeros(1, len(self.channels), size, size)
        with torch.no_grad():
            return self.encoder.token_shape(crop)[1]

    def meta_crop(self) -> Float[Tensor, "1 c h w"]:
        """Return a crop of the settings' size on the meta device: a shape without memory."""
        size = self.settings.crop_size
        return torch.empty(1, len(self.channels), size, size, device="meta")

    def features(self, pixels: Pixels) -> Float[Tensor, "b t d"]:
        """Return the tokens of the last block, class token first if the network has one.

        Crops may have any size that the encoder accepts.
        """
        return self.encoder(pixels)

    @overload
    def embed(
        self,
        pixels: np.ndarray,
        pool: Pool = "mean",
        block: int | None = None,
        *,
        window: Window | None = None,
        crops_at_once: int = 64,
        device: str | torch.device | None = None,
    ) -> np.ndarray: ...
    @overload
    def embed(
        self,
        pixels: Tensor,
        pool: Pool = "mean",
        block: int | None = None,
        *,
        window: Window | None = None,
        crops_at_once: int = 64,
        device: str | torch.device | None = None,
    ) -> Tensor: ...

    def embed(
        self,
        pixels: Shaped[Array, "*b h w"],
        pool: Pool = "mean",
        block: int | None = None,
        *,
        window: Window | None = None,
        crops_at_once: int = 64,
        device: str | torch.device | None = None,
    ) -> Float[Array, "... d"]:
        """Return one embedding per crop, computed in batches, in eval mode and without gradients.

        `encoder.embed`, used in training, keeps gradients and the mode of the network.

        Parameters
        ----------
        pixels
            Crops (b, c, h, w), or one crop (c, h, w), with the channels in the network's order.
            uint8 has the range 0 to 255, floats 0 to 1; other types and ranges need `window`.
        pool, block
            Pooling of the tokens, and the block whose tokens are pooled; see `Encoder.embed`.
        window
            Intensities that become 0 and 1 (others are clipped): (low, high), or one pair per
            channel, as in a store. `auto`: percentiles 0.1 and 99.9 of `pixels`, with a warning.
        crops_at_once
            Crops in one forward pass; limits the memory.
        device
            Device to move the network to: `auto` is a GPU if there is one; None does not move it.

        Returns
        -------
            float32 (b, d), or (d,) for one crop: numpy for numpy; for a tensor, on its device.

        Raises
        ------
        ValueError
            If shape, type, range or channels of the pixels are wrong, or a pool or block is absent.
        """
        at_least("crops_at_once", crops_at_once, 1)
        shape = tuple(pixels.shape)
        require(len(shape) in (3, 4), "pixels", "of shape (b, c, h, w) or (c, h, w)", shape)
        require(0 not in shape, "pixels", "one crop or more", shape)
        crops = pixels if len(shape) == 4 else pixels[None]
        self.encoder.check(pool, [] if block is None else [block])  # before the network is moved
        self.encoder.check_channels(crops.shape[1])
        limits, target = choose_window(crops, window), self._move(device)
        parts = [crops[at : at + crops_at_once] for at in range(0, len(crops), crops_at_once)]
        vectors = self._embed_parts(parts, limits, target, pool, block)
        found = vectors if len(shape) == 4 else vectors[0]
        return found.to(pixels.device) if isinstance(pixels, Tensor) else found.cpu().numpy()

    def _embed_parts(
        self,
        parts: list[Any],
        limits: Tensor | None,
        device: torch.device,
        pool: Pool,
        block: int | None,
    ) -> Float[Tensor, "b d"]:
        """Return the embeddings of all parts, each of which is a forward pass."""
        with _evaluating(self), torch.no_grad():
            pixels = (to_pixels(part, limits, device) for part in parts)
            # float32 also under autocast, whose embeddings are bf16.
            return torch.cat([self.encoder.embed(part, pool, block).float() for part in pixels])

    def _move(self, device: str | torch.device | None) -> torch.device:
        """Move the network to a device and return it; None leaves the network where it is."""
        # Not by `phenomae.devices`, which networks must not import.
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device is not None:
            self.to(device)
        return next(self.parameters()).device


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Switch a module to eval mode inside the block, and restore the mode of every submodule."""
    # Submodules may be in different modes (a frozen encoder), which module.train() would lose.
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def name_channels(count: int) -> tuple[str, ...]:
    """Return names for unnamed channels: `channel 1`, `channel 2`, ..."""
    return tuple(f"channel {number}" for number in range(1, count + 1))


def to_unit(pixels: Pixels) -> Float[Tensor, "b c h w"]:
    """Return pixels as floats from 0 to 1; raises ValueError unless they are uint8 or floats."""
    return pixels.float() / full_scale(pixels)


def full_scale(pixels: Tensor) -> float:
    """Return the largest value that pixels can have: 255 for uint8, 1 for floats.

    Raises ValueError if pixels have any other type.
    """
    if pixels.dtype == torch.uint8:
        return 255.0
    if pixels.is_floating_point():
        return 1.0
    raise ValueError(f"pixels must be uint8, or floats from 0 to 1, not {pixels.dtype}")
