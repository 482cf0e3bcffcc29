"""Weights come back as they were saved; anything else is one clear sentence."""

import json
import pickle
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file, save_file

from phenomae.models.build import build
from phenomae.models.settings import ClassifierModel, UnetMaeModel, VitMaeModel
from phenomae.models.vit.vit_mae import VitMae
from phenomae.signatures import Origin, sign
from phenomae.weights.io import identify, load, read_config, save
from phenomae.weights.public_names import publish

TINY = VitMaeModel(
    crop_size=16,
    patch_size=4,
    embed_dim=8,
    depth=2,
    num_heads=2,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_num_heads=2,
)
SETTINGS = {
    "vit-mae": TINY,
    "unet-mae": UnetMaeModel(crop_size=16, patch_size=4, widths=(8, 16), depths=(1, 1)),
    "classifier": ClassifierModel(
        crop_size=16, growth_rate=4, first_width=8, block_depths=(1, 1), neck_dim=6
    ),
}
CONFIG = {"pixel_size_um": 0.65, "identity": "0123"}


@pytest.fixture
def model() -> VitMae:
    torch.manual_seed(0)
    return VitMae(TINY, channels=["DNA", "ER"])


@pytest.fixture
def folder(tmp_path: Path, model: VitMae) -> Path:
    save(tmp_path / "run/weights", model, CONFIG)
    return tmp_path / "run/weights"


def test_weights_come_back_from_the_run_and_from_their_folder(folder: Path, model: VitMae):
    for place in (folder, folder.parent, str(folder.parent)):
        found = load(place)
        assert found.settings == TINY
        assert not found.training
        for name, tensor in model.state_dict().items():
            assert torch.equal(found.state_dict()[name], tensor)
    assert read_config(folder.parent)["channels"] == ["DNA", "ER"]
    assert read_config(folder.parent)["family"] == "vit-mae"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_the_same_weights_give_the_same_bytes(folder: Path, tmp_path: Path, model: VitMae):
    save(tmp_path / "again", model, CONFIG)
    for name in ("config.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_saving_again_replaces(folder: Path, model: VitMae):
    torch.nn.init.ones_(model.encoder.cls_token)
    save(folder, model, CONFIG)
    assert load(folder).encoder.cls_token.sum() == TINY.embed_dim


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_missing_files_are_named(folder: Path, missing: str):
    (folder / missing).unlink()
    with pytest.raises(ValueError, match=rf"has no weights: .*{missing} is missing"):
        load(folder.parent)


@pytest.mark.parametrize("length", [4, 200, -10])
def test_a_truncated_file_is_refused(folder: Path, length: int):
    change_config(folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"model.safetensors is cut short or is not a safetensors"):
        load(folder)


@pytest.mark.parametrize("place", ["run/weights", "run"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_changed_byte_is_refused(folder: Path, tmp_path: Path, place: str, name: str):
    content = bytearray((folder / name).read_bytes())
    where = content.rindex(b"ER") if name == "config.json" else len(content) - 3
    content[where] ^= 1  # another name of a channel, another weight
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.* (has changed since|was edited: it does not)"):
        load(tmp_path / place)


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("dump", [pickle.dumps, None], ids=["pickle", "torch.save"])
def test_a_pickle_is_refused_and_not_run(folder: Path, tmp_path: Path, dump):
    change_config(folder)
    trap, path = Hostile(tmp_path / "ran"), folder / "model.safetensors"
    torch.save(trap, path) if dump is None else path.write_bytes(dump(trap))
    sentence = "only tensors are read" if dump is None else "is not a safetensors file"
    with pytest.raises(ValueError, match=sentence):
        load(folder)
    assert not (tmp_path / "ran").exists()


def change_config(folder: Path, **changes) -> None:
    """Change config.json and remove its checksums, as in weights that other software wrote."""
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    kept = {key: value for key, value in config.items() if key not in ("sha256", "checksum")}
    (folder / "config.json").write_text(json.dumps(kept))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"family": "resnet"}, "family 'resnet': families are vit-mae, channel-mae"),
        ({"model": None}, "should have a table model and a list channels"),
        ({"channels": 3}, "should have a table model and a list channels"),
        ({"model": {"embed_dims": 8}}, "'embed_dims' is not a setting of a vit-mae model"),
        ({"channels": ["DNA"]}, "shape"),
        ({"chans": 2, "ca": False}, "do not describe a model: it lacks dheads"),
        ({"architectures": []}, "do not describe a model: it lacks decoder.num_heads"),
        (
            {"chans": 2, "dheads": 2},
            "lack encoder.vit_backbone.patch_embed.proj.weight: they belong",
        ),
        (
            {"model": {"embed_dim": 2**31 - 8, "mlp_ratio": 2e9, "num_heads": 1}},
            "config.json is damaged: the network it describes is too large",
        ),
        ({"model": {**asdict(TINY), "embed_dim": 2 * 10**6}}, "but config.json describes"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, changes: dict, sentence: str):
    change_config(folder, **changes)
    with pytest.raises(ValueError, match=sentence):
        load(folder)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("family", ["vit-mae"], r"describes a model of family \['vit-mae'\]: families are"),
        ("family", None, "describes a model of family None"),
        ("identity", ["0123"], r"is damaged: identity must be text, not \['0123'\]"),
        ("identity", 1, "is damaged: identity must be text, not 1"),
        ("channels", [1, 2], r"is damaged: channels must be a list of different names, not \[1, 2"),
        ("channels", ["DNA", "DNA"], "is damaged: channels must be a list of different names"),
        ("channels", ["DNA", ""], "is damaged: channels must be a list of different names"),
        ("channels", [["DNA"], ["ER"]], "is damaged: channels must be a list of different names"),
        ("channels", [], "is damaged: channels must be a list of different names"),
        ("classes", [["a"]], r"is damaged: classes must be a list of different names, not \[\['a'"),
        ("classes", "ab", "is damaged: classes must be a list of different names, not 'ab'"),
        ("classes", ["a", "a"], "is damaged: classes must be a list of different names"),
    ],
)
def test_a_key_of_another_type_is_refused(folder: Path, key: str, value: Any, told: str):
    change_config(folder, **{key: value})
    for read in (load, identify) if key in ("family", "identity") else (load,):
        with pytest.raises(ValueError, match=f"config.json {told}"):
            read(folder)


WHOLE, NUMBER = "a whole number below 2^31", "a number below 2^31"
SEVERAL, TRUTH = "a list of whole numbers below 2^31", "true or false"


@pytest.mark.parametrize(
    ("family", "name", "value", "told"),
    [
        ("vit-mae", "depth", 2.0, f"must be {WHOLE}, not 2.0"),
        ("vit-mae", "depth", True, f"must be {WHOLE}, not True"),
        ("vit-mae", "patch_size", 8.0, f"must be {WHOLE}, not 8.0"),
        ("vit-mae", "crop_size", 32.0, f"must be {WHOLE}, not 32.0"),
        ("vit-mae", "crop_size", [32], f"must be {WHOLE}, not "),
        ("vit-mae", "embed_dim", 4 * 10**30, f"must be {WHOLE}, not 4000"),
        ("vit-mae", "embed_dim", 6 * 10**9, f"must be {WHOLE}, not 6000"),
        ("vit-mae", "num_heads", -(2**31), f"must be {WHOLE}, not -2147483648"),
        ("vit-mae", "layer_scale", "x", f"must be {NUMBER}, not 'x'"),
        ("vit-mae", "layer_scale", None, f"must be {NUMBER}, not None"),
        ("vit-mae", "layer_scale", float("nan"), f"must be {NUMBER}, not nan"),
        ("vit-mae", "mlp_ratio", float("inf"), f"must be {NUMBER}, not inf"),
        ("vit-mae", "mlp_ratio", 10**400, f"must be {NUMBER}, not 1000"),
        ("vit-mae", "mask_ratio", True, f"must be {NUMBER}, not True"),
        ("vit-mae", "normalise_targets", "yes", f"must be {TRUTH}, not 'yes'"),
        ("vit-mae", "normalise_targets", 1, f"must be {TRUTH}, not 1"),
        ("vit-mae", "depth", 10**9, "is 1000000000, but model.safetensors has 50 tensors in all"),
        ("vit-mae", "decoder_depth", 10**9, "is 1000000000, but model.safetensors has 50 tensors"),
        ("vit-mae", "crop_size", 2**20, "is 1048576, too large for model.safetensors"),
        ("unet-mae", "widths", [8.0, 16.0], f"must be {SEVERAL}, not "),
        ("unet-mae", "widths", 8, f"must be {SEVERAL}, not 8"),
        ("unet-mae", "widths", "88", f"must be {SEVERAL}, not '88'"),
        ("unet-mae", "depths", [10**9, 1], "is (1000000000, 1), but model.safetensors has 16 "),
        ("classifier", "block_depths", [2.0, 2], f"must be {SEVERAL}, not "),
        ("classifier", "block_depths", [1, 10**9], "is (1, 1000000000), but model.safetensors has"),
        ("classifier", "standardise", None, f"must be {TRUTH}, not None"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_built(
    tmp_path: Path, family: str, name: str, value: Any, told: str
):
    save(tmp_path, build(family, SETTINGS[family], ["DNA", "ER"], ["a", "b"]), {})
    change_config(tmp_path, model={**asdict(SETTINGS[family]), name: value})
    with pytest.raises(ValueError, match=rf"config.json is damaged: {name} {re.escape(told)}"):
        load(tmp_path)


def test_a_whole_number_will_do_for_a_number(folder: Path):
    change_config(folder, model={**asdict(TINY), "layer_scale": 1})
    assert load(folder).settings == replace(TINY, layer_scale=1.0)


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({"model": {"depth": 2.0}}, f"depth must be {WHOLE}, not 2.0"),
        ({"model": {"depth": 10**9}}, "depth is 1000000000, but model.safetensors has 52 tensors"),
        ({"model": {"layer_scale": None}}, f"layer_scale must be {NUMBER}, not None"),
        ({"model": {"normalise_targets": "yes"}}, f"normalise_targets must be {TRUTH}, not"),
        ({"channels": [1, 2]}, "phenomae.channels must be a list of different names, not"),
        ({"channels": ["DNA", "DNA"]}, "phenomae.channels must be a list of different names, not"),
    ],
)
def test_what_stands_under_our_key_of_public_weights_is_checked_too(
    tmp_path: Path, model: VitMae, beside: dict, told: str
):
    write_public(tmp_path / "public", model)
    change_config(tmp_path / "public", phenomae=beside)
    sentence = f"config.json and model.safetensors do not describe a model: {told}"
    with pytest.raises(ValueError, match=re.escape(sentence)):
        load(tmp_path / "public")


@pytest.mark.parametrize("text", ["{", "[1]", "\xff", "[" * 10**5, '{"a": ' + "1" * 5000 + "}"])
def test_a_config_that_is_no_json_object_is_refused(folder: Path, text: str):
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"config.json is damaged"):
        load(folder)


def test_tensors_of_another_model_are_refused(folder: Path):
    change_config(folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "head.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"has the unexpected tensor head.weight"):
        load(folder)
    del tensors["encoder.cls_token"]
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"lacks encoder.cls_token"):
        load(folder)


def write_public(folder: Path, model: VitMae) -> dict[str, torch.Tensor]:
    """Write a model under the public checkpoint's names, spelled out one by one."""
    ours = model.state_dict()
    public = {
        "encoder.vit_backbone.cls_token": ours["encoder.cls_token"].reshape(1, 1, -1),
        "encoder.vit_backbone.pos_embed": model.encoder.positions[None],
        "decoder.pos_embeddings": model.decoder.positions[None],
        "decoder.mask_token": ours["decoder.mask_token"].reshape(1, 1, -1),
        "encoder.vit_backbone.patch_embed.proj.weight": rearrange(
            ours["encoder.patch_embed.weight"], "d (i j c) -> d c i j", i=4, j=4
        ),
    }
    prefixes = {
        "encoder.patch_embed.bias": "encoder.vit_backbone.patch_embed.proj.bias",
        "encoder.fc_norm.": "encoder.vit_backbone.fc_norm.",
        "decoder.embed.": "encoder_decoder_proj.",
        "decoder.pred.": "decoder_pred.",
        "decoder.norm.": "decoder.norm.",
        "decoder.blocks.0.norm": "decoder.blocks.0.norm",
        "decoder.blocks.0.fc": "decoder.blocks.0.mlp.fc",
        "decoder.blocks.0.qkv": "decoder.blocks.0.attn.qkv",
        "decoder.blocks.0.proj": "decoder.blocks.0.attn.proj",
        "encoder.blocks.0.layer_scale": "encoder.vit_backbone.blocks.0.ls.gamma",
        "encoder.blocks.1.layer_scale": "encoder.vit_backbone.blocks.1.ls.gamma",
        "encoder.blocks.": "encoder.vit_backbone.blocks.",
    }
    for name, tensor in model.state_dict().items():
        prefix = next((start for start in prefixes if name.startswith(start)), None)
        if prefix is not None:
            public[prefixes[prefix] + name[len(prefix) :]] = tensor
    folder.mkdir()
    public = {name: part.contiguous() for name, part in public.items()}
    save_file(public, folder / "model.safetensors")
    sizes = {"ca": False, "dim": 8, "depth": 2, "heads": 2, "img": 16, "patch": 4, "chans": 2}
    decoder = {"ddim": 16, "ddepth": 1, "dheads": 2, "mask_ratio": 0.75}
    (folder / "config.json").write_text(json.dumps({**sizes, **decoder}))
    return public


def test_the_public_names_load(tmp_path: Path, model: VitMae):
    write_public(tmp_path / "public", model)
    found = load(tmp_path / "public").state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(found[name], tensor)


def test_another_position_table_is_refused(tmp_path: Path, model: VitMae):
    public = write_public(tmp_path / "public", model)
    public["decoder.pos_embeddings"] = public["decoder.pos_embeddings"] + 1
    save_file(public, tmp_path / "public/model.safetensors")
    with pytest.raises(ValueError, match=r"decoder.positions is not the sine-cosine table"):
        load(tmp_path / "public")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_public_weights_of_another_precision_have_exact_positions(
    kind: torch.dtype, tmp_path: Path, model: VitMae
):
    public = write_public(tmp_path / "public", model)
    rounded = {name: tensor.to(kind) for name, tensor in public.items()}
    save_file(rounded, tmp_path / "public/model.safetensors")
    found = load(tmp_path / "public")
    assert torch.equal(found.encoder.positions, model.encoder.positions)
    assert torch.equal(found.decoder.positions, model.decoder.positions)
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor.to(kind).float())
    rounded["decoder.pos_embeddings"] += 0.1
    save_file(rounded, tmp_path / "public/model.safetensors")
    with pytest.raises(ValueError, match=r"decoder.positions is not the sine-cosine table"):
        load(tmp_path / "public")


def test_public_names_are_written_back(tmp_path: Path, model: VitMae):
    public = write_public(tmp_path / "public", model)
    found = publish(model, max_channels=2)
    assert found.keys() == public.keys()
    for name, tensor in public.items():
        assert torch.equal(found[name], tensor), name


def test_a_table_that_differs_in_its_last_bits_is_kept(tmp_path: Path, model: VitMae):
    public = write_public(tmp_path / "public", model)
    public["decoder.pos_embeddings"][0, 1:] += 1e-7
    save_file(public, tmp_path / "public/model.safetensors")
    save(tmp_path / "ours", load(tmp_path / "public"), {})
    assert load_file(tmp_path / "ours/model.safetensors").keys() == {
        *model.state_dict(),
        "decoder.positions",
    }
    found = load(tmp_path / "ours")
    assert torch.equal(found.decoder.positions, public["decoder.pos_embeddings"][0])
    assert torch.equal(found.encoder.positions, model.encoder.positions)


def test_an_archive_is_read_whatever_layout_it_is_of(folder: Path, model: VitMae):
    change_config(folder)
    torch.save({"state_dict": dict(model.state_dict())}, folder / "model.safetensors")
    found = load(folder).state_dict()
    assert all(torch.equal(found[name], part) for name, part in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64])
def test_numbers_of_another_kind_are_refused(folder: Path, dtype: torch.dtype):
    change_config(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.cls_token"] = tensors["encoder.cls_token"].to(dtype)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=rf"encoder.cls_token has numbers of type {dtype}"):
        load(folder)


def test_an_artefact_of_another_kind_is_refused(folder: Path):
    sign(folder, Origin("store"), "0123", {})
    with pytest.raises(ValueError, match="holds store, not a run, which pretrain makes, or"):
        load(folder)


def test_a_public_configuration_cannot_give_an_identity(tmp_path: Path, model: VitMae):
    write_public(tmp_path / "public", model)
    before = identify(tmp_path / "public")
    change_config(tmp_path / "public", identity="0123")
    assert identify(tmp_path / "public") not in ("0123", before)
