"""Determines the network that published weights belong to.

Two layouts are read: that of the public checkpoint, with tables `encoder` and `decoder`, and the
flat layout of the golden cases. Sizes are read from the shapes of tensors, because the public
configuration has only some of them; the sizes that it has must agree with the shapes.
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

# By phenomae's name: the key in the configuration.
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
# Values that no tensor's shape can confirm, so that their types are checked.
_KINDS = {
    "decoder_num_heads": int,
    "mask_ratio": int | float,
    "fourier_weight": int | float,
    "normalise_targets": bool,
}
BACKBONES = {"small": VIT_SIZES["S/16"], "base": VIT_SIZES["B/16"], "large": VIT_SIZES["L/16"]}
"""Sizes of encoders by their public names."""
_MAX_CHANNELS = 11  # of the public checkpoint
BESIDE = "phenomae"
"""Key of a public configuration for values that have no public key."""


@dataclass(frozen=True)
class Blueprint:
    """Everything that is needed to build a published network."""

    family: str
    settings: VitMaeModel
    channels: tuple[str, ...]
    max_channels: int
    """Number of channels for which the encoder's position table is repeated."""


def is_published(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration has one of the two public layouts."""
    return "chans" in config or "architectures" in config


def read_published(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Blueprint:
    """Return the blueprint of the network that a configuration and its tensors describe.

    A mask ratio of 0, which weights for inference have, is replaced by the default. Raises
    ValueError if something is missing, or if configuration and tensors disagree.
    """
    keys = _GOLDEN if "chans" in config else _PUBLIC
    stated = _stated(config, keys)
    found = measure(tensors)
    for name in sorted(stated.keys() & found.keys()):
        if stated[name] != found[name]:
            raise ValueError(f"{keys[name]} is {stated[name]}, but the weights have {found[name]}")
    # With a ratio of 0 no network could be built, and none trained further.
    if stated.get("mask_ratio") == 0:
        del stated["mask_ratio"]
    family = "channel-mae" if found["agnostic"] else "vit-mae"
    known = {field.name for field in fields(find_network(family).Settings)}
    sizes = {name: value for name, value in {**stated, **found}.items() if name in known}
    backbone = name_backbone(sizes)
    # The rate of drop path is in no tensor and no public key.
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
    """Return the sizes of a network, read from the shapes of its public tensors.

    Raises ValueError if a tensor is missing or has an impossible shape.
    """
    projection = "encoder.vit_backbone.patch_embed.proj.weight"
    dim, inputs, patch_size, other_side = _shape(tensors, projection, 4)
    if patch_size != other_side:
        raise ValueError(f"{projection} has patches of {patch_size} x {other_side}: not a square")
    agnostic = any(name.startswith("decoder.decoders.") for name in tensors)
    channels = _count(tensors, "decoder.modality_tokens.") if agnostic else inputs
    own = 1 if not agnostic else channels  # how often the decoder's position table is repeated
    first = "decoder.decoders.0" if agnostic else "decoder.blocks"
    decoder_dim = _shape(tensors, "encoder_decoder_proj.weight", 2)[0]
    decoder_positions = "decoder.pos_embeddings"
    rows = _shape(tensors, decoder_positions, 3)[1] - 1
    tokens = rows // own
    # Crops are square, so the table of positions must be, too.
    side = isqrt(tokens)
    if side < 1 or side * side * own != rows:
        raise ValueError(
            f"{decoder_positions} has {rows} rows, which is not a square for each of {own} channels"
        )
    # The encoder's table is repeated for the largest number of channels, not for those present.
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
    """Return the number of channels for which the encoder's position table is repeated.

    Without the key in the configuration: the number of the public checkpoint, but at least
    `channels`.
    """
    stated = look_up(config, _PUBLIC["max_channels"]) or look_up(config, _GOLDEN["max_channels"])
    return stated if isinstance(stated, int) and stated > 0 else max(_MAX_CHANNELS, channels)


def look_up(config: Any, key: str) -> Any:
    """Return the value of a key like `decoder.depth` in nested tables; None if it is missing."""
    value = config
    for word in key.split("."):
        value = value.get(word) if isinstance(value, Mapping) else None
    return value


def name_backbone(sizes: Mapping[str, Any]) -> str | None:
    """Return the public name of an encoder's size; None for a size without a public name."""
    names = ("embed_dim", "depth", "num_heads")
    for name, size in BACKBONES.items():
        if all(sizes[key] == getattr(size, key) for key in names):
            return name
    return None


def _stated(config: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a configuration by phenomae's names."""
    stated = {name: look_up(config, key) for name, key in keys.items()}
    stated = {name: value for name, value in stated.items() if value is not None}
    # The number of the decoder's heads is the only size that no tensor has in its shape.
    if "decoder_num_heads" not in stated:
        raise ValueError(f"it lacks {keys['decoder_num_heads']}")
    for name, kind in _KINDS.items():
        if name in stated and not isinstance(stated[name], kind):
            raise ValueError(f"{keys[name]} cannot be {stated[name]!r}")
    return stated


def _add_beside(blueprint: Blueprint, beside: Any) -> Blueprint:
    """Return a blueprint with the values of the table `phenomae` of a configuration."""
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
    """Return the shape of a tensor; raises ValueError unless it has `axes` non-empty axes."""
    if name not in tensors:
        raise ValueError(f"the weights lack {name}: they belong to another model")
    shape = tuple(tensors[name].shape)
    if len(shape) != axes or 0 in shape:
        raise ValueError(f"{name} has shape {shape}, but must have {axes} axes")
    return shape


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Return the number of different indices that follow a prefix in the names of tensors."""
    names = [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
    numbers = {name.partition(".")[0] for name in names}
    if not numbers:
        raise ValueError(f"the weights lack {prefix}0: they belong to another model")
    return len(numbers)
