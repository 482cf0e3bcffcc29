"""The networks of the papers by name, at crops of 256 pixels: family, size, settings."""

from dataclasses import asdict, replace
from typing import Any

from phenomae.models.settings import ChannelMaeModel, VitMaeModel, VitModel

_SMALL = VitModel()
_BASE = VitModel(embed_dim=768, num_heads=12)
_LARGE = VitModel(embed_dim=1024, depth=24, num_heads=16, drop_path=0.3)

VIT_SIZES: dict[str, VitModel] = {
    "S/16": _SMALL,
    "B/16": _BASE,
    "B/8": replace(_BASE, patch_size=8),
    "L/16": _LARGE,
    "L/8": replace(_LARGE, patch_size=8),
}

SIZES: dict[str, dict[str, Any]] = {
    "vit-mae": {name: VitMaeModel(**asdict(size)) for name, size in VIT_SIZES.items()},
    "channel-mae": {"S/16": ChannelMaeModel()},
}
