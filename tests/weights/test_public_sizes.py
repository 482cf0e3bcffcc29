"""What published weights tell: sizes off the tensors, agreement, one sentence for what is wrong."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from phenomae.models.network import Network, name_channels
from phenomae.models.settings import ChannelMaeModel, VitMaeModel
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.vit_mae import VitMae
from phenomae.weights.public_config import complete, write_config
from phenomae.weights.public_names import publish
from phenomae.weights.public_sizes import Blueprint, is_published, read_published

SIZES = {
    "crop_size": 24,
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 3,
    "num_heads": 2,
    "mlp_ratio": 2.5,
    "decoder_embed_dim": 16,
    "decoder_depth": 2,
    "decoder_num_heads": 4,
    "decoder_mlp_ratio": 3.0,
    "mask_ratio": 0.5,
    "fourier_weight": 0.01,
    "normalise_targets": True,
}
ROWS = 4
Tensors = dict[str, torch.Tensor]
AGNOSTIC = "encoder.channel_agnostic"


def build(agnostic: bool) -> Network:
    if agnostic:
        return ChannelMae(ChannelMaeModel(**SIZES), channels=3)
    return VitMae(VitMaeModel(**SIZES), channels=3)


def blueprint(model: Network) -> Blueprint:
    rows = ROWS if model.family == "channel-mae" else 3
    return Blueprint(model.family, model.settings, model.channels, rows)


@pytest.fixture(params=[True, False], ids=["channel-mae", "vit-mae"])
def model(request: pytest.FixtureRequest) -> Network:
    return build(request.param)


@pytest.fixture
def tensors(model: Network) -> Tensors:
    return publish(model, ROWS)


def with_value(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy of nested tables with one value set, or taken out where it is ..."""
    copy = json.loads(json.dumps(config))
    *words, last = key.split(".")
    table = copy
    for word in words:
        table = table[word]
    if value is ...:
        del table[last]
    else:
        table[last] = value
    return copy


def test_what_is_written_is_read(model: Network, tensors: Tensors):
    config = write_config(blueprint(model))
    assert is_published(config)
    assert read_published(json.loads(json.dumps(config)), tensors) == blueprint(model)
    assert complete(config, tensors, blueprint(model), {}) == config


def test_a_configuration_may_leave_every_size_to_the_weights(model: Network, tensors: Tensors):
    heads = SIZES["decoder_num_heads"]
    found = read_published({"architectures": [], "decoder": {"num_heads": heads}}, tensors)
    untold = ("mask_ratio", "fourier_weight", "normalise_targets")
    defaults = asdict(VitMaeModel())
    assert asdict(found.settings) == {
        **asdict(model.settings),
        **{name: defaults[name] for name in untold},
    }


def test_a_share_of_0_hidden_patches_becomes_the_default(model: Network, tensors: Tensors):
    config = write_config(blueprint(model))
    for value in (0, 0.0):
        found = read_published(with_value(config, "mask_ratio", value), tensors)
        assert found.settings.mask_ratio == 0.75


def test_the_public_sizes_have_their_names_and_their_drop_path():
    sizes = {"S": ("small", 384, 12, 6, 0.1), "L": ("large", 1024, 24, 16, 0.3)}
    for name, dim, depth, heads, drop_path in sizes.values():
        settings = VitMaeModel(
            embed_dim=dim,
            depth=depth,
            num_heads=heads,
            drop_path=drop_path,
            decoder_embed_dim=8,
            decoder_depth=1,
            decoder_num_heads=1,
        )
        with torch.device("meta"):
            model = VitMae(settings, channels=6)
        plan = Blueprint("vit-mae", settings, model.channels, 6)
        config = write_config(plan)
        inner = config["encoder"]["vit_backbone"]["vit_backbone"]
        assert inner["_target_"] == f"vit.vit_{name}_patch16_256"
        assert read_published(config, publish(model, 6)) == plan


def test_what_the_public_keys_cannot_tell_stands_beside_them(model: Network, tensors: Tensors):
    config = write_config(blueprint(model))
    other = {**asdict(model.settings), "layer_scale": 0.5, "drop_path": 0.0}
    plan = Blueprint(
        model.family,
        type(model.settings)(**other),
        ("DNA", "ER", "AGP"),
        blueprint(model).max_channels,
    )
    full = complete(config, tensors, plan, {"licence": "mine"})
    assert full["phenomae"] == {
        "licence": "mine",
        "model": {"layer_scale": 0.5, "drop_path": 0.0},
        "channels": ["DNA", "ER", "AGP"],
    }
    assert read_published(json.loads(json.dumps(full)), tensors) == plan
    assert complete(full, tensors, plan, {"licence": "mine"}) == full


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("decoder.num_heads", ..., "it lacks decoder.num_heads"),
        ("decoder", 3, "it lacks decoder.num_heads"),
        ("decoder.num_heads", "4", "decoder.num_heads cannot be '4'"),
        ("decoder.num_heads", 3, "must be a multiple of decoder_num_heads 3, not 16"),
        ("decoder.depth", 7, "decoder.depth is 7, but the weights have 2"),
        ("decoder.embed_dim", 32, "decoder.embed_dim is 32, but the weights have 16"),
        ("decoder.mlp_ratio", 4, "decoder.mlp_ratio is 4, but the weights have 3.0"),
        ("decoder.norm_layer.eps", 1e-3, "decoder.norm_layer.eps is 0.001, but the weights have"),
        ("mask_ratio", 1.5, "mask_ratio must be between 0 and 1 .*, not 1.5"),
        ("mask_ratio", "0.5", "mask_ratio cannot be '0.5'"),
        ("fourier_loss_weight", [], r"fourier_loss_weight cannot be \[\]"),
        ("norm_pix_loss", "no", "norm_pix_loss cannot be 'no'"),
        ("phenomae", {"model": 1}, "phenomae.model must be a table, not 1"),
        ("phenomae", {"model": {"a": 1}}, "'a' is not a setting of a"),
        ("phenomae", {"channels": ["DNA"]}, "phenomae.channels must name 3 channels"),
        ("phenomae", {"channels": "DNA"}, "phenomae.channels must name 3 channels"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    model: Network, tensors: Tensors, key: str, value: Any, sentence: str
):
    config = with_value(write_config(blueprint(model)), key, value)
    with pytest.raises(ValueError, match=sentence):
        read_published(config, tensors)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (AGNOSTIC, False, f"{AGNOSTIC} is False, but the weights have True"),
        ("encoder.max_in_chans", 11, "encoder.max_in_chans is 11, but the weights have 4"),
        ("decoder.num_modalities", 6, "decoder.num_modalities is 6, but the weights have 3"),
        ("decoder.tokens_per_modality", 256, "tokens_per_modality is 256, but the weights have 9"),
    ],
)
def test_what_channels_share_must_agree_too(key: str, value: Any, sentence: str):
    model = build(agnostic=True)
    config = with_value(write_config(blueprint(model)), key, value)
    with pytest.raises(ValueError, match=sentence):
        read_published(config, publish(model, ROWS))


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("encoder.vit_backbone.patch_embed.proj.weight", None, "lack .*patch_embed.proj.weight"),
        ("encoder.vit_backbone.patch_embed.proj.weight", (24, 64), r"shape \(24, 64\), but must"),
        (
            "encoder.vit_backbone.patch_embed.proj.weight",
            (24, 3, 8, 4),
            "has patches of 8 x 4: not a square",
        ),
        ("encoder.vit_backbone.blocks.0.q_norm.weight", (0,), r"shape \(0,\), but must have 1"),
        ("encoder.vit_backbone.blocks.0.mlp_bias", None, "lack .*mlp_bias: they belong to another"),
        ("encoder_decoder_proj.weight", (16,), "must have 2 axes"),
        ("decoder.pos_embeddings", (1, 24, 16), "has 23 rows, which is not a square for"),
        ("decoder.pos_embeddings", (1, 1, 16), "has 0 rows, which is not a square for"),
        ("decoder.pos_embeddings", None, "lack decoder.pos_embeddings"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    model: Network, tensors: Tensors, name: str, shape: tuple[int, ...] | None, sentence: str
):
    config = write_config(blueprint(model))
    del tensors[name]
    if shape is not None:
        tensors[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=sentence):
        read_published(config, tensors)


@pytest.mark.parametrize(
    "missing", ["decoder.modality_tokens.", "encoder.vit_backbone.blocks.", "decoder.decoders.0."]
)
def test_a_kind_of_tensor_that_is_missing_altogether_is_named(missing: str):
    model = build(agnostic=True)
    tensors = publish(model, ROWS)
    rest = {name: part for name, part in tensors.items() if not name.startswith(missing)}
    with pytest.raises(ValueError, match=f"the weights lack {missing}0.*: they belong to another"):
        read_published(write_config(blueprint(model)), rest)


def test_the_fixtures_say_the_same_as_is_written_of_them(shared: Path):
    """The public keys of the golden case, all of them, but for what it says of inference."""
    golden = json.loads((shared / "fixtures/published/safetensors/config.json").read_text())
    settings = ChannelMaeModel(
        embed_dim=48,
        depth=2,
        num_heads=3,
        decoder_embed_dim=32,
        decoder_depth=1,
        decoder_num_heads=8,
    )
    written = write_config(Blueprint("channel-mae", settings, name_channels(6), 11))
    golden["mask_ratio"] = 0.75
    # a size that no name of the public code stands for
    del golden["encoder"]["vit_backbone"]["vit_backbone"]["_target_"]
    assert written == golden
