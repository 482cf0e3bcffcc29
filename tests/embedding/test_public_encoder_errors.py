"""What a public encoder cannot be: one sentence each, and nothing is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from phenomae import cli
from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.weights.public_encoder.find_encoder import find_encoder
from phenomae.weights.public_encoder.load_transformer import load_complete
from phenomae.weights.public_encoder.open_encoder import open_encoder
from phenomae.weights.public_encoder.settings import PublicEncoderSettings

transformers = pytest.importorskip("transformers", reason="needs transformers")
BIT = "BitImageProcessor"
NO_STAGES = dict.fromkeys(("stage_names", "out_features", "out_indices"), "absent")
OWN_CODE = {"AutoModel": "modeling.Own", "AutoConfig": "modeling.OwnConfig"}


@pytest.fixture(scope="module")
def encoder(save_encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny DINOv2."""
    return save_encoder(tmp_path_factory.mktemp("encoder") / "dino", "dinov2")


@pytest.fixture
def changed(encoder: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the encoder with other keys in one of its JSON files."""

    def change(file: str = "config.json", **keys: Any) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(encoder, folder)
        table = {**json.loads((folder / file).read_text()), **keys}
        kept = {key: value for key, value in table.items() if value != "absent"}
        (folder / file).write_text(json.dumps(kept))
        return folder

    return change


def refuse(folder: Path | str, *flags: str, store: Path, place: Path, capsys) -> str:
    """Return the only line, but for licences, that `embed` prints when it refuses an encoder."""
    before = sorted(place.iterdir())
    words = ["embed", str(store), f"{folder}", str(place / "wells"), "--device", "cpu", *flags]
    assert cli.run(words) == 1
    *told, line = capsys.readouterr().err.strip().splitlines()
    assert all(": licence: " in text for text in told)
    assert sorted(place.iterdir()) == before
    return line


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            "--channels-as rgb",
            "--channels-as rgb needs channels, three names in the order red, gree",
        ),
        ("--channels-as rgb --channels ER,DNA", "makes an image of 3 channels: name them with cha"),
        ("--input-size 30", "--input-size must be a multiple of 7, the patch size of dino, not 30"),
        ("--crop-size 41", "40 x 53 pixels, which is smaller than the crops of 41 x 41: choose a "),
        ("--block 3", "this network has no block 3: its blocks are 1 to 2"),
        ("--pool channel", "this network has no pool 'channel': its pools are mean, mean-std, cla"),
        ("--adabn on", "adabn must be auto or off, not on: the public encoder network of hf:"),
        ("--seed 2", "seed is of networks with random weights (random:RUN): leave it out for hf:"),
        (
            "--image-mean 0.5",
            "--image-mean must be given together with --image-std, or neither, not ",
        ),
        ("--image-mean 0.5 --image-std 0", "--image-std must be above 0, not 0"),
        (
            "--image-mean 0.5 0.5 --image-std 1",
            "--image-mean must be one number or 3, as the model",
        ),
        ("--image-mean nan --image-std 1", "--image-mean must be finite numbers, not nan"),
        ("--image-mean 1 inf 1 --image-std 1", "--image-mean must be finite numbers, not inf"),
        ("--crop-size 0", "--crop-size must be at least 1, not 0"),
        ("--channels DNA,AGP", "has no channel 'AGP'"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(
    flags: str, sentence: str, encoder: Path, screen_path: Path, tmp_path: Path, capsys
):
    where = {"store": screen_path, "place": tmp_path, "capsys": capsys}
    assert sentence in refuse(f"hf:{encoder}", *flags.split(), **where)


def test_settings_of_public_encoders_are_refused_for_other_networks(
    run: Path, screen_path: Path, tmp_path: Path, capsys
):
    where = {"store": screen_path, "place": tmp_path, "capsys": capsys}
    line = refuse(str(run), "--crop-size", "28", **where)
    assert f"--crop-size is a setting of public encoders (hf:...): leave it out for {run}" in line


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hf:./absent", "hf:./absent: there is no such folder, and it is no OWNER/NAME"),
        ("hf:absent", "hf:absent: there is no such folder"),
        ("hf:", "hf:: there is no such folder"),
        ("hf:/absent/dino", "hf:/absent/dino: there is no such folder"),
        ("hf:a/b/c", "hf:a/b/c: there is no such folder"),
        ("hf:models/dion", "hf:models/dion: the folder models has no dion; for the repository on"),
        ("hf:lab/dino@", "hf:lab/dino@: there is no such folder"),
        ("hf:lab/dino@../x", "hf:lab/dino@../x: there is no such folder"),
        ("hf:models/dino/config.json", "config.json is a file: give the folder with config.json"),
        ("hf:models", "models has no config.json: hf: opens folders of transformers"),
        ("lab/dino", "or hf:lab/dino in embed for a public encoder on the hub"),
        ("models/dino", "; embed opens vision transformers of others as hf:models/dino"),
    ],
)
def test_a_path_never_reaches_the_hub(
    name: str, sentence: str, encoder: Path, screen_path: Path, tmp_path, monkeypatch, capsys
):
    # Nothing listens there, so that a request would be another sentence.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    shutil.copytree(encoder, tmp_path / "models/dino")
    monkeypatch.chdir(tmp_path)
    where = {"store": screen_path, "place": tmp_path, "capsys": capsys}
    assert sentence in refuse(name, **where)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"model_type": "bert"}, "changed is a model of type 'bert': hf: opens vision transformer"),
        ({"model_type": "absent"}, "changed is a model of type None: hf: opens vision"),
        ({"model_type": ["vit"]}, "changed is a model of type ['vit']"),
        (
            {"model_type": "own", "auto_map": OWN_CODE},
            "changed needs code of its own (auto_map in config.json), which is not run: hf: opens",
        ),
        ({"model_type": "MAE"}, "is in the layout of OpenPhenom: phenomae weights import reads it"),
        ({"model_type": "vit"}, "changed does not fit the ViTModel of transformers, which would"),
        ({"num_hidden_layers": 3}, "partly random: its files lack the tensors encoder.layer.2."),
        ({"num_hidden_layers": 1, **NO_STAGES}, "have the unknown tensors encoder.layer.1."),
        ({"num_hidden_layers": 2**30}, "num_hidden_layers is 1073741824, which does not fit the "),
        ({"hidden_size": 2**30}, "hidden_size is 1073741824, which does not fit the"),
        ({"hidden_size": "32"}, "hidden_size is '32', which does not fit the"),
        ({"hidden_size": 16}, "its files have other shapes of embeddings.cls_token and"),
        ({"num_channels": 5}, "have other shapes of embeddings.patch_embeddings.projection.weight"),
        ({"num_hidden_layers": 1}, "changed: transformers cannot load it: out_features must be "),
        ({"hidden_act": "none such"}, "changed: transformers cannot load it: "),
        ({"image_size": 7 * 10**6}, "config.json describes a network of 32,000,000"),
        ({"mlp_ratio": 10**9}, "config.json describes a network of "),
        ({"num_labels": 2**40}, "num_labels is 1099511627776, which does not fit the"),
        ({"image_size": [14, 56]}, "image_size must be the side of a square in changed, not [14, "),
        ({"transformers_weights": "other.safetensors"}, "has the key transformers_weights, which "),
        ({"quantization_config": {}}, "has the key quantization_config, which is not supported"),
    ],
)
def test_other_models_are_one_sentence(keys: dict, sentence: str, changed):
    with pytest.raises(ValueError, match=r".") as caught:
        open_encoder(f"hf:{changed(**keys)}", ["DNA"])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"image_mean": "absent"}, "image_mean must be numbers, not None"),
        ({"image_mean": ["a"] * 3}, "image_mean must be numbers, not ['a', 'a', 'a']"),
        ({"image_mean": [float("nan")] * 3}, "image_mean must be numbers, not [nan, nan, nan]"),
        ({"image_mean": [0.5] * 4}, "image_mean must be one number or 3, as the model has channe"),
        ({"image_std": [0.5, 0.5, 0]}, "image_std must be above 0, not [0.5, 0.5, 0.0]"),
        ({"size": {"height": 28, "width": 56}}, "size must be the side of a square, not {'height"),
        ({"size": {"longest_edge": 28}}, "size must be the side of a square, not {'longest_edge'"),
        ({"image_processor_type": BIT}, "crop_size must be the side of a square, not None; inpu"),
        ({"do_center_crop": True, "crop_size": True}, "crop_size must be the side of a square, no"),
        ({"do_center_crop": 1}, "do_center_crop must be true, false or null, not 1"),
        ({"do_resize": "no"}, "do_resize must be true, false or null, not 'no'"),
        ({"do_rescale": 0}, "do_rescale must be true, false or null, not 0"),
        ({"do_normalize": "false"}, "do_normalize must be true, false or null, not 'false'"),
        ({"size": 30}, "input_size must be a multiple of 7, the patch size of changed, not 30"),
        ({"resample": 1}, "resample must be 2 (bilinear) or 3 (bicubic), not 1"),
        ({"resample": [3]}, "resample must be 2 (bilinear) or 3 (bicubic), not [3]"),
        ({"rescale_factor": 0}, "rescale_factor must be a number above 0, not 0"),
    ],
)
def test_numbers_of_a_processor_that_cannot_be_used_are_one_sentence(
    keys: dict, sentence: str, changed
):
    with pytest.raises(ValueError, match=r".") as caught:
        open_encoder(f"hf:{changed('preprocessor_config.json', **keys)}", ["DNA"])
    assert sentence in str(caught.value)


def test_crops_are_not_resized_by_a_filter_that_nobody_names(changed):
    keys = {"resample": "absent", "image_processor_type": "OwnImageProcessor"}
    run = f"hf:{changed('preprocessor_config.json', **keys)}"
    with pytest.raises(ValueError, match=r"names no filter \(resample\) to resize crops, and that"):
        open_encoder(run, ["DNA"], PublicEncoderSettings(crop_size=40))
    opened = open_encoder(run, ["DNA"])
    assert opened.record["preprocessing"]["resample"] is None
    assert opened.model.embed(torch.zeros(1, 1, 28, 28)).shape == (1, 32)
    with pytest.raises(ValueError, match="crops must be 28 x 28 pixels, not 40 x 41: the model's"):
        opened.model.embed(torch.zeros(1, 1, 40, 41))


@pytest.mark.parametrize("channels", [2, 5])
def test_models_of_neither_grey_nor_colour_images_are_refused(
    channels: int, save_encoder, tmp_path: Path
):
    folder = save_encoder(tmp_path / "multiplex", "vit", num_channels=channels)
    given = PublicEncoderSettings(image_mean=(0.5,), image_std=(0.5,))
    with pytest.raises(ValueError, match=rf"multiplex has images of {channels} channels: hf: open"):
        open_encoder(f"hf:{folder}", ["DNA"], given)


def test_damaged_and_missing_files_are_one_sentence(changed, tmp_path: Path):
    folder = changed()
    tensors = folder / "model.safetensors"
    content = tensors.read_bytes()
    tensors.write_bytes(content[:-9])
    with pytest.raises(ValueError, match="is cut short or is not a safetensors file"):
        open_encoder(f"hf:{folder}", ["DNA"])
    tensors.rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"has no model\.safetensors; weights in pickle files, wh"):
        find_encoder(f"hf:{folder}")
    index = folder / "model.safetensors.index.json"
    for listed in ({}, {"weight_map": {"a": "../b.safetensors"}}, {"weight_map": {"a": 1}}):
        index.write_text(json.dumps(listed))
        with pytest.raises(ValueError, match="weight_map must name safetensors files"):
            find_encoder(f"hf:{folder}")
    index.unlink()
    tensors.write_bytes(content)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=r"has no preprocessor_config\.json, which says how"):
        open_encoder(f"hf:{folder}", ["DNA"])
    given = PublicEncoderSettings(image_mean=(0.5,), image_std=(0.5,))
    assert open_encoder(f"hf:{folder}", ["DNA"], given).record["preprocessing"]["input_size"] == 28
    (folder / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config\.json is damaged: it should be a JSON object"):
        open_encoder(f"hf:{folder}", ["DNA"])


@pytest.mark.parametrize("how", ["one less", "one more", "prefix"])
def test_anything_but_a_complete_load_is_refused(how: str, changed):
    folder = changed()
    tensors = load_file(folder / "model.safetensors")
    if how == "one less":
        del tensors["encoder.layer.1.norm2.bias"]
    elif how == "one more":
        tensors["head.weight"] = torch.zeros(2)
    else:
        tensors = {f"backbone.{name}": tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="changed does not fit the Dinov2Model of transformers"):
        open_encoder(f"hf:{folder}", ["DNA"])


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn])
def test_weights_of_other_than_floating_point_numbers_are_refused(kind: torch.dtype, changed):
    folder = changed()
    tensors = load_file(folder / "model.safetensors")
    name = "encoder.layer.0.norm1.weight"
    tensors[name] = tensors[name].to(kind)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    sentence = rf"{name} has numbers of type \w+: weights must be F64, F32, F16, BF16"
    with pytest.raises(ValueError, match=sentence):
        open_encoder(f"hf:{folder}", ["DNA"])


def test_features_that_are_not_finite_are_not_written(changed, screen_path: Path, tmp_path: Path):
    folder = changed()
    tensors = load_file(folder / "model.safetensors")
    tensors["layernorm.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    settings = EmbedSettings(device="cpu", precision="float32")
    sentence = "NaN or infinite features for 3 of 3 wells of plate P1, such as A01: give weights of"
    with pytest.raises(ValueError, match=sentence):
        embed(screen_path, f"hf:{folder}", tmp_path / "wells", settings=settings)
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    "keys",
    [
        {"num_register_tokens": 4},  # which this kind does not have
        {"return_dict": False},
        {"attn_implementation": "lab/kernel"},  # which would be fetched and imported
        {"_attn_implementation": "lab/kernel@main:name"},
    ],
)
def test_keys_that_are_not_of_the_network_change_nothing(keys: dict, encoder: Path, changed):
    crops = torch.rand(1, 1, 28, 28)
    one, other = (
        open_encoder(f"hf:{folder}", ["DNA"]).model.encoder for folder in (encoder, changed(**keys))
    )
    assert torch.equal(other.embed(crops), one.embed(crops))
    assert torch.equal(other.embed(crops, block=1), one.embed(crops, block=1))


def test_errors_that_transformers_only_reports_are_refused():
    class Library:
        """A library that reports an error instead of raising it."""

        @classmethod
        def from_pretrained(cls, folder: object, **options: object) -> tuple[object, dict]:
            assert options["trust_remote_code"] is False
            assert options["attn_implementation"] == "sdpa"
            assert options["use_safetensors"] is True
            assert options["dtype"] == torch.float32
            keys = {f"{part}_keys": set() for part in ("missing", "unexpected", "mismatched")}
            return cls(), {**keys, "error_msgs": ["size mismatch for x"]}

    with pytest.raises(ValueError, match="dino does not load: size mismatch for x"):
        load_complete(Library, "dino", "folder")


def test_code_of_a_known_type_is_not_run(changed, capsys):
    folder = changed(auto_map=OWN_CODE)
    (folder / "modeling.py").write_text("raise SystemExit('this code was run')")
    open_encoder(f"hf:{folder}", ["DNA"])
    assert "changed has code of its own (auto_map), which is not run" in capsys.readouterr().err


def test_a_model_of_one_channel_is_no_colour_image(save_encoder, tmp_path: Path):
    folder = save_encoder(tmp_path / "grey", "vit", num_channels=1)
    numbers = {"image_mean": (0.5,), "image_std": (0.5,)}
    rgb = PublicEncoderSettings(channels_as="rgb", **numbers)
    with pytest.raises(ValueError, match="channels_as must be grey for grey, whose images have 1"):
        open_encoder(f"hf:{folder}", ["DNA", "ER", "AGP"], rgb)
    network = open_encoder(f"hf:{folder}", ["DNA"], PublicEncoderSettings(**numbers)).model
    assert network.embed(torch.zeros(2, 3, 28, 28)).shape == (2, 96)


def test_a_number_is_the_mean_of_all_channels(fork_program: Callable):
    # In a process of its own: here beartype checks the arguments.
    program = """
from phenomae.weights.public_encoder.settings import PublicEncoderSettings
print(PublicEncoderSettings(image_mean=0.5, image_std=1))
PublicEncoderSettings(image_mean=0.5, image_std=0)
"""
    done = fork_program(program).wait()
    assert "image_mean=(0.5,), image_std=(1.0,)" in done.stdout
    assert "ValueError: image_std must be above 0, not 0.0" in done.stderr


def test_colours_of_another_number_of_channels_are_refused(encoder: Path):
    rgb = PublicEncoderSettings(channels_as="rgb")
    network = open_encoder(f"hf:{encoder}", ["DNA", "ER", "AGP"], rgb).model
    with pytest.raises(ValueError, match="channels_as rgb makes an image of 3 channels, not of 2"):
        network.embed(torch.zeros(1, 2, 28, 28))


def test_ijepa_has_no_class_token(save_encoder, tmp_path: Path):
    network = open_encoder(f"hf:{save_encoder(tmp_path / 'ijepa', 'ijepa')}", ["DNA"]).model
    with pytest.raises(ValueError, match="this network has no class token: its pools are mean"):
        network.embed(torch.zeros(1, 1, 28, 28), "class")
