"""A network started from another gives what that one gives, channels and classes by their names."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from phenomae.models.build import build
from phenomae.models.classifier import ClassifyingNetwork
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
from phenomae.weights.io import load, save
from phenomae.weights.warm_start import start_from

VIT = {
    "crop_size": 16,
    "patch_size": 4,
    "embed_dim": 8,
    "depth": 2,
    "num_heads": 2,
    "layer_scale": 0.5,
}
MAE = {"decoder_embed_dim": 16, "decoder_depth": 2, "decoder_num_heads": 2}
SETTINGS = {
    "vit-mae": VitMaeModel(**VIT, **MAE),
    "channel-mae": ChannelMaeModel(**VIT, **MAE, cross_num_heads=2),
    "energy-mae": EnergyMaeModel(**VIT, **MAE),
    "unet-mae": UnetMaeModel(crop_size=16, patch_size=4, widths=(8, 16), depths=(1, 2)),
    "classifier": ClassifierModel(
        crop_size=16, growth_rate=4, first_width=8, block_depths=(1, 2), neck_dim=6
    ),
    "vit-classifier": VitClassifierModel(**VIT),
}
CHANNELS = ("DNA", "ER", "AGP")
CLASSES = ("none", "TP53", "MYC")
EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)
EACH_OF_ITS_CHANNELS = pytest.mark.parametrize(
    "family", ["vit-mae", "energy-mae", "unet-mae", "classifier", "vit-classifier"]
)


def make(
    family: str,
    channels: Sequence[str] = CHANNELS,
    classes: Sequence[str] = CLASSES,
    seed: int = 1,
    **changes: Any,
) -> Network:
    """Build a network that has not been trained."""
    torch.manual_seed(seed)
    return build(family, replace(SETTINGS[family], **changes), channels, classes)


def train(network: Network) -> Network:
    """Move every number off what it is first drawn as, as a training does."""
    torch.manual_seed(7)
    for tensor in network.state_dict().values():
        tensor.add_(torch.rand_like(tensor) / 4 if tensor.is_floating_point() else 3)
    return network.eval()


def put(tmp_path: Path, network: Network) -> Path:
    save(tmp_path / "source", network, {})
    return tmp_path / "source"


@pytest.fixture
def source(tmp_path: Path, family: str) -> Path:
    """The weights of a trained network of `CHANNELS` and `CLASSES`."""
    return put(tmp_path, train(make(family, seed=0)))


def crops(channels: int, side: int = 16) -> Tensor:
    return torch.rand(3, channels, side, side, generator=torch.Generator().manual_seed(5))


def pick(pixels: Tensor, there: Sequence[str], here: Sequence[str]) -> Tensor:
    """Return crops of the channels `there` as crops of the channels `here`."""
    return pixels[:, [there.index(name) for name in here]]


def require_close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def require_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def tensors_of(network: Network) -> dict[str, Tensor]:
    """Return copies of all tensors, those that no file holds among them."""
    found = {**network.state_dict(), **dict(network.named_buffers())}
    return {name: tensor.clone() for name, tensor in found.items()}


def last_layers(family: str) -> list[str]:
    """Return the line about layers that fit only the very same channels."""
    told = "last layers of the decoder newly initialised: they fit only all channels"
    return [told] if family == "energy-mae" else []


@EACH_FAMILY
def test_the_same_network_has_the_same_bits(source: Path, family: str):
    model = make(family).train()
    learned = {name: part.requires_grad for name, part in model.named_parameters()}
    (told,) = start_from(model, source)
    require_same(tensors_of(model), tensors_of(load(source)))
    assert model.training
    assert {name: part.requires_grad for name, part in model.named_parameters()} == learned
    part = "head" if isinstance(model, ClassifyingNetwork) else "decoder"
    assert told == f"{source}, {family}: encoder and {part} copied"


@EACH_FAMILY
@torch.no_grad()
def test_channels_in_another_order_give_the_same_features(source: Path, family: str):
    order = ("AGP", "DNA", "ER")
    model = make(family, order).eval()
    told = start_from(model, source)
    pixels = crops(3)
    vectors = model.embed(pick(pixels, CHANNELS, order))
    require_close(vectors, load(source).embed(pixels))
    assert told[1:] == ["channels copied by name: AGP, DNA, ER", *last_layers(family)]


@EACH_OF_ITS_CHANNELS
@torch.no_grad()
def test_an_added_channel_changes_nothing_at_first_and_learns_at_once(source: Path, family: str):
    names = ("BF", "DNA", "ER", "Mito", "AGP")
    model = make(family, names).eval()
    told = start_from(model, source)
    pixels = crops(5)
    expected = load(source).features(pick(pixels, names, CHANNELS))
    require_close(model.features(pixels), expected)
    decoder = "; decoder weights newly initialised" if family in ("vit-mae", "unet-mae") else ""
    assert told[1:] == [
        "channels copied by name: DNA, ER, AGP",
        f"new channels: BF, Mito: encoder weights 0{decoder}",
        *last_layers(family),
    ]
    with torch.enable_grad():
        model.features(pixels).square().sum().backward()
    gradient = first_layer(model, grad=True)
    assert all(gradient[:, place].abs().max() > 0 for place in range(5))


@EACH_OF_ITS_CHANNELS
@torch.no_grad()
def test_new_channels_share_evenly_the_weights_of_those_that_are_gone(source: Path, family: str):
    names = ("BF", "ER", "Mito", "RNA")
    model = make(family, names)
    told = start_from(model, source)
    trained, found = first_layer(load(source)), first_layer(model)
    assert torch.equal(found[:, 1], trained[:, 1])
    for place in (0, 2, 3):
        torch.testing.assert_close(found[:, place], (trained[:, 0] + trained[:, 2]) / 3)
    decoder = "; decoder weights newly initialised" if family in ("vit-mae", "unet-mae") else ""
    assert told[1:] == [
        "channels copied by name: ER",
        "channels dropped: DNA, AGP",
        f"new channels: BF, Mito, RNA: encoder weights those of DNA, AGP, shared equally{decoder}",
        *last_layers(family),
    ]


def first_layer(model: Network, grad: bool = False) -> Tensor:
    """Return the weights that read pixels, (out, channel, row, column), or their gradients.

    A transformer's are one row of numbers, one for each pixel by row, column, channel.
    """
    if model.family in ("vit-mae", "energy-mae", "vit-classifier"):
        layer = model.encoder.patch_embed
    else:
        layer = next(part for part in model.modules() if isinstance(part, torch.nn.Conv2d))
    weight = layer.weight.grad if grad else layer.weight.detach()
    if weight.ndim == 4:
        return weight
    channels, side = len(model.channels), 4
    assert weight.shape == (8, side * side * channels)
    found = torch.zeros(8, channels, side, side)
    for channel, row, column in np.ndindex(channels, side, side):
        found[:, channel, row, column] = weight[:, (row * side + column) * channels + channel]
    return found


@pytest.mark.parametrize("family", ["vit-mae", "vit-classifier", "unet-mae"])
@torch.no_grad()
def test_new_channels_that_show_what_those_gone_showed_give_the_same_features(
    source: Path, family: str
):
    model = make(family, ("BF", "ER", "Mito", "RNA")).eval()
    start_from(model, source)
    first, second = crops(2).split(1, dim=1)
    found = model.features(torch.cat([first, second, first, first], dim=1))
    require_close(found, load(source).features(torch.cat([first, second, first], dim=1)))


@EACH_OF_ITS_CHANNELS
@torch.no_grad()
def test_a_channel_under_another_name_is_read_as_before(source: Path, family: str):
    model = make(family, ("DNA", "Concanavalin", "AGP")).eval()
    start_from(model, source)
    old, new = load(source), first_layer(model)
    assert torch.equal(new, first_layer(old))
    if family != "classifier":  # whose statistics of the new name are as drawn
        assert torch.equal(model.features(crops(3)), old.features(crops(3)))


@pytest.mark.parametrize("family", ["vit-mae", "vit-classifier", "unet-mae"])
@torch.no_grad()
def test_a_channel_left_out_is_as_if_it_were_flat(source: Path, family: str):
    model = make(family, ("AGP", "DNA")).eval()
    told = start_from(model, source)
    pixels = crops(3)
    pixels[:, 1] = 0.25
    require_close(
        model.features(pick(pixels, CHANNELS, ("AGP", "DNA"))), load(source).features(pixels)
    )
    assert told[1:] == ["channels copied by name: AGP, DNA", "channels dropped: ER"]


@torch.no_grad()
def test_statistics_of_channels_go_by_name(tmp_path: Path):
    old = train(make("classifier", seed=0))
    model = make("classifier", ("AGP", "BF", "DNA"))
    start_from(model, put(tmp_path, old))
    for name, drawn in (("running_mean", 0), ("running_var", 1)):
        statistics, trained = (getattr(net.encoder.input_norm, name) for net in (model, old))
        assert statistics.tolist() == [trained[2], drawn, trained[0]]


@pytest.mark.parametrize("family", ["vit-mae", "unet-mae"])
@torch.no_grad()
def test_reconstructions_go_by_name(source: Path, family: str):
    order = ("AGP", "BF", "DNA", "ER")
    model = make(family, order).eval()
    drawn = tensors_of(model)
    start_from(model, source)
    pixels, noise = crops(4), torch.rand(3, 16)
    pictures = rebuild(model, pixels, noise)
    old = rebuild(load(source), pick(pixels, order, CHANNELS), noise)
    for name in CHANNELS:
        require_close(pictures[:, order.index(name)], old[:, CHANNELS.index(name)])
    assert drawn["decoder.pred.weight"].abs().max() == 0  # first guess of a new channel: its mean
    assert pictures[:, 1].abs().max() == 0


def rebuild(model: Network, pixels: Tensor, noise: Tensor, **names: Any) -> Tensor:
    """Return the pictures, (b, c, h, w), that a masked pass gives."""
    return model.unpatch(model(pixels, noise, **names).reconstruction, (4, 4))


@pytest.mark.parametrize("family", ["channel-mae"])
@torch.no_grad()
def test_channels_of_an_agnostic_decoder_go_by_name(source: Path, family: str):
    order = ("BF", "AGP", "ER")
    model = make(family, order).eval()
    drawn = tensors_of(model)
    told = start_from(model, source)
    pixels, noise = crops(2), torch.rand(3, 2 * 16)
    pictures = rebuild(model, pixels, noise, channels=["AGP", "ER"])
    require_close(pictures, rebuild(load(source), pixels, noise, channels=["AGP", "ER"]))
    stacks = [name for name in drawn if re.match(r"decoder\.(blocks|channel_tokens)", name)]
    assert len(stacks) == 2 * 12 + 1
    for name in stacks:
        assert torch.equal(model.state_dict()[name][0], drawn[name][0])
    assert told[1:] == [
        "channels copied by name: AGP, ER",
        "channels dropped: DNA",
        "new channels: BF: decoder weights newly initialised",
    ]


@pytest.mark.parametrize("family", ["vit-mae", "channel-mae", "vit-classifier", "unet-mae"])
@torch.no_grad()
def test_another_crop_size_gives_what_the_source_gives_at_that_size(source: Path, family: str):
    model = make(family, crop_size=32).eval()
    told = start_from(model, source)
    pixels = crops(3, side=32)
    old = load(source)
    require_close(model.features(pixels), old.features(pixels))
    positions = ["positions recomputed: crops have 32 pixels, not 16"]
    assert told[1:] == ([] if family == "unet-mae" else positions)
    if family != "vit-classifier":
        noise = torch.rand(3, model.count_patches(pixels))
        require_close(*(net(pixels, noise).reconstruction for net in (model, old)))


@pytest.mark.parametrize("family", ["classifier", "vit-classifier"])
@torch.no_grad()
def test_classes_go_by_name(source: Path, family: str):
    classes = ("MYC", "KRAS", "none", "EGFR")
    model = make(family, classes=classes).eval()
    drawn = tensors_of(model)
    told = start_from(model, source)
    labels = torch.zeros(3, dtype=torch.int64)
    logits, old = (net(crops(3), labels).logits for net in (model, load(source)))
    require_close(logits[:, [0, 2]], old[:, [2, 0]])
    for name in ("head.weight", "head.bias"):
        assert torch.equal(model.state_dict()[name][[1, 3]], drawn[name][[1, 3]])
    assert told[1:] == ["classes copied by name: 2 of 4; new: 2"]


@pytest.mark.parametrize(
    ("family", "other", "told"),
    [
        ("vit-mae", "vit-classifier", "head and the norm before it newly initialised"),
        ("vit-classifier", "vit-mae", "decoder newly initialised"),
        ("vit-mae", "energy-mae", "decoder newly initialised"),
        ("energy-mae", "vit-mae", "decoder newly initialised"),
    ],
)
@torch.no_grad()
def test_another_family_takes_the_encoder_and_keeps_the_rest(
    source: Path, family: str, other: str, told: str
):
    names = ("AGP", "BF", "DNA", "ER")
    # The decoder is not copied, so that it may have other sizes.
    decoder = {"decoder_embed_dim": 24, "decoder_depth": 1} if other.endswith("mae") else {}
    model = make(other, names, crop_size=32, **decoder).eval()
    drawn = tensors_of(model)
    assert start_from(model, source) == [
        f"{source}, {family}: encoder copied, {told}",
        "positions recomputed: crops have 32 pixels, not 16",
        "channels copied by name: AGP, DNA, ER",
        "new channels: BF: encoder weights 0",
    ]
    pixels = crops(4, side=32)
    require_close(model.features(pixels), load(source).features(pick(pixels, names, CHANNELS)))
    kept = [name for name in drawn if re.match(r"decoder|head|encoder\.fc_norm", name)]
    require_same(*({name: part[name] for name in kept} for part in (tensors_of(model), drawn)))


@pytest.mark.parametrize("name", ["published/safetensors", "published/archive", "camae"])
@torch.no_grad()
def test_published_channel_agnostic_weights_give_the_golden_vectors(
    golden_case: Callable[[str], Path], name: str
):
    folder = golden_case(name)
    case = np.load((folder.parent if "published" in name else folder) / "case.npz")
    old = load(folder)
    settings = replace(old.settings, crop_size=2 * old.settings.patch_size, mask_ratio=0.5)
    names = ("BF", "channel 3", "channel 1")
    model = build("channel-mae", settings, names).eval()
    drawn = tensors_of(model)
    told = start_from(model, folder)
    found = model.embed(torch.from_numpy(case["pixels"]))
    require_close(found, torch.from_numpy(case["embedding"]))
    tokens, trained = (net.decoder.channel_tokens for net in (model, old))
    expected = [drawn["decoder.channel_tokens"][0], trained[2], trained[0]]
    assert torch.equal(tokens, torch.stack(expected))
    assert "channels copied by name: channel 3, channel 1" in told


@pytest.mark.parametrize("family", ["vit-mae", "vit-classifier"])
@torch.no_grad()
def test_published_weights_of_a_transformer_give_the_golden_features(
    golden_case: Callable[[str], Path], family: str
):
    folder = golden_case("mae")
    case = {name: torch.from_numpy(part) for name, part in np.load(folder / "case.npz").items()}
    old = load(folder).settings
    sizes = {"embed_dim": old.embed_dim, "depth": old.depth, "num_heads": old.num_heads}
    settings = VitClassifierModel(**sizes) if family == "vit-classifier" else old
    order = [4, 0, 5, 1, 3, 2]
    names = ["new", *(f"channel {place + 1}" for place in order)]
    model = build(family, settings, names, CLASSES).eval()
    start_from(model, folder)
    pixels = torch.cat([case["pixels"][:, :1], case["pixels"][:, order]], dim=1)
    require_close(model.features(pixels), case["features"])
    require_close(model.embed(pixels), case["embedding"])


@torch.no_grad()
def test_published_weights_have_the_same_bits_with_their_own_tables(shared: Path):
    folder = shared / "fixtures/published/safetensors"
    old = load(folder)
    model = build("channel-mae", old.settings, old.channels)
    model.encoder.positions.zero_()
    start_from(model, folder)
    require_same(tensors_of(model), tensors_of(old))


FITS = {
    "vit-mae": "vit-mae or energy-mae or vit-classifier",
    "energy-mae": "vit-mae or energy-mae or vit-classifier",
    "channel-mae": "channel-mae",
    "unet-mae": "unet-mae",
    "classifier": "classifier",
    "vit-classifier": "vit-mae or energy-mae or vit-classifier",
}


@EACH_FAMILY
def test_a_family_of_another_encoder_is_refused(source: Path, family: str):
    others = [name for name in FAMILIES if family not in FITS[name].split(" or ")]
    assert len(others) == (5 if FITS[family] == family else 3)
    for other in others:
        sentence = (
            f"{source} is of family {family}, whose encoder a {other} model does not have: start "
            f"it from weights of {FITS[other]}"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            start_from(make(other), source)


@pytest.mark.parametrize(
    ("family", "changes", "told"),
    [
        ("vit-mae", {"embed_dim": 16}, ("embed_dim", "8", "16")),
        ("vit-mae", {"depth": 3}, ("depth", "2", "3")),
        ("vit-mae", {"patch_size": 8}, ("patch_size", "4", "8")),
        ("vit-mae", {"num_heads": 1}, ("num_heads", "2", "1")),
        ("vit-mae", {"mlp_ratio": 2.0}, ("mlp_ratio", "4.0", "2.0")),
        ("vit-mae", {"decoder_num_heads": 4}, ("decoder_num_heads", "2", "4")),
        ("vit-mae", {"decoder_depth": 1}, ("decoder_depth", "2", "1")),
        ("channel-mae", {"cross_num_heads": 4}, ("cross_num_heads", "2", "4")),
        ("vit-classifier", {"depth": 1}, ("depth", "2", "1")),
        ("unet-mae", {"widths": (8, 24)}, ("widths", "(8, 16)", "(8, 24)")),
        ("unet-mae", {"depths": (2, 2)}, ("depths", "(1, 2)", "(2, 2)")),
        ("classifier", {"block_depths": (1, 1)}, ("block_depths", "(1, 2)", "(1, 1)")),
        ("classifier", {"standardise": False}, ("standardise", "True", "False")),
    ],
)
def test_other_sizes_are_refused_and_the_model_stays_as_it_was(
    source: Path, family: str, changes: dict, told: tuple[str, str, str]
):
    model = make(family, **changes)
    drawn = tensors_of(model)
    name, theirs, ours = told
    sentence = (
        f"{source} has {name} {theirs}, but the model to start from it has {name} {ours}: both "
        "must have the same"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        start_from(model, source)
    require_same(tensors_of(model), drawn)


@pytest.mark.parametrize("family", ["vit-mae"])
def test_sizes_of_an_encoder_must_agree_in_another_family_too(source: Path, family: str):
    with pytest.raises(ValueError, match=r"has embed_dim 8, but the model .* has embed_dim 16"):
        start_from(make("vit-classifier", embed_dim=16), source)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("vit-mae", {"layer_scale": 0.1, "drop_path": 0.0, "mask_ratio": 0.5}),
        ("vit-mae", {"fourier_weight": 0.01, "normalise_targets": True}),
        ("vit-mae", {"mlp_ratio": 4.01, "decoder_mlp_ratio": 4.001}),  # 32 and 64 wide as well
        ("unet-mae", {"patch_size": 8}),
        ("classifier", {"crop_size": 64}),
    ],
)
def test_what_weights_do_not_hang_on_may_differ(source: Path, family: str, changes: dict):
    model = make(family, **changes)
    assert len(start_from(model, source)) == 1
    require_same(dict(model.state_dict()), dict(load(source).state_dict()))


@pytest.mark.parametrize("family", ["vit-mae"])
def test_damaged_weights_are_told_as_load_tells_them(source: Path, family: str, tmp_path: Path):
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"model.safetensors has changed since phenomae wrote it"):
        start_from(make(family), source)
    with pytest.raises(ValueError, match=r"nowhere has no weights: .* is missing"):
        start_from(make(family), tmp_path / "nowhere")
