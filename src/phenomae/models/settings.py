"""Settings of the networks: everything that is needed to build a network, except its channels.

A setting that timm also has has timm's name. The names are flags of `phenomae pretrain`, keys of
recipes, and keys of the table `model` in config.json of weights.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from cyclopts import Parameter

from phenomae.checks import at_least, one_of, require, share, whole_numbers
from phenomae.models.losses import FourierNorm

DecoderAttention = Literal["self", "cross"]
# Decimal digits to which a number of patches is rounded before `int`; see `kept_patches`.
_DIGITS = 9


@Parameter(name="*")
@dataclass(frozen=True)
class VitModel:
    """A vision transformer; the defaults are ViT-S/16 for crops of 256 pixels."""

    crop_size: int = 256
    """Side of the square training crops, in pixels."""
    patch_size: int = 16
    """Side of a patch in pixels; must be a divisor of crop_size."""
    embed_dim: int = 384
    """Width of the encoder and length of an embedding."""
    depth: int = 12
    """Number of encoder blocks."""
    num_heads: int = 6
    """Attention heads of the encoder; must be a divisor of embed_dim."""
    mlp_ratio: float = 4.0
    """Hidden width of the encoder's MLPs as a multiple of embed_dim."""
    # Small, so that every block starts close to the identity (Touvron et al. 2021, 2103.17239).
    layer_scale: float = 1e-4
    """Initial value of LayerScale, the learned factors on the output of every encoder block."""
    drop_path: float = 0.1
    """Stochastic depth: fraction of crops that skip the last encoder block during training; the
    fraction rises linearly from 0 at the first block."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        for name in ("crop_size", "patch_size", "embed_dim", "depth", "num_heads"):
            at_least(name, getattr(self, name), 1)
        _require_width("embed_dim", self.embed_dim, "num_heads", self.num_heads)
        # int(ratio * width) is the hidden width, so a small ratio could give 0.
        _require_hidden("mlp_ratio", self.mlp_ratio, self.embed_dim)
        _require_whole_patches(self.crop_size, self.patch_size)
        require(0 <= self.drop_path < 1, "drop_path", "at least 0 and below 1", self.drop_path)

    @property
    def patches(self) -> int:
        """Number of patches of a crop of `crop_size` in one channel."""
        return (self.crop_size // self.patch_size) ** 2


@Parameter(name="*")
@dataclass(frozen=True)
class MaskedVitModel(VitModel):
    """A vision transformer and a decoder that predicts hidden patches; the defaults are S/16."""

    decoder_embed_dim: int = 512
    """Width of the decoder."""
    decoder_depth: int = 8
    """Number of decoder blocks."""
    decoder_num_heads: int = 16
    """Attention heads of the decoder; must be a divisor of decoder_embed_dim."""
    decoder_mlp_ratio: float = 4.0
    """Hidden width of the decoder's MLPs as a multiple of decoder_embed_dim."""
    decoder_attention: DecoderAttention = "self"
    """What the decoder's tokens attend to: all tokens (self), or the tokens of the visible patches
    alone (cross), which costs less."""
    mask_ratio: float = 0.75
    """Fraction of patches that is hidden from the encoder during training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("decoder_attention", self.decoder_attention, get_args(DecoderAttention))
        for name in ("decoder_embed_dim", "decoder_depth", "decoder_num_heads"):
            at_least(name, getattr(self, name), 1)
        _require_width(
            "decoder_embed_dim", self.decoder_embed_dim, "decoder_num_heads", self.decoder_num_heads
        )
        _require_hidden("decoder_mlp_ratio", self.decoder_mlp_ratio, self.decoder_embed_dim)
        _require_masking(self.mask_ratio, self.patches)


@Parameter(name="*")
@dataclass(frozen=True)
class VitMaeModel(MaskedVitModel):
    """A masked autoencoder with a vision transformer; the defaults are ViT-S/16."""

    fourier_weight: float = 0.0
    """Weight, from 0 to 1, of the Fourier loss, which compares the Fourier magnitudes of whole
    crops; 0.01 in the published networks with a +."""
    fourier_norm: FourierNorm = "backward"
    """Normalisation of the Fourier transform: backward is that of the published networks, whose
    loss grows with the side of the crop; with ortho, a weight means the same for crops of any
    size."""
    normalise_targets: bool = False
    """Normalise every target patch to mean 0 and variance 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        share("fourier_weight", self.fourier_weight)
        one_of("fourier_norm", self.fourier_norm, get_args(FourierNorm))


@Parameter(name="*")
@dataclass(frozen=True)
class EnergyMaeModel(MaskedVitModel):
    """A vision transformer that predicts local energies; the defaults are ViT-S/16."""

    visible_weight: float = 1.0
    """Weight of the loss on visible patches, whose energies are predicted from the encoder's tokens
    by one linear layer; that on hidden patches has weight 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("patch_size", self.patch_size, 2)  # one pixel has no frequency but 0
        at_least("visible_weight", self.visible_weight, 0)


@Parameter(name="*")
@dataclass(frozen=True)
class ChannelMaeModel(VitMaeModel):
    """A channel-agnostic masked autoencoder; the defaults are S/16 for crops of 256 pixels."""

    cross_num_heads: int = 8
    """Heads of the decoder's cross-attention, in which the tokens of each channel attend to the
    tokens of all channels; must be a divisor of decoder_embed_dim."""

    def __post_init__(self) -> None:
        super().__post_init__()
        attention = self.decoder_attention
        require(attention == "self", "decoder_attention", "self for channel-mae", attention)
        heads = self.cross_num_heads
        at_least("cross_num_heads", heads, 1)
        _require_width("decoder_embed_dim", self.decoder_embed_dim, "cross_num_heads", heads)


@Parameter(name="*")
@dataclass(frozen=True)
class UnetMaeModel:
    """A masked autoencoder with a U-Net; the defaults are MU-Net-M for crops of 256 pixels."""

    crop_size: int = 256
    """Side of the square training crops, in pixels; every scale halves the side."""
    patch_size: int = 16
    """Side of the square patches that are masked, in pixels; must be a divisor of crop_size."""
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Features of every scale, finest first; the last number is the length of an embedding."""
    depths: tuple[int, ...] = (2, 2, 4, 8, 18)
    """Number of 3 x 3 convolutions in every scale of the encoder; the decoder has the same numbers,
    without the last scale."""
    # 25 % is reported for the published U-Nets, though not with certainty (docs/models.md).
    mask_ratio: float = 0.25
    """Fraction of patches that is hidden from the encoder during training."""
    fourier_weight: float = 0.0
    """Weight, from 0 to 1, of the Fourier loss, which compares the Fourier magnitudes of whole
    crops; 0.01 in the published networks with a +."""
    fourier_norm: FourierNorm = "backward"
    """Normalisation of the Fourier transform: backward is that of the published networks, whose
    loss grows with the side of the crop; with ortho, a weight means the same for crops of any
    size."""
    normalise_targets: bool = False
    """Normalise every target patch to mean 0 and variance 1."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        for name in ("crop_size", "patch_size"):
            at_least(name, getattr(self, name), 1)
        _require_sizes("widths", self.widths)
        _require_sizes("depths", self.depths)
        # A U-Net of one scale would have no skip connection.
        scales = len(self.widths)
        require(scales >= 2, "widths", "two numbers or more, one per scale", self.widths)
        rule = f"{scales} numbers, as many as widths has"
        require(len(self.depths) == scales, "depths", rule, self.depths)
        step = 2 ** (scales - 1)
        rule = f"a multiple of {step}, because it is halved {scales - 1} times"
        require(self.crop_size % step == 0, "crop_size", rule, self.crop_size)
        _require_whole_patches(self.crop_size, self.patch_size)
        _require_masking(self.mask_ratio, self.patches)
        share("fourier_weight", self.fourier_weight)
        one_of("fourier_norm", self.fourier_norm, get_args(FourierNorm))

    @property
    def patches(self) -> int:
        """Number of patches in a crop of `crop_size`."""
        return (self.crop_size // self.patch_size) ** 2


@Parameter(name="*")
@dataclass(frozen=True)
class ClassifierModel:
    """A DenseNet that classifies perturbations; the defaults are DenseNet-161."""

    crop_size: int = 256
    """Side of the square training crops, in pixels."""
    growth_rate: int = 48
    """Number of features that every layer adds."""
    first_width: int = 96
    """Number of features of the first convolution."""
    block_depths: tuple[int, ...] = (6, 12, 36, 24)
    """Number of layers of every dense block."""
    bottleneck: int = 4
    """Width of the bottleneck of every layer as a multiple of growth_rate."""
    neck_dim: int = 128
    """Width of the layer before the classification head, and length of an embedding."""
    standardise: bool = True
    """Standardise every channel of every crop to mean 0 and variance 1. Otherwise only batch norm
    normalises intensities: over the crops of a step, or with AdaBN over crops of a plate."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        for name in ("crop_size", "growth_rate", "first_width", "bottleneck", "neck_dim"):
            at_least(name, getattr(self, name), 1)
        _require_sizes("block_depths", self.block_depths)
        blocks = len(self.block_depths)
        rule = f"at least {self.smallest_crop} with {blocks} blocks, because it is halved "
        rule += f"{blocks + 1} times"
        require(self.crop_size >= self.smallest_crop, "crop_size", rule, self.crop_size)

    @property
    def smallest_crop(self) -> int:
        """Side of the smallest crop for which the last block has a feature map of one pixel."""
        return 2 ** (len(self.block_depths) + 1)


@Parameter(name="*")
@dataclass(frozen=True)
class VitClassifierModel(VitModel):
    """A vision transformer that classifies perturbations; the defaults are ViT-S/16."""


def kept_patches(patches: int, mask_ratio: float) -> int:
    """Return the number of a crop's patches that stay visible: 1 - mask_ratio, rounded down."""
    # In floating point 1 - 0.8 is a little less than 0.2, so that int(100 * (1 - 0.8)) is 19.
    return int(round(patches * (1 - mask_ratio), _DIGITS))


def _require_width(name: str, width: int, heads_name: str, heads: int) -> None:
    # Position tables hold sines and cosines of rows and of columns, a quarter of the width each.
    require(width % 4 == 0, name, "a multiple of 4", width)
    require(width % heads == 0, name, f"a multiple of {heads_name} {heads}", width)


def _require_sizes(name: str, sizes: tuple[int, ...]) -> None:
    positive = len(sizes) > 0 and min(sizes) >= 1
    require(positive, name, "one or more numbers that are at least 1", sizes)


def _require_hidden(name: str, ratio: float, width: int) -> None:
    require(1 <= ratio * width < inf, name, "large enough for a hidden layer of 1", ratio)


def _require_whole_patches(crop_size: int, patch_size: int) -> None:
    whole = crop_size % patch_size == 0
    require(whole, "crop_size", f"a multiple of patch_size {patch_size}", crop_size)


def _require_masking(mask_ratio: float, patches: int) -> None:
    require(0 < mask_ratio < 1, "mask_ratio", "between 0 and 1 (both excluded)", mask_ratio)
    leaves_some = 0 < kept_patches(patches, mask_ratio) < patches
    rule = f"such that at least one of {patches} patches is hidden and at least one is not"
    require(leaves_some, "mask_ratio", rule, mask_ratio)
