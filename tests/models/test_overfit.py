"""Networks of every family learn eight real crops by heart: nothing on the way to the loss is cut.

The crops are of BBBC013, two channels, 64 pixels.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

from phenomae.models.build import build
from phenomae.models.settings import (
    ChannelMaeModel,
    ClassifierModel,
    EnergyMaeModel,
    UnetMaeModel,
    VitClassifierModel,
    VitMaeModel,
)

STEPS = 300
VIT = {"crop_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 3, "num_heads": 3}
VIT |= {"drop_path": 0.0, "layer_scale": 1.0}
DECODER = {"decoder_embed_dim": 96, "decoder_depth": 2, "decoder_num_heads": 4}
SIZES = {
    "vit-mae": VitMaeModel(**VIT, **DECODER),
    "channel-mae": ChannelMaeModel(**VIT, **DECODER, cross_num_heads=4),
    "energy-mae": EnergyMaeModel(**VIT, **DECODER),
    "unet-mae": UnetMaeModel(crop_size=64, patch_size=8, widths=(16, 32, 64), depths=(1, 2, 3)),
    "classifier": ClassifierModel(
        crop_size=64, growth_rate=8, first_width=16, block_depths=(2, 2, 2), neck_dim=32
    ),
    "vit-classifier": VitClassifierModel(**VIT),
}


@pytest.fixture(scope="module")
def crops(shared: Path) -> Tensor:
    folder = shared / "data/images/bbbc013_cellprofiler_sbs96/images"
    wells = [sorted(folder.glob(f"Channel{number}-*.tif"))[::12] for number in (1, 2)]
    fields = [[tifffile.imread(path) for path in pair] for pair in zip(*wells, strict=True)]
    return torch.from_numpy(np.array(fields)[:, :, 288:352, 288:352])


def losses_of(family: str, network: torch.nn.Module, crops: Tensor) -> Callable[[], Tensor]:
    if family.endswith("classifier"):
        labels = torch.arange(8)
        return lambda: network(crops, labels).losses["loss"]
    patches = 64 * (2 if family == "channel-mae" else 1)
    noise = torch.rand(8, patches, generator=torch.Generator().manual_seed(0))
    return lambda: network(crops, noise, full=False).losses["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("family", SIZES)
def test_eight_real_crops_are_learned_by_heart(family: str, crops: Tensor):
    torch.manual_seed(0)
    classes = [f"crop {number}" for number in range(8)] if "classifier" in family else None
    network = build(family, SIZES[family], ["FKHR-GFP", "DNA"], classes).train()
    measure = losses_of(family, network, crops)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=STEPS)
    losses = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = measure()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10
