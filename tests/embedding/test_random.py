"""Networks with random weights, as a baseline of `embed`."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from phenomae import cli
from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.models.build import build
from phenomae.models.create import create_model
from phenomae.weights import io
from phenomae.weights.random_twin import open_network
from phenomae.wells import read_wells

CPU = EmbedSettings(device="cpu", precision="float32")


def test_a_random_twin_has_the_architecture_and_fresh_weights(run: Path):
    trained, twin = io.load(run), open_network(f"random:{run}", (), seed=3)
    assert asdict(twin.model.settings) == {**asdict(trained.settings), "layer_scale": 1.0}
    assert twin.model.channels == trained.channels
    assert all((block.layer_scale == 1).all() for block in twin.model.encoder.blocks)
    torch.manual_seed(3)
    expected = build("vit-mae", replace(trained.settings, layer_scale=1.0), trained.channels)
    for name, value in expected.state_dict().items():
        assert torch.equal(value, twin.model.state_dict()[name]), name


def test_seeds_draw_other_weights_and_the_callers_generator_is_kept(run: Path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    twins = [open_network(f"random:{run}", (), seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(3), expected)
    assert twins[0].identity == twins[1].identity != twins[2].identity
    first, same, other = (twin.model.encoder.blocks[0].in_proj.weight for twin in twins)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_store_is_embedded_with_a_random_network(
    screen_path: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["embed", str(screen_path), f"random:{run}", str(tmp_path / "wells")]
    flags = ["--device", "cpu", "--precision", "float32", "--seed", "5"]
    assert cli.run([*words, *flags]) == 0
    found = read_wells(tmp_path / "wells").features
    twin = open_network(f"random:{run}", (), seed=5).model
    folder = tmp_path / "saved"
    io.save(folder, twin, {"identity": "0" * 32})
    embed(screen_path, folder, tmp_path / "expected", settings=CPU)
    np.testing.assert_array_equal(found, read_wells(tmp_path / "expected").features)
    embed(screen_path, run, tmp_path / "linear", settings=CPU)
    assert not np.allclose(found, read_wells(tmp_path / "linear").features)
    capsys.readouterr()
    assert cli.run([*words, *flags[:-1], "6"]) == 1
    assert "wells" in capsys.readouterr().err, "wells of another seed are other work"


@pytest.mark.parametrize("name", ["vit-mae/S16", "channel-mae/S16", "unet-mae/M"])
@pytest.mark.parametrize("block", [None, 1])
def test_mean_and_spread_of_tokens_are_those_of_numpy(name: str, block: int | None):
    sizes = {"embed_dim": 24, "depth": 2, "num_heads": 2} if "unet" not in name else {}
    model = create_model(name, 2, crop_size=64, **sizes).eval()
    crops = torch.randint(0, 256, (3, 2, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        *_, last = walk = list(model.encoder.walk(crops))
        found = model.encoder.embed(crops, "mean-std", block).numpy()
        mean = model.encoder.embed(crops, "mean", block).numpy()
    tokens = (last if block is None else walk[0]).double().numpy()
    tokens = tokens if "unet" in name else tokens[:, 1:]  # without the class token
    expected = np.concatenate([tokens.mean(axis=1), tokens.std(axis=1)], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(found[:, : mean.shape[1]], mean)


@pytest.mark.parametrize(
    ("name", "pools"),
    [("vit-mae/S16", 384), ("classifier/DenseNet-161", 128), ("unet-mae/M", 512)],
)
def test_a_network_by_name_has_the_channels_of_the_store(name: str, pools: int):
    with torch.device("meta"):
        network = open_network(f"random:{name}", ("DNA", "ER")).model
        assert network.channels == ("DNA", "ER")
        crop = torch.empty(1, 2, 64, 64)
        assert network.encoder.embed(crop).shape == (1, pools)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("random:vit-mae/S17", "random:vit-mae/S17: name must be vit-mae/SIZE with a size of"),
        ("random:vit-mae/", "random:vit-mae: name must be vit-mae/SIZE with a size of"),
        ("random:unet-mae", "random:unet-mae: name must be unet-mae/SIZE with a size of"),
        ("random:absent", "random:absent names no network: after random: give a finished run"),
        ("random:absent/S16", "random:absent/S16 names no network"),
        ("random:", "random: names no network"),
        ("random:.", "has no weights: config.json is missing"),
    ],
)
def test_an_unknown_random_network_is_one_sentence(
    name: str, sentence: str, screen_path: Path, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["embed", str(screen_path), name, "wells"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert sentence in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--seed -1", "seed must be at least 0, not -1"),
        ("--channels DNA,AGP", "has no channel 'AGP'"),
        ("--channels ER", "has the channels DNA, ER, but the network was trained on DNA, ER"),
        ("--block 3", "block"),
        ("--pool channel", "pool"),
    ],
)
def test_what_a_random_network_cannot_do_is_one_sentence(
    flags: str, sentence: str, screen_path: Path, run: Path, tmp_path: Path, capsys
):
    words = ["embed", str(screen_path), f"random:{run}", str(tmp_path / "wells"), *flags.split()]
    assert cli.run([*words, "--device", "cpu"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert sentence in line
    assert not list(tmp_path.iterdir())


def test_a_trained_network_has_no_seed(
    screen_path: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["embed", str(screen_path), str(run), str(tmp_path / "wells"), "--seed", "3"]
    assert cli.run(words) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"seed is of networks with random weights (random:{run})" in line
    assert not list(tmp_path.iterdir())


def test_an_unfinished_run_has_no_random_twin(
    screen_path: Path, run: Path, tmp_path: Path, resign, capsys: pytest.CaptureFixture[str]
):
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("config.toml", "artefact.json"):
        (begun / name).write_bytes((run / name).read_bytes())
    resign(begun, identity=None, files={})
    assert cli.run(["embed", str(screen_path), f"random:{begun}", str(tmp_path / "wells")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{begun} has no weights" in line
    assert not list(tmp_path.glob("wells*"))


def test_fields_smaller_than_the_crops_of_a_random_network_are_one_sentence(
    screen_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["embed", str(screen_path), "random:vit-mae/S16", str(tmp_path / "wells")]
    assert cli.run([*words, "--device", "cpu"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "has 40 x 53 pixels, which is smaller than the crops of 256 x 256" in line
    assert not list(tmp_path.iterdir())


def test_pretrain_without_steps_warns_that_the_network_is_linear(
    run: Path, screen_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = ["--config", str(run / "config.toml")]
    for scale, warned in (("1e-4", True), ("1.0", False)):
        place = tmp_path / scale
        words = ["pretrain", "vit-mae", str(screen_path), str(place), "--layer-scale", scale]
        assert cli.run([*words, *flags]) == 0
        assert (f"embed with random:{place}" in capsys.readouterr().err) == warned
