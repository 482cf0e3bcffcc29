"""Turns crops of a store into the images of a public encoder, on the device of the model.

Everything is float32 and nothing is rounded to 8 bits on the way.
"""

from collections.abc import Iterator
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from phenomae.models.network import Pixels, to_unit
from phenomae.weights.public_encoder.processor import Filter, Processor
from phenomae.weights.public_encoder.settings import ChannelsAs, Intensities

_BYTE = 255


class Preparation(nn.Module):
    """Turns crops into one image per channel (grey), or one image of three channels (rgb)."""

    def __init__(self, channels_as: ChannelsAs, intensities: Intensities) -> None:
        super().__init__()
        self.channels_as: ChannelsAs = channels_as
        self.intensities: Intensities = intensities

    def forward(self, pixels: Pixels) -> Iterator[Float[Tensor, "b k s s"]]:
        """Yield the images of crops: one tensor per channel, or one in all, with `k` channels."""
        found = to_unit(pixels)
        if self.intensities == "crop":
            found = stretch(found)
        # Channel by channel, so that the memory does not depend on the number of channels.
        parts = found.split(1, dim=1) if self.channels_as == "grey" else [found]
        return map(self.scale, parts)

    def scale(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k s s"]:
        """Return images of intensities from 0 to 1 as the model sees them."""
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """Return what determines the images, as plain JSON values."""
        return {"channels_as": self.channels_as, "intensities": self.intensities}


class ProcessorPreparation(Preparation):
    """Resizes images, and normalises them by the mean and std of a processor."""

    def __init__(
        self, channels_as: ChannelsAs, intensities: Intensities, processor: Processor, channels: int
    ) -> None:
        """Prepare images of as many `channels` as the model has."""
        super().__init__(channels_as, intensities)
        self.processor = processor
        self.mean: Tensor
        self.std: Tensor
        for name in ("mean", "std"):
            numbers = torch.tensor(getattr(processor, name)).expand(channels)
            table = rearrange(numbers.clone(), "k -> k 1 1")
            self.register_buffer(name, table, persistent=False)

    def scale(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k s s"]:
        """Resize, scale and normalise images; a grey image is repeated for every channel."""
        images = resize(images, self.processor.input_size, self.processor.resample)
        # A bicubic filter overshoots at edges; image processors end at 0 and 255 too.
        images = images.clamp(0, 1) * self.processor.scale
        # Subtracting one mean per channel of the model repeats grey images without a copy of them.
        return (images - self.mean) / self.std

    def record(self) -> dict[str, Any]:
        """Return the numbers of the processor too."""
        return {**super().record(), **self.processor.record()}


class ZScorePreparation(Preparation):
    """Normalises every channel of every crop to mean 0 and variance 1, then resizes it (MorphEm).

    The order matters: a resized image has a smaller variance.
    """

    def __init__(self, intensities: Intensities, input_size: int, eps: float) -> None:
        super().__init__("grey", intensities)
        self.input_size, self.eps = input_size, eps

    def scale(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k s s"]:
        """Normalise and resize images of one channel."""
        # From 0 to 255, because eps is for the variance of such pixels.
        images = images * _BYTE
        variance, mean = torch.var_mean(images, dim=(-2, -1), correction=0, keepdim=True)
        return resize((images - mean) / (variance + self.eps).sqrt(), self.input_size, "bilinear")

    def record(self) -> dict[str, Any]:
        """Return the steps and their numbers too."""
        return {
            **super().record(),
            "input_size": self.input_size,
            "resample": "bilinear",
            "steps": ["z-score of each crop and channel, from 0 to 255", "resize"],
            "eps": self.eps,
        }


def stretch(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Return images in which the minimum of each crop and channel is 0 and the maximum 1.

    A constant channel becomes 0.
    """
    low, high = images.amin((-2, -1), keepdim=True), images.amax((-2, -1), keepdim=True)
    return (images - low) / (high - low).clamp(min=1e-6)


def resize(
    images: Float[Tensor, "b c h w"], size: int, resample: Filter | None
) -> Float[Tensor, "b c s s"]:
    """Return square images of `size` pixels per side; images of that size are not changed.

    Raises ValueError if they are of another size and there is no filter to resize them.
    """
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    if resample is None:
        raise ValueError(
            f"crops must be {size} x {size} pixels, not {height} x {width}: the model's files name "
            "no filter to resize them"
        )
    return interpolate(images, size=(size, size), mode=resample, antialias=True)
