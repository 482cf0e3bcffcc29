"""The encoder of a U-Net (Ronneberger et al. 2015, arXiv 1505.04597), with residual convolutions.

The norms are GroupNorm, so that the features of a crop do not depend on the other crops of a batch.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import gcd

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from phenomae.models.conv.convolutions import ConvolutionalEncoder
from phenomae.models.network import Pixels
from phenomae.models.settings import UnetMaeModel
from phenomae.models.vit.patches import patch_grid, standardise

_NORM_GROUPS = 8


class Residual(nn.Module):
    """Adds the output of a branch to its input, so that gradients reach the deep scales."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Float[Tensor, "b d y x"]) -> Float[Tensor, "b d y x"]:
        return x + self.branch(x)


class Unet(ConvolutionalEncoder):
    """U-Net encoder: one feature map per scale; every scale halves the sides of the feature map.

    The first convolution of a scale changes the width; the other convolutions are residual.
    """

    def __init__(self, settings: UnetMaeModel, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.depth = len(settings.widths)
        self.patch_size = settings.patch_size
        widths = settings.widths
        # No norm before the first convolution, because its input is standardised.
        entries = [nn.Conv2d(channels, widths[0], 3, padding=1)]
        entries += [normed_conv(*pair) for pair in pairwise(widths)]
        self.scales = nn.ModuleList(
            nn.Sequential(entry, *residual_convs(width, depth - 1))
            for entry, width, depth in zip(entries, widths, settings.depths, strict=True)
        )
        self.grid = self.grid_of_sides(settings.crop_size, settings.crop_size)
        self.apply(initialise)

    def enter(self, pixels: Pixels) -> Float[Tensor, "b c h w"]:
        """Return self-standardised crops.

        Raises ValueError if crops have another number of channels than the model, or sides that are
        no multiples of the patch size and of 2^(number of scales - 1).
        """
        self.check_channels(pixels.shape[1])
        self.grid_of_sides(pixels.shape[-2], pixels.shape[-1])
        return standardise(pixels).contiguous(memory_format=torch.channels_last)

    def maps(self, images: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b d y x"]]:
        """Yield the feature map of every scale, the finest first."""
        x = images
        for number, scale in enumerate(self.scales):
            # The first scale keeps the full resolution.
            x = scale(functional.max_pool2d(x, 2) if number else x)
            yield x

    def crops_per_part(self, height: int, width: int) -> int:
        """Return the crops of a part: one if the number of threads is no power of two.

        The threads of a GroupNorm in channels-last format share the pixels of all crops of a part,
        so that the sums of a crop that is cut by a border between threads depend on its place.
        """
        threads = torch.get_num_threads()
        return 1 if threads & (threads - 1) else super().crops_per_part(height, width)

    def grid_of_sides(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of patches of a crop; raises ValueError for other sides."""
        step = 2 ** (self.depth - 1)
        if height % step or width % step:
            raise ValueError(
                f"crops of {height} x {width} pixels cannot be halved {self.depth - 1} times: "
                f"their sides must be multiples of {step}"
            )
        return patch_grid(height, width, self.patch_size)


def crop_norm(width: int) -> nn.GroupNorm:
    """Return a GroupNorm with eight groups, or fewer if the width is not a multiple of 8."""
    # The number of groups must divide the width.
    return nn.GroupNorm(gcd(width, _NORM_GROUPS), width)


def normed_conv(before: int, width: int) -> nn.Sequential:
    """Return norm, ReLU and 3 x 3 convolution (He et al. 2016, arXiv 1603.05027, section 4)."""
    convolution = nn.Conv2d(before, width, 3, padding=1)
    return nn.Sequential(crop_norm(before), nn.ReLU(inplace=True), convolution)


def residual_convs(width: int, count: int) -> list[Residual]:
    """Return `count` residual convolutions."""
    return [Residual(normed_conv(width, width)) for _ in range(count)]


def initialise(module: nn.Module) -> None:
    """Initialise convolutions as in He et al. 2015 (arXiv 1502.01852, eq. 10)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)
