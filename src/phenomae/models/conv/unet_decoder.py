"""The decoder of a U-Net, which predicts pixels from the feature maps of all scales."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from phenomae.models.conv.unet import crop_norm, initialise, normed_conv, residual_convs
from phenomae.models.settings import UnetMaeModel


class _Scale(nn.Module):
    """Doubles the sides of a feature map and appends the encoder's feature map of the same size."""

    def __init__(self, deeper: int, width: int, depth: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(deeper, width, 2, stride=2)
        self.convs = nn.Sequential(normed_conv(2 * width, width), *residual_convs(width, depth - 1))

    def forward(
        self, x: Float[Tensor, "b e y x"], seen: Float[Tensor, "b d 2*y 2*x"]
    ) -> Float[Tensor, "b d 2*y 2*x"]:
        return self.convs(torch.cat([seen, self.up(x)], dim=1))


class UnetDecoder(nn.Module):
    """Predicts all pixels; its scales mirror those of the encoder."""

    def __init__(self, settings: UnetMaeModel, channels: int) -> None:
        super().__init__()
        # strict=False: the deepest scale is the decoder's input and has no scale here.
        sizes = list(zip(settings.widths[1:], settings.widths, settings.depths, strict=False))
        self.scales = nn.ModuleList(_Scale(*size) for size in reversed(sizes))
        self.norm = crop_norm(settings.widths[0])
        self.pred = nn.Conv2d(settings.widths[0], channels, 1)
        self.apply(initialise)
        # The first prediction is the mean of a crop, as in the decoder of the ViT.
        nn.init.zeros_(self.pred.weight)

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b c h w"]:
        """Return the pixels of crops; `maps` are the encoder's feature maps, the finest first."""
        x = maps[-1]
        for scale, seen in zip(self.scales, reversed(maps[:-1]), strict=True):
            x = scale(x, seen)
        return self.pred(functional.relu(self.norm(x)))
