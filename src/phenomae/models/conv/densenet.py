"""DenseNet (Huang et al. 2017, arXiv 1608.06993), its vector a narrow layer before the classes."""

from collections.abc import Iterator

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from phenomae.models.conv.convolutions import ConvolutionalEncoder
from phenomae.models.network import Pixels, Pool, to_unit
from phenomae.models.settings import ClassifierModel
from phenomae.models.vit.patches import standardise

# A dim channel's variance on a scale of 0..1 is about the usual 1e-5, which would let a plate's
# gain through; this is the variance of a 40th of a grey level in 8 bits.
_INPUT_EPS = 1e-8


class DenseLayer(nn.Module):
    """Adds `growth_rate` features to a map, and keeps those it had (section 3, DenseNet-B)."""

    def __init__(self, before: int, growth_rate: int, bottleneck: int) -> None:
        super().__init__()
        hidden = bottleneck * growth_rate
        self.squeeze = _normed_conv(before, hidden, 1)
        self.convolve = _normed_conv(hidden, growth_rate, 3)

    def forward(self, x: Float[Tensor, "b d y x"]) -> Float[Tensor, "b e y x"]:
        return torch.cat([x, self.convolve(self.squeeze(x))], dim=1)


class DenseNet(ConvolutionalEncoder):
    """Blocks of layers that see all maps before them; batch norm throughout.

    A batch norm without weights stands before the first convolution: with the statistics of a
    plate it takes out what the plate's gain and offset did, before padding with 0 could show it.
    """

    def __init__(self, settings: ClassifierModel, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.depth = len(settings.block_depths)
        self.smallest = settings.smallest_crop
        self.standardise = settings.standardise
        self.input_norm = nn.BatchNorm2d(channels, eps=_INPUT_EPS, affine=False)
        width, growth_rate = settings.first_width, settings.growth_rate
        entry = _stem(channels, width)
        self.blocks = nn.ModuleList()
        for depth in settings.block_depths:
            if len(self.blocks) > 0:
                entry, width = _transition(width), width // 2
            layers = [
                DenseLayer(width + growth_rate * number, growth_rate, settings.bottleneck)
                for number in range(depth)
            ]
            self.blocks.append(nn.Sequential(entry, *layers))
            width += growth_rate * depth
        self.norm = nn.BatchNorm1d(width)
        self.neck = nn.Linear(width, settings.neck_dim)
        self.apply(_initialise)

    def enter(self, pixels: Pixels) -> Float[Tensor, "b c h w"]:
        """Return crops standardised one by one, or as 0..1, and then by batch norm.

        Raises ValueError where crops have another number of channels than the model, or are too
        small.
        """
        self.check_channels(pixels.shape[1])
        if min(pixels.shape[-2:]) < self.smallest:
            raise ValueError(
                f"crops of {pixels.shape[-2]} x {pixels.shape[-1]} pixels are too small for "
                f"{self.depth} blocks: their sides must be {self.smallest} or more"
            )
        # The norm comes before the change of layout, after which a CPU would sum less exactly.
        images = self.input_norm(standardise(pixels) if self.standardise else to_unit(pixels))
        return images.contiguous(memory_format=torch.channels_last)

    def maps(self, images: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b d y x"]]:
        """Yield the map of every dense block."""
        x = images
        for block in self.blocks:
            x = block(x)
            yield x

    def finish(
        self, tokens: Float[Tensor, "b t d"], pool: Pool, channels: int
    ) -> Float[Tensor, "b n"]:
        """Return what the neck makes of the last block's map: norm, ReLU, mean, linear layer."""
        return torch.cat([self._finish(part) for part in self.apart(tokens)])

    def _finish(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b n"]:
        normed = self.norm(rearrange(tokens, "b t d -> b d t"))
        return self.neck(functional.relu(normed).mean(-1))


def _stem(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def _transition(width: int) -> nn.Sequential:
    """Return what halves a map's width and sides between blocks (DenseNet-C, theta = 0.5)."""
    return nn.Sequential(_normed_conv(width, width // 2, 1), nn.AvgPool2d(2))


def _normed_conv(before: int, width: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(before),
        nn.ReLU(inplace=True),
        nn.Conv2d(before, width, side, padding=side // 2, bias=False),
    )


def _initialise(module: nn.Module) -> None:
    """Draw the weights of a convolution as He et al. 2015 (arXiv 1502.01852, eq. 10) do."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
