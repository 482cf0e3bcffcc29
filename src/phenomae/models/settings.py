"""Sizes of networks: what has to be known, channels apart, to build one."""

from dataclasses import dataclass
from math import inf

from cyclopts import Parameter

_SHARE_DIGITS = 9
"""Decimals to which a share of a crop's patches is told from a whole number of them."""


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{rule}, not {value}")


@Parameter(name="*")
@dataclass(frozen=True)
class VitModel:
    """A vision transformer; the defaults are ViT-S/16 at 256 pixels."""

    crop_size: int = 256
    """Side of the square crops the model is trained on, in pixels."""
    patch_size: int = 16
    """Side of a patch in pixels; it must divide the crop."""
    embed_dim: int = 384
    """Width of the encoder, which is the length of an embedding."""
    depth: int = 12
    """Blocks of the encoder."""
    num_heads: int = 6
    """Attention heads of the encoder; they share embed_dim evenly."""
    mlp_ratio: float = 4.0
    """Hidden width of the encoder's MLP, in units of embed_dim."""
    layer_scale: float = 1e-4
    """What each encoder block's output is multiplied with at first; it is learned from there."""
    drop_path: float = 0.1
    """Share of crops that skip the last encoder block in training; it grows evenly from 0."""

    def __post_init__(self) -> None:
        for name in ("crop_size", "patch_size", "embed_dim", "depth", "num_heads"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        _require_width("embed_dim", self.embed_dim, "num_heads", self.num_heads)
        _require_hidden("mlp_ratio", self.mlp_ratio, self.embed_dim)
        _require_whole_patches(self.crop_size, self.patch_size)
        _require(
            0 <= self.drop_path < 1, "drop_path must lie in 0 to 1, 1 left out", self.drop_path
        )

    @property
    def patches(self) -> int:
        """How many patches a crop of `crop_size` has, of one channel or of all together."""
        return (self.crop_size // self.patch_size) ** 2


@Parameter(name="*")
@dataclass(frozen=True)
class VitMaeModel(VitModel):
    """A masked autoencoder on a vision transformer; the defaults are ViT-S/16 at 256 pixels."""

    decoder_embed_dim: int = 512
    """Width of the decoder."""
    decoder_depth: int = 8
    """Blocks of the decoder."""
    decoder_num_heads: int = 16
    """Attention heads of the decoder."""
    decoder_mlp_ratio: float = 4.0
    """Hidden width of the decoder's MLP, in units of decoder_embed_dim."""
    mask_ratio: float = 0.75
    """Share of patches that is hidden from the encoder in training."""
    fourier_weight: float = 0.0
    """Share of the loss that compares Fourier magnitudes of whole crops; 0.01 in the + models."""
    normalise_targets: bool = False
    """Whether every patch is brought to mean 0 and variance 1 before it has to be rebuilt."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("decoder_embed_dim", "decoder_depth", "decoder_num_heads"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        _require_width(
            "decoder_embed_dim", self.decoder_embed_dim, "decoder_num_heads", self.decoder_num_heads
        )
        _require_hidden("decoder_mlp_ratio", self.decoder_mlp_ratio, self.decoder_embed_dim)
        _require_masking(self.mask_ratio, self.patches)
        _require_share("fourier_weight", self.fourier_weight)


@Parameter(name="*")
@dataclass(frozen=True)
class ChannelMaeModel(VitMaeModel):
    """A masked autoencoder that takes any channels; the defaults are S/16 at 256 pixels."""

    cross_num_heads: int = 8
    """Heads of the attention in which a channel of the decoder looks at all channels' tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        heads = self.cross_num_heads
        _require(heads >= 1, "cross_num_heads must be at least 1", heads)
        _require_width("decoder_embed_dim", self.decoder_embed_dim, "cross_num_heads", heads)


@Parameter(name="*")
@dataclass(frozen=True)
class UnetMaeModel:
    """A masked autoencoder on a U-Net; the defaults are MU-Net-M at 256 pixels."""

    crop_size: int = 256
    """Side of the square crops the model is trained on, in pixels; it halves from scale to scale.
    """
    patch_size: int = 16
    """Side of the squares that are hidden, in pixels; it must divide the crop."""
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Width of every scale, the finest first; the last is the length of an embedding."""
    depths: tuple[int, ...] = (2, 2, 4, 8, 18)
    """3 x 3 convolutions of every scale; the decoder has as many, without the last scale."""
    mask_ratio: float = 0.25
    """Share of patches that is hidden from the encoder in training."""
    fourier_weight: float = 0.0
    """Share of the loss that compares Fourier magnitudes of whole crops; 0.01 in the + models."""
    normalise_targets: bool = False
    """Whether every patch is brought to mean 0 and variance 1 before it has to be rebuilt."""

    def __post_init__(self) -> None:
        for name in ("crop_size", "patch_size"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        for name in ("widths", "depths"):
            _require_sizes(name, getattr(self, name))
        scales = len(self.widths)
        _require(scales >= 2, "widths must be of 2 scales or more", scales)
        _require(
            len(self.depths) == scales,
            f"depths must be of as many scales as widths, {scales}",
            len(self.depths),
        )
        step = 2 ** (scales - 1)
        _require(
            self.crop_size % step == 0,
            f"crop_size must be a multiple of {step} to be halved {scales - 1} times",
            self.crop_size,
        )
        _require_whole_patches(self.crop_size, self.patch_size)
        _require_masking(self.mask_ratio, self.patches)
        _require_share("fourier_weight", self.fourier_weight)

    @property
    def patches(self) -> int:
        """How many patches a crop of `crop_size` has."""
        return (self.crop_size // self.patch_size) ** 2


@Parameter(name="*")
@dataclass(frozen=True)
class ClassifierModel:
    """A DenseNet that tells perturbations apart; the defaults are DenseNet-161 at 256 pixels."""

    crop_size: int = 256
    """Side of the square crops the model is trained on, in pixels."""
    growth_rate: int = 48
    """Features that every layer adds."""
    first_width: int = 96
    """Features of the first convolution."""
    block_depths: tuple[int, ...] = (6, 12, 36, 24)
    """Layers of every dense block."""
    bottleneck: int = 4
    """Features that a layer reads the map through, in units of growth_rate."""
    neck_dim: int = 128
    """Width of the layer before the classes, which is the length of an embedding."""
    standardise: bool = True
    """Whether every channel of every crop is brought to mean 0 and variance 1 by itself; if not,
    batch norm alone takes out gain and offset, of a step's crops or of a plate."""

    def __post_init__(self) -> None:
        for name in ("crop_size", "growth_rate", "first_width", "bottleneck", "neck_dim"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        _require_sizes("block_depths", self.block_depths)
        smallest, blocks = self.smallest_crop, len(self.block_depths)
        _require(
            self.crop_size >= smallest,
            f"crop_size must be {smallest} or more with {blocks} blocks",
            self.crop_size,
        )

    @property
    def smallest_crop(self) -> int:
        """Side of the smallest crop that leaves the last block a pixel."""
        return 2 ** (len(self.block_depths) + 1)


@Parameter(name="*")
@dataclass(frozen=True)
class VitClassifierModel(VitModel):
    """A vision transformer that tells perturbations apart; the defaults are ViT-S/16."""


def kept_patches(patches: int, mask_ratio: float) -> int:
    """Return how many patches the encoder sees of a crop that has `patches`: the share, cut off."""
    # 1 - .8 falls short of .2 in floats, and a fifth of 100 patches would be 19
    return int(round(patches * (1 - mask_ratio), _SHARE_DIGITS))


def _require_width(name: str, width: int, heads_name: str, heads: int) -> None:
    _require(width % 4 == 0, f"{name} must be a multiple of 4", width)
    _require(width % heads == 0, f"{name} must be a multiple of {heads_name} {heads}", width)


def _require_sizes(name: str, sizes: tuple[int, ...]) -> None:
    positive = len(sizes) > 0 and min(sizes) >= 1
    _require(positive, f"{name} must be one number or more, each at least 1", sizes)


def _require_hidden(name: str, ratio: float, width: int) -> None:
    _require(1 <= ratio * width < inf, f"{name} must give a hidden layer of 1 or more", ratio)


def _require_whole_patches(crop_size: int, patch_size: int) -> None:
    whole = crop_size % patch_size == 0
    _require(whole, f"crop_size must be a multiple of patch_size {patch_size}", crop_size)


def _require_masking(mask_ratio: float, patches: int) -> None:
    _require(0 < mask_ratio < 1, "mask_ratio must lie between 0 and 1", mask_ratio)
    _require(
        0 < kept_patches(patches, mask_ratio) < patches,
        f"mask_ratio must leave at least one of the {patches} patches and hide one",
        mask_ratio,
    )


def _require_share(name: str, value: float) -> None:
    _require(0 <= value <= 1, f"{name} must be a share of 0 to 1", value)
