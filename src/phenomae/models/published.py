"""The names that the public checkpoint gives its weights, and ours for the same."""

import re

import torch
from einops import rearrange
from torch import Tensor

from phenomae.models.network import name_channels
from phenomae.models.settings import ChannelMaeModel, VitMaeModel

# Public name (a pattern), our name. First match counts.
NAMES: tuple[tuple[str, str], ...] = (
    (r"encoder\.vit_backbone\.blocks\.(\d+)\.ls\.gamma", r"encoder.blocks.\1.layer_scale"),
    (r"encoder\.vit_backbone\.patch_embed\.proj\.(\w+)", r"encoder.patch_embed.\1"),
    (r"encoder\.vit_backbone\.pos_embed", "encoder.positions"),
    (r"encoder\.vit_backbone\.(.+)", r"encoder.\1"),
    (r"encoder_decoder_proj\.(\w+)", r"decoder.embed.\1"),
    (r"decoder_pred\.(\w+)", r"decoder.pred.\1"),
    (r"decoder\.pos_embeddings", "decoder.positions"),
    (r"decoder\.blocks\.(\d+)\.(?:attn|mlp)\.(.+)", r"decoder.blocks.\1.\2"),
    (r"decoder\.mlp\.(.+)", r"decoder.\1"),
)
POSITIONS = ("encoder.positions", "decoder.positions")
# Weights of a channel's own blocks: channel, block, name. Ours are one stack of all channels.
_OF_CHANNEL = re.compile(r"decoder\.decoders\.(\d+)\.(\d+)\.(?:attn\.|mlp\.)?(.+)")
_CHANNEL_TOKEN = re.compile(r"decoder\.modality_tokens\.(\d+)")
_UNUSED = "decoder.placeholder"  # a row of zeros that stood for the class token


def rename(public: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return public weights under our names and in our shapes.

    A convolution over patches becomes a linear layer over their pixels; tokens and position tables
    lose their leading axes of length 1; what every channel has of its own becomes one stack.
    """
    ours: dict[str, Tensor] = {}
    stacks: dict[str, dict[int, Tensor]] = {}
    for name, tensor in public.items():
        if match := _OF_CHANNEL.fullmatch(name):
            part = tensor.T if tensor.ndim == 2 else tensor
            stacks.setdefault(f"decoder.blocks.{match[2]}.{match[3]}", {})[int(match[1])] = part
        elif match := _CHANNEL_TOKEN.fullmatch(name):
            stacks.setdefault("decoder.channel_tokens", {})[int(match[1])] = tensor.flatten()
        elif name != _UNUSED:
            ours[our_name(name)] = tensor
    for name, parts in stacks.items():
        ours[name] = torch.stack([parts[index] for index in sorted(parts)])
    for name in ("encoder.cls_token", "decoder.mask_token"):
        if name in ours:
            ours[name] = ours[name].flatten()
    for name in POSITIONS:
        if name in ours:
            ours[name] = ours[name].flatten(0, -2)
    weight = ours.get("encoder.patch_embed.weight")
    if weight is not None and weight.ndim == 4:
        ours["encoder.patch_embed.weight"] = rearrange(weight, "d c i j -> d (i j c)")
    return ours


def our_name(public: str) -> str:
    """Return our name of a public weight; a name that is not in the table stays."""
    for pattern, name in NAMES:
        if re.fullmatch(pattern, public):
            return re.sub(pattern, name, public)
    return public


def read_golden_config(
    config: dict,
) -> tuple[str, VitMaeModel | ChannelMaeModel, tuple[str, ...]]:
    """Return family, settings and channels that a golden case's `config.json` tells."""
    family, kind = ("channel-mae", ChannelMaeModel) if config["ca"] else ("vit-mae", VitMaeModel)
    settings = kind(
        crop_size=config["img"],
        patch_size=config["patch"],
        embed_dim=config["dim"],
        depth=config["depth"],
        num_heads=config["heads"],
        decoder_embed_dim=config["ddim"],
        decoder_depth=config["ddepth"],
        decoder_num_heads=config["dheads"],
        mask_ratio=config["mask_ratio"],
    )
    return family, settings, name_channels(config["chans"])
