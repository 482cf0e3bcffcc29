"""What the networks cost: parameters of the papers, and FLOPs as torch counts them."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from phenomae import cli
from phenomae.models.build import build, find_network
from phenomae.models.cost.catalogue import describe, list_models
from phenomae.models.families import FAMILIES
from phenomae.models.masking import MaskedNetwork
from phenomae.models.network import Network, name_channels

SIZES = {family: find_network(family).SIZES for family in FAMILIES}
NETWORKS = [(family, size) for family, sizes in SIZES.items() for size in sizes]
CHANGED: list[tuple[str, str, dict[str, Any]]] = [
    ("vit-mae", "S/16", {"mask_ratio": 0.25, "crop_size": 128}),
    ("vit-mae", "S/16", {"fourier_weight": 0.01}),
    ("channel-mae", "S/16", {"crop_size": 96, "mask_ratio": 0.5}),
    ("energy-mae", "S/16", {"patch_size": 8, "mask_ratio": 0.5}),
    ("energy-mae", "S/16", {"decoder_attention": "cross", "decoder_depth": 2}),
    ("vit-mae", "S/16", {"decoder_attention": "cross", "fourier_weight": 0.01}),
    ("unet-mae", "M", {"crop_size": 128, "fourier_weight": 0.01}),
    ("classifier", "DenseNet-161", {"crop_size": 128, "standardise": False}),
]


def on_meta(family: str, settings: Any, channels: int = 6) -> Network:
    classes = [str(number) for number in range(50)] if "classifier" in family else None
    with torch.device("meta"):
        return build(family, settings, name_channels(channels), classes)


def count_by_torch(model: Network, training: bool) -> int:
    """Count with attention as explicit products; the fused one of a CPU would count as 0."""
    size, channels = model.settings.crop_size, len(model.channels)
    pixels = torch.empty(2, channels, size, size, device="meta")
    model.train(training)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        if not training:
            model.encoder.embed(pixels)
        elif isinstance(model, MaskedNetwork):
            noise = torch.empty(2, model.count_patches(pixels), device="meta")
            model(pixels, noise, full=False).losses["loss"].backward()
        else:
            labels = torch.zeros(2, dtype=torch.int64, device="meta")
            model(pixels, labels).losses["loss"].backward()
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("family", "size", "change"),
    [*[(family, size, {}) for family, size in NETWORKS if size[0] != "L"], *CHANGED],
)
def test_flops_are_those_that_torch_counts(family: str, size: str, change: dict):
    model = on_meta(family, replace(SIZES[family][size], **change), channels=5)
    training, embedding = count_by_torch(model, True), count_by_torch(model, False)
    assert model.training_flops() == pytest.approx(training, rel=0.005)
    assert model.eval().embedding_flops() == pytest.approx(embedding, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "size"), [item for item in NETWORKS if item[1][0] == "L"])
def test_flops_of_large_networks_are_those_that_torch_counts(family: str, size: str):
    test_flops_are_those_that_torch_counts(family, size, {})


@pytest.mark.parametrize(
    ("size", "encoder", "embedding"),
    [
        ("S/16", 21_968_256, 384),
        ("B/16", 86_400_768, 768),
        ("B/8", 86_105_856, 768),
        ("L/16", 304_057_344, 1024),
        ("L/8", 303_664_128, 1024),
    ],
)
def test_encoders_have_the_papers_parameters(size: str, encoder: int, embedding: int):
    entry = describe("vit-mae", size, SIZES["vit-mae"][size], channels=6)
    assert entry.encoder_parameters == encoder
    assert entry.embedding == embedding
    side = 256 // int(size.split("/")[1])
    assert entry.tokens == 1 + side * side


def test_the_decoder_has_the_papers_parameters():
    decoder = on_meta("vit-mae", SIZES["vit-mae"]["S/16"]).decoder
    blocks = sum(part.numel() for part in decoder.blocks.parameters())
    rest = [decoder.mask_token, *decoder.norm.parameters()]
    assert blocks == 25_219_072
    assert blocks + sum(part.numel() for part in rest) == 25_220_608


def test_the_channel_agnostic_network_has_about_176_million_parameters():
    """With the position tables, which the public file holds for 11 channels and for 6."""
    entry = describe("channel-mae", "S/16", SIZES["channel-mae"]["S/16"], channels=6)
    tables = (1 + 11 * 256) * 384 + (1 + 6 * 256) * 512 - 257 * 384
    whole = entry.encoder_parameters + entry.decoder_parameters + tables
    assert math.isclose(whole, 176e6, rel_tol=0.02)


def test_the_table_lists_every_network(capsys: pytest.CaptureFixture[str]):
    assert cli.run(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[1 : 1 + len(NETWORKS)]]
    assert [(row[0], row[1]) for row in rows] == NETWORKS
    assert rows[0][2:] == ["21,968,256", "26,205,696", "384", "257", "50.7", "12.4"]
    assert max(map(len, lines)) <= 100


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]):
    list_models(json=True)
    entries = json.loads(capsys.readouterr().out)
    assert [(entry["family"], entry["size"]) for entry in entries] == NETWORKS
    assert entries[0]["encoder_parameters"] == 21_968_256
    assert entries[0]["training_gflops"] == pytest.approx(50.678, abs=0.001)


def test_no_channels_are_refused(capsys: pytest.CaptureFixture[str]):
    assert cli.run(["models", "--channels", "0"]) == 1
    assert "channels must be at least 1, not 0" in capsys.readouterr().err
