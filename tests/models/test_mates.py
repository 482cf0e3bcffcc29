"""A crop's vector is its own: what it is computed beside changes nothing, in any family.

What is compiled runs in a process of its own (this file, as a program), where no hook checks
shapes: torch.compile does not see through one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from phenomae.models.build import build
from phenomae.models.conv.adabn import reestimate
from phenomae.models.families import FAMILIES
from phenomae.models.network import Network
from phenomae.models.settings import (
    ChannelMaeModel,
    ClassifierModel,
    EnergyMaeModel,
    UnetMaeModel,
    VitClassifierModel,
    VitMaeModel,
)

VIT = {"embed_dim": 96, "depth": 2, "num_heads": 3, "layer_scale": 0.5}
MAE = {"decoder_embed_dim": 32, "decoder_depth": 1, "decoder_num_heads": 4}
DENSE = {"growth_rate": 8, "first_width": 8, "block_depths": (2, 1, 2), "neck_dim": 6}
NETWORKS = {
    "vit-mae": VitMaeModel(**{**VIT, "embed_dim": 384, "num_heads": 6}, **MAE),
    "channel-mae": ChannelMaeModel(**VIT, **MAE, cross_num_heads=4),
    "energy-mae": EnergyMaeModel(**VIT, **MAE),
    "unet-mae": UnetMaeModel(widths=(8, 16, 32), depths=(2, 1, 3)),
    "classifier": ClassifierModel(**DENSE),
    "classifier without standardising": ClassifierModel(**DENSE, standardise=False),
    "vit-classifier": VitClassifierModel(**VIT),
}
PLACES = (0, 17, 31)

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None,
    reason="needs a C++ compiler, as torch.compile does on a CPU",
)


def make(name: str) -> Network:
    torch.manual_seed(0)
    model = build(name.partition(" ")[0], NETWORKS[name], ["DNA", "ER", "AGP"], ["a", "b"])
    if name.startswith("classifier"):  # whose batch norms have to have seen something
        reestimate(model, [torch.rand(6, 3, 64, 64) ** 2])
    return model.eval()


def random_crops() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (32, 3, 256, 256), generator=generator, dtype=torch.uint8)


@torch.inference_mode()
@pytest.mark.parametrize("name", NETWORKS)
def test_mates_change_no_bit_of_a_vector(name: str):
    model, crops = make(name), random_crops()
    blocks = range(1, model.encoder.depth + 1)
    for pool in model.encoder.pools:
        together = [model.embed(crops, pool), *model.encoder.embed_blocks(crops, blocks, pool)]
        for part in (*[slice(place, place + 1) for place in PLACES], slice(5, 12)):
            few = crops[part]
            apart = [model.embed(few, pool), *model.encoder.embed_blocks(few, blocks, pool)]
            for ours, theirs in zip(apart, together, strict=True):
                assert torch.equal(ours, theirs[part]), pool


def embed_compiled(name: str, out: Path) -> None:
    """Write the vectors of all crops at once and of some alone, compiled, and those uncompiled."""
    model, crops = make(name), random_crops()
    embed = torch.compile(model.encoder.embed)
    with torch.inference_mode():
        together = embed(crops)
        alone = torch.cat([embed(crops[place : place + 1]) for place in PLACES])
        np.savez(out, together=together, alone=alone, uncompiled=model.embed(crops))


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_mates_hardly_change_a_compiled_vector(name: str, tmp_path: Path):
    out = tmp_path / "vectors.npz"
    subprocess.run([sys.executable, __file__, name, str(out)], check=True)
    found = dict(np.load(out))
    limit = 1e-5 * np.abs(found["uncompiled"]).max()
    assert np.abs(found["alone"] - found["together"][list(PLACES)]).max() < limit
    assert np.abs(found["together"] - found["uncompiled"]).max() < limit


def test_every_family_is_tried():
    assert {name.partition(" ")[0] for name in NETWORKS} == FAMILIES.keys()


if __name__ == "__main__":
    embed_compiled(sys.argv[1], Path(sys.argv[2]))
