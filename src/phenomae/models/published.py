"""The names that the public checkpoint gives its weights, and ours for the same."""

import re

from einops import rearrange
from torch import Tensor

from phenomae.models.settings import VitMaeModel

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
)
POSITIONS = ("encoder.positions", "decoder.positions")


def rename(public: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return public weights under our names and in our shapes.

    A convolution over patches becomes a linear layer over their pixels; tokens and position tables
    lose their leading axes of length 1.
    """
    ours = {}
    for name, tensor in public.items():
        ours[our_name(name)] = tensor
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


def read_golden_config(config: dict) -> tuple[VitMaeModel, int]:
    """Return the settings and the number of channels that a golden case's `config.json` tells."""
    settings = VitMaeModel(
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
    return settings, config["chans"]
