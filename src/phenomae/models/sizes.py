"""Published sizes of networks for crops of 256 pixels; each table is the `SIZES` of a family."""

from dataclasses import asdict, replace

from phenomae.models.settings import (
    ChannelMaeModel,
    ClassifierModel,
    EnergyMaeModel,
    UnetMaeModel,
    VitClassifierModel,
    VitMaeModel,
    VitModel,
)

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
"""Encoder settings of the vision transformers, by size."""

VIT_MAE_SIZES = {name: VitMaeModel(**asdict(size)) for name, size in VIT_SIZES.items()}
ENERGY_MAE_SIZES = {
    name: EnergyMaeModel(**asdict(VIT_SIZES[name])) for name in ("S/16", "B/16", "L/16")
}
CHANNEL_MAE_SIZES = {"S/16": ChannelMaeModel()}
# The paper gives widths and numbers of parameters, not depths. The convolutions of every scale cost
# the same, so most are at the deepest scale, where they add the most parameters: 53.2 M and 137.9 M
# with 6 channels.
UNET_MAE_SIZES = {
    "M": UnetMaeModel(widths=(32, 64, 128, 256, 512), depths=(2, 2, 4, 8, 18)),
    "L": UnetMaeModel(widths=(32, 64, 128, 256, 512, 1024), depths=(2, 2, 4, 4, 8, 10)),
}
CLASSIFIER_SIZES = {"DenseNet-161": ClassifierModel()}
VIT_CLASSIFIER_SIZES = {
    name: VitClassifierModel(**asdict(VIT_SIZES[name])) for name in ("S/16", "B/16", "L/16")
}
