"""Sizes of networks: what has to be known, channels apart, to build one."""

from dataclasses import dataclass, replace
from math import inf

from cyclopts import Parameter


def _require(holds: bool, rule: str, value: float) -> None:
    if not holds:
        raise ValueError(f"{rule}, not {value}")


@Parameter(name="*")
@dataclass(frozen=True)
class VitMaeModel:
    """A masked autoencoder on a vision transformer; the defaults are ViT-S/16 at 256 pixels."""

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

    def __post_init__(self) -> None:
        for name in ("crop_size", "patch_size", "embed_dim", "depth", "num_heads"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        for name in ("decoder_embed_dim", "decoder_depth", "decoder_num_heads"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        for width, heads in (
            ("embed_dim", "num_heads"),
            ("decoder_embed_dim", "decoder_num_heads"),
        ):
            value, count = getattr(self, width), getattr(self, heads)
            _require(value % 4 == 0, f"{width} must be a multiple of 4", value)
            _require(value % count == 0, f"{width} must be a multiple of {heads} {count}", value)
        whole = self.crop_size % self.patch_size == 0
        _require(
            whole, f"crop_size must be a multiple of patch_size {self.patch_size}", self.crop_size
        )
        for name, width in (("mlp_ratio", "embed_dim"), ("decoder_mlp_ratio", "decoder_embed_dim")):
            value = getattr(self, name)
            hidden = value * getattr(self, width)
            _require(1 <= hidden < inf, f"{name} must give a hidden layer of 1 or more", value)
        _require(
            0 <= self.drop_path < 1, "drop_path must lie in 0 to 1, 1 left out", self.drop_path
        )
        _require(0 < self.mask_ratio < 1, "mask_ratio must lie between 0 and 1", self.mask_ratio)
        kept = kept_patches(self.patches, self.mask_ratio)
        _require(
            0 < kept < self.patches,
            f"mask_ratio must leave at least one of the {self.patches} patches and hide one",
            self.mask_ratio,
        )

    @property
    def patches(self) -> int:
        """How many patches a crop of `crop_size` has."""
        return (self.crop_size // self.patch_size) ** 2


def kept_patches(patches: int, mask_ratio: float) -> int:
    """Return how many patches the encoder sees of a crop that has `patches`."""
    return int(patches * (1 - mask_ratio))


_BASE = VitMaeModel(embed_dim=768, num_heads=12)
_LARGE = VitMaeModel(embed_dim=1024, depth=24, num_heads=16, drop_path=0.3)

# The encoders of Kraus et al. 2023 (arXiv 2309.16064), at crops of 256 pixels.
SIZES: dict[str, VitMaeModel] = {
    "S/16": VitMaeModel(),
    "B/16": _BASE,
    "B/8": replace(_BASE, patch_size=8),
    "L/16": _LARGE,
    "L/8": replace(_LARGE, patch_size=8),
}
