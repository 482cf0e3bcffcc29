"""What published weights tell of the network they belong to.

Two layouts are known: that of the public checkpoint, with its tables `encoder` and `decoder`, and
the flat one of the golden cases. Sizes are read off the tensors, as the public configuration leaves
many to code; where a configuration tells them too it must agree.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isqrt
from typing import Any

from torch import Tensor

from phenomae.models.build import find_network, read_settings
from phenomae.models.network import name_channels
from phenomae.models.settings import VitMaeModel
from phenomae.models.sizes import VIT_SIZES
from phenomae.models.vit.channel_decoder import NORM_EPS as CHANNEL_NORM_EPS
from phenomae.models.vit.decoder import NORM_EPS

# Ours, and where a configuration tells it.
_GOLDEN = {
    "agnostic": "ca",
    "channels": "chans",
    "max_channels": "max_chans",
    "crop_size": "img",
    "patch_size": "patch",
    "embed_dim": "dim",
    "depth": "depth",
    "num_heads": "heads",
    "decoder_embed_dim": "ddim",
    "decoder_depth": "ddepth",
    "decoder_num_heads": "dheads",
    "mask_ratio": "mask_ratio",
}
_PUBLIC = {
    "agnostic": "encoder.channel_agnostic",
    "max_channels": "encoder.max_in_chans",
    "channels": "decoder.num_modalities",
    "tokens": "decoder.tokens_per_modality",
    "decoder_embed_dim": "decoder.embed_dim",
    "decoder_depth": "decoder.depth",
    "decoder_num_heads": "decoder.num_heads",
    "decoder_mlp_ratio": "decoder.mlp_ratio",
    "decoder_eps": "decoder.norm_layer.eps",
    "mask_ratio": "mask_ratio",
    "fourier_weight": "fourier_loss_weight",
    "normalise_targets": "norm_pix_loss",
}
_KINDS = {
    "decoder_num_heads": int,
    "mask_ratio": int | float,
    "fourier_weight": int | float,
    "normalise_targets": bool,
}
BACKBONES = {"small": VIT_SIZES["S/16"], "base": VIT_SIZES["B/16"], "large": VIT_SIZES["L/16"]}
"""The public names of the encoders' sizes."""
_MAX_CHANNELS = 11
BESIDE = "phenomae"
"""The key of what the public keys cannot tell."""


@dataclass(frozen=True)
class Blueprint:
    """What has to be known to build a published network."""

    family: str
    settings: VitMaeModel
    channels: tuple[str, ...]
    max_channels: int
    """For how many channels the encoder's position table is written out."""


def is_published(config: Mapping[str, Any]) -> bool:
    """Say whether a configuration is of one of the two layouts, and not phenomae's own."""
    return "chans" in config or "architectures" in config


def read_published(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Blueprint:
    """Return how the network of a configuration and of its tensors is built.

    A share of hidden patches of 0, as weights for inference have it, becomes the default. Raises
    ValueError where something is missing, or where configuration and tensors disagree.
    """
    keys = _GOLDEN if "chans" in config else _PUBLIC
    told = _told(config, keys)
    found = measure(tensors)
    for name in sorted(told.keys() & found.keys()):
        if told[name] != found[name]:
            raise ValueError(f"{keys[name]} is {told[name]}, but the weights have {found[name]}")
    if told.get("mask_ratio") == 0:
        del told["mask_ratio"]
    family = "channel-mae" if found["agnostic"] else "vit-mae"
    known = {field.name for field in fields(find_network(family).Settings)}
    sizes = {name: value for name, value in {**told, **found}.items() if name in known}
    backbone = name_backbone(sizes)
    if backbone is not None:
        sizes["drop_path"] = BACKBONES[backbone].drop_path
    blueprint = Blueprint(
        family,
        read_settings(family, sizes),
        name_channels(found["channels"]),
        found.get("max_channels", found["channels"]),
    )
    return _add_beside(blueprint, config.get(BESIDE, {}))


def measure(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the sizes that can be read off tensors of the public names.

    Raises ValueError where one is missing or of a shape that it cannot have.
    """
    projection = "encoder.vit_backbone.patch_embed.proj.weight"
    dim, inputs, patch_size, other_side = _shape(tensors, projection, 4)
    if patch_size != other_side:
        raise ValueError(f"{projection} takes patches of {patch_size} x {other_side} pixels")
    agnostic = any(name.startswith("decoder.decoders.") for name in tensors)
    channels = _count(tensors, "decoder.modality_tokens.") if agnostic else inputs
    own = 1 if not agnostic else channels  # how many channels have rows of their own
    first = "decoder.decoders.0" if agnostic else "decoder.blocks"
    decoder_dim = _shape(tensors, "encoder_decoder_proj.weight", 2)[0]
    decoder_positions = "decoder.pos_embeddings"
    rows = _shape(tensors, decoder_positions, 3)[1] - 1
    tokens = rows // own
    side = isqrt(tokens)
    if side < 1 or side * side * own != rows:
        raise ValueError(f"{decoder_positions} has {rows} rows, no square for {own} channels each")
    of_all = {}
    if agnostic:
        encoder_rows = _shape(tensors, "encoder.vit_backbone.pos_embed", 3)[1] - 1
        of_all = {"tokens": tokens, "max_channels": encoder_rows // tokens}
    head = _shape(tensors, "encoder.vit_backbone.blocks.0.q_norm.weight", 1)[0]
    hidden = _shape(tensors, "encoder.vit_backbone.blocks.0.mlp_bias", 1)[0]
    decoder_hidden = _shape(tensors, f"{first}.0.mlp.fc1.weight", 2)[0]
    return {
        "agnostic": agnostic,
        "channels": channels,
        "crop_size": side * patch_size,
        "patch_size": patch_size,
        "embed_dim": dim,
        "depth": _count(tensors, "encoder.vit_backbone.blocks."),
        "num_heads": dim // head,
        "mlp_ratio": hidden / dim,
        "decoder_embed_dim": decoder_dim,
        "decoder_depth": _count(tensors, f"{first}."),
        "decoder_mlp_ratio": decoder_hidden / decoder_dim,
        "decoder_eps": CHANNEL_NORM_EPS if agnostic else NORM_EPS,
        **of_all,
    }


def find_max_channels(config: Mapping[str, Any], channels: int) -> int:
    """Return for how many channels a configuration has the encoder's position table written out.

    One that does not say has it for as many as the public checkpoint, and for all `channels`.
    """
    told = look_up(config, _PUBLIC["max_channels"]) or look_up(config, _GOLDEN["max_channels"])
    return told if isinstance(told, int) and told > 0 else max(_MAX_CHANNELS, channels)


def look_up(config: Any, key: str) -> Any:
    """Return what stands in nested tables under a key like `decoder.depth`; None without it."""
    value = config
    for word in key.split("."):
        value = value.get(word) if isinstance(value, Mapping) else None
    return value


def name_backbone(sizes: Mapping[str, Any]) -> str | None:
    """Return the public name of an encoder's size; None where it has none."""
    names = ("embed_dim", "depth", "num_heads")
    for name, size in BACKBONES.items():
        if all(sizes[key] == getattr(size, key) for key in names):
            return name
    return None


def _told(config: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return what a configuration tells, under our names."""
    told = {name: look_up(config, key) for name, key in keys.items()}
    told = {name: value for name, value in told.items() if value is not None}
    if "decoder_num_heads" not in told:
        raise ValueError(f"it lacks {keys['decoder_num_heads']}")
    for name, kind in _KINDS.items():
        if name in told and not isinstance(told[name], kind):
            raise ValueError(f"{keys[name]} cannot be {told[name]!r}")
    return told


def _add_beside(blueprint: Blueprint, beside: Any) -> Blueprint:
    """Return a blueprint with what stands in the table `phenomae`."""
    model, channels = look_up(beside, "model") or {}, look_up(beside, "channels")
    if not isinstance(model, dict):
        raise ValueError(f"{BESIDE}.model must be a table, not {model!r}")
    settings = read_settings(blueprint.family, {**asdict(blueprint.settings), **model})
    if channels is None:
        channels = blueprint.channels
    if not isinstance(channels, list | tuple) or len(channels) != len(blueprint.channels):
        raise ValueError(f"{BESIDE}.channels must name {len(blueprint.channels)} channels")
    return replace(blueprint, settings=settings, channels=tuple(map(str, channels)))


def _shape(tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    """Return the shape of a tensor that must have so many axes."""
    if name not in tensors:
        raise ValueError(f"the weights lack {name}: they are of another model")
    shape = tuple(tensors[name].shape)
    if len(shape) != axes or 0 in shape:
        raise ValueError(f"{name} has shape {shape}, but must have {axes} axes")
    return shape


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Return how many different numbers follow a prefix in the names of tensors."""
    names = [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
    numbers = {name.partition(".")[0] for name in names}
    if not numbers:
        raise ValueError(f"the weights lack {prefix}0: they are of another model")
    return len(numbers)
