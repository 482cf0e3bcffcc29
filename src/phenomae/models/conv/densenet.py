"""DenseNet (Huang et al. 2017, arXiv 1608.06993); the embedding is the output of a narrow layer."""

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

# The usual eps of 1e-5 is about the variance of a dim channel (on a scale from 0 to 1), so batch
# norm would not remove a plate's gain; 1e-8 is (a 40th of a grey level in 8 bits) squared.
_INPUT_EPS = 1e-8


class DenseLayer(nn.Module):
    """Appends `growth_rate` features to a feature map (section 3, DenseNet-B)."""

    def __init__(self, before: int, growth_rate: int, bottleneck: int) -> None:
        super().__init__()
        hidden = bottleneck * growth_rate
        self.squeeze = _normed_conv(before, hidden, 1)
        self.convolve = _normed_conv(hidden, growth_rate, 3)

    def forward(self, x: Float[Tensor, "b d y x"]) -> Float[Tensor, "b e y x"]:
        return torch.cat([x, self.convolve(self.squeeze(x))], dim=1)


class DenseNet(ConvolutionalEncoder):
    """Dense blocks with batch norm, after a batch norm without weights on the pixels.

    With the statistics of a plate, the batch norm on the pixels removes the plate's gain and offset
    before the first convolution pads with zeros; an offset would be visible at the borders.
    """

    pools = ("mean",)  # the last linear layer is trained on the mean

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
        """Return crops, self-standardised or scaled to 0 to 1, after the batch norm on the pixels.

        Raises ValueError if crops have another number of channels than the model, or are too small.
        """
        self.check_channels(pixels.shape[1])
        if min(pixels.shape[-2:]) < self.smallest:
            raise ValueError(
                f"crops must have sides of {self.smallest} pixels or more for {self.depth} blocks, "
                f"not {pixels.shape[-2]} x {pixels.shape[-1]}"
            )
        # Normalised before the change to channels-last: in that format a CPU sums less exactly.
        images = self.input_norm(standardise(pixels) if self.standardise else to_unit(pixels))
        return images.contiguous(memory_format=torch.channels_last)

    def maps(self, images: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b d y x"]]:
        """Yield the feature map of every dense block."""
        x = images
        for block in self.blocks:
            x = block(x)
            yield x

    def finish(
        self, tokens: Float[Tensor, "b t d"], pool: Pool, channels: int
    ) -> Float[Tensor, "b n"]:
        """Return the embedding: norm, ReLU, mean and linear layer on the last feature map."""
        # One crop at a time: last bits must not depend on the other crops.
        size = 1 if self.splits(tokens) else len(tokens)
        return torch.cat([self._finish(part) for part in tokens.split(size)])

    def _finish(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b n"]:
        # BatchNorm1d expects the features in the second axis.
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
    """Return a layer between blocks, which halves width and sides (DenseNet-C, theta = 0.5)."""
    return nn.Sequential(_normed_conv(width, width // 2, 1), nn.AvgPool2d(2))


def _normed_conv(before: int, width: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(before),
        nn.ReLU(inplace=True),
        # Without bias: the batch norm of the next layer would subtract it.
        nn.Conv2d(before, width, side, padding=side // 2, bias=False),
    )


def _initialise(module: nn.Module) -> None:
    """Initialise convolutions as in He et al. 2015 (arXiv 1502.01852, eq. 10)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
