"""Every family trains by the same command in the same loop, on one store and on several."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import zarr

from phenomae import cli
from phenomae.crops.stream import centre_crops
from phenomae.crops.tensors import network_input
from phenomae.models.conv.adabn import reestimate
from phenomae.pretraining.objectives.classifying import label_fields, open_labelled
from phenomae.probes.commands import (
    ChannelMaeSettings,
    ClassifierSettings,
    EnergyMaeSettings,
    UnetMaeSettings,
    VitClassifierSettings,
    VitMaeSettings,
    pretrain_channel_mae,
    pretrain_classifier,
    pretrain_energy_mae,
    pretrain_unet_mae,
    pretrain_vit_classifier,
    pretrain_vit_mae,
)
from phenomae.runs import read_log
from phenomae.store.read import open_store
from phenomae.store.write import write_array
from phenomae.weights import io as weights

TRAINING: dict[str, Any] = {
    "crop_size": 16,
    "steps": 4,
    "crops_per_step": 8,
    "checkpoint_every": 2,
    "log_every": 2,
    "validation": 0.2,
    "device": "cpu",
    "precision": "float32",
}
VIT: dict[str, Any] = {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
DECODER: dict[str, Any] = {
    "decoder_embed_dim": 16,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
}
FAMILIES: dict[str, tuple[Any, Any]] = {
    "vit-mae": (pretrain_vit_mae, VitMaeSettings(**TRAINING, **VIT, **DECODER)),
    "channel-mae": (
        pretrain_channel_mae,
        ChannelMaeSettings(**TRAINING, **VIT, **DECODER, cross_num_heads=2, drop_channel=0.5),
    ),
    "energy-mae": (pretrain_energy_mae, EnergyMaeSettings(**TRAINING, **VIT, **DECODER)),
    "unet-mae": (
        pretrain_unet_mae,
        UnetMaeSettings(**TRAINING, patch_size=4, widths=(8, 16), depths=(2, 2)),
    ),
    "classifier": (
        pretrain_classifier,
        ClassifierSettings(
            **{**TRAINING, "crop_size": 32},
            growth_rate=4,
            first_width=8,
            block_depths=(2, 2),
            neck_dim=8,
            plates_per_step=2,
        ),
    ),
    "vit-classifier": (pretrain_vit_classifier, VitClassifierSettings(**TRAINING, **VIT)),
}


def write_fields(seed: int, channels: int, plates: tuple[str, ...], dtype: str = "uint16") -> dict:
    rng = np.random.default_rng(seed)
    return {
        (plate, f"A{well:02d}", 1): rng.integers(100, 250, (channels, 40, 44)).astype(dtype)
        for plate in plates
        for well in range(1, 6)
    }


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, make_store) -> dict[str, Path]:
    """Stores of two plates: two of the same channels, one of them the other way round, and more."""
    folder = tmp_path_factory.mktemp("stores")
    plan = {
        "first": (0, ("P1", "P2"), ("DNA", "ER"), "uint16"),
        "turned": (1, ("P3",), ("ER", "DNA"), "uint16"),
        "wide": (2, ("P4",), ("DNA", "AGP", "Mito"), "uint8"),
    }
    return {
        name: make_store(folder / name, write_fields(seed, len(channels), plates, dtype), channels)
        for name, (seed, plates, channels, dtype) in plan.items()
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_of_any_family_is_whole_and_goes_on(
    family: str, stores: dict[str, Path], tmp_path: Path, resign
):
    """A run that lost its second half ends with the same weights."""
    pretrain, settings = FAMILIES[family]
    pretrain(stores["first"], tmp_path / "run", settings=settings)
    model = weights.load(tmp_path / "run")
    assert model.family == family
    assert model.channels == ("DNA", "ER")
    assert model.settings == settings.model
    losses = [line for line in read_log(tmp_path / "run") if "loss" in line]
    assert [line["step"] for line in losses] == [2, 4]
    assert (tmp_path / "run/reconstructions.png").exists() == family.endswith("mae")

    shutil.copytree(tmp_path / "run", tmp_path / "again")
    resign(tmp_path / "again", identity=None, files={})
    (tmp_path / "again/checkpoints/step-00000004.safetensors").unlink()
    (tmp_path / "again/weights/model.safetensors").unlink()
    pretrain(stores["first"], tmp_path / "again", settings=settings)
    for name in ("model.safetensors", "config.json"):
        expected = (tmp_path / "run/weights" / name).read_bytes()
        assert (tmp_path / "again/weights" / name).read_bytes() == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_stores_of_the_same_channels_train_together(
    family: str, stores: dict[str, Path], tmp_path: Path
):
    """In whatever order each has them."""
    pretrain, settings = FAMILIES[family]
    pretrain(stores["first"], stores["turned"], tmp_path / "run", settings=settings)
    assert weights.load(tmp_path / "run").channels == ("DNA", "ER")
    identities = [open_store(stores[name]).identity for name in ("first", "turned")]
    assert weights.read_config(tmp_path / "run")["store"] == identities


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "channel-mae"])
def test_stores_of_other_channels_are_refused(family: str, stores: dict[str, Path], tmp_path: Path):
    pretrain, settings = FAMILIES[family]
    with pytest.raises(ValueError, match=r"DNA, AGP, Mito, but .* has DNA, ER: .* channel-mae"):
        pretrain(stores["first"], stores["wide"], tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_stores_of_any_channels_train_one_channel_agnostic_network(
    stores: dict[str, Path], tmp_path: Path
):
    """Every channel's decoder learns: its weights leave their first values."""
    _, settings = FAMILIES["channel-mae"]
    settings = replace(settings, steps=24)
    paths = [stores[name] for name in ("first", "turned", "wide")]
    pretrain_channel_mae(*paths, tmp_path / "run", settings=settings)
    pretrain_channel_mae(*paths, tmp_path / "untrained", settings=replace(settings, steps=0))
    model, before = (weights.load(tmp_path / name) for name in ("run", "untrained"))
    assert model.channels == ("DNA", "ER", "AGP", "Mito")
    for name, part in model.state_dict().items():
        if name.startswith("decoder.blocks") and name.endswith("weight"):
            moved = (part - before.state_dict()[name]).flatten(1).abs().amax(1)
            assert (moved > 0).all(), name
    config = weights.read_config(tmp_path / "run")
    assert config["intensity"] == "uint8/255 and window"
    missing = model.predict(torch.rand(2, 2, 16, 16), ["DNA", "ER"], ["Mito"])
    assert missing.shape == (2, 1, 16, 16)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_command_line_trains_it(family: str, stores: dict[str, Path], tmp_path: Path):
    _, settings = FAMILIES[family]
    pretrain, _ = FAMILIES[family]
    pretrain(stores["first"], tmp_path / "run", settings=settings)
    again = ["pretrain", family, str(stores["first"]), str(tmp_path / "again")]
    assert cli.run([*again, "--config", str(tmp_path / "run/config.toml")]) == 0
    name = "weights/model.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_a_classifier_knows_its_classes_and_whether_to_adapt(
    stores: dict[str, Path], tmp_path: Path
):
    _, settings = FAMILIES["classifier"]
    pretrain_classifier(stores["first"], tmp_path / "on", settings=settings)
    off = replace(settings, adabn="off", plates_per_step=1)
    pretrain_classifier(stores["first"], tmp_path / "off", settings=off)
    on, off = (weights.read_config(tmp_path / name) for name in ("on", "off"))
    assert on["classes"] == [f"gene A{well:02d}" for well in range(1, 6)]
    assert on["adabn"] is True
    assert "adabn" not in off


def forget_perturbations(store: Path, path: Path, kept: int, resign: Callable) -> Path:
    shutil.copytree(store, path)
    fields = pl.read_parquet(path / "fields.parquet")
    known = pl.int_range(pl.len()) < kept
    fields.with_columns(pl.when(known).then("perturbation")).write_parquet(path / "fields.parquet")
    resign(path)
    return path


def test_wells_of_unknown_perturbation_are_left_out(
    stores: dict[str, Path], tmp_path: Path, resign
):
    store = forget_perturbations(stores["first"], tmp_path / "store", 4, resign)
    _, settings = FAMILIES["vit-classifier"]
    pretrain_vit_classifier(store, tmp_path / "run", settings=settings)
    assert weights.load(tmp_path / "run").classes == tuple(f"gene A0{n}" for n in (1, 2, 3, 4))


def test_nothing_to_tell_apart_is_refused(stores: dict[str, Path], tmp_path: Path, resign):
    store = forget_perturbations(stores["first"], tmp_path / "store", 1, resign)
    for family in ("classifier", "vit-classifier"):
        pretrain, settings = FAMILIES[family]
        with pytest.raises(ValueError, match="fewer than two perturbations are known"):
            pretrain(store, tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("family", "change", "sentence"),
    [
        ("channel-mae", {"drop_channel": 1.5}, "drop_channel must be from 0 to 1, not 1.5"),
        ("channel-mae", {"cross_num_heads": 3}, "must be a multiple of cross_num_heads 3"),
        (
            "classifier",
            {"plates_per_step": 3},
            "must be a divisor of crops_per_step 8, not 3",
        ),
        ("classifier", {"adabn": "off"}, "plates_per_step must be 1 if adabn is off, not 2"),
        ("classifier", {"crops_per_step": 2}, "crops_per_step must be at least 4, two per plate"),
        ("vit-mae", {"fourier_weight": 2.0}, "fourier_weight must be from 0 to 1, not 2.0"),
    ],
)
def test_settings_that_cannot_be_are_named(family: str, change: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        replace(FAMILIES[family][1], **change)


def test_a_perturbation_is_never_held_out_alone(stores: dict[str, Path], tmp_path: Path):
    """Two plates of five wells, each perturbation once a plate: its other well stays."""
    _, settings = FAMILIES["vit-classifier"]
    for share in (0.2, 0.9):
        chosen = replace(settings, validation=share)
        data = open_labelled([open_store(stores["first"])], 16, chosen, by_plate=False)
        names = data.fields["perturbation"].to_numpy()
        assert set(names[data.training]) == set(names)
        assert set(names[data.validation]) <= set(names[data.training])
        assert sorted([*data.training, *data.validation]) == list(range(10))


def test_plates_of_a_step_must_be_there_and_alike(stores: dict[str, Path], tmp_path: Path, resign):
    _, settings = FAMILIES["classifier"]
    many = replace(settings, plates_per_step=4)
    with pytest.raises(ValueError, match="plates_per_step must be at most 2, the number of plates"):
        pretrain_classifier(stores["first"], tmp_path / "run", settings=many)
    bytes_ = make_bytes(stores["first"], tmp_path / "bytes", resign)
    with pytest.raises(ValueError, match="plates_per_step must be 1 if some stores have uint8"):
        pretrain_classifier(stores["first"], bytes_, tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()
    one = replace(settings, plates_per_step=1)
    pretrain_classifier(stores["first"], bytes_, tmp_path / "run", settings=one)


def test_the_validation_loss_of_adabn_is_that_of_plates_with_their_own_statistics(
    stores: dict[str, Path], tmp_path: Path
):
    _, settings = FAMILIES["classifier"]
    pretrain_classifier(stores["first"], tmp_path / "run", settings=settings)
    model = weights.load(tmp_path / "run")
    data = open_labelled([open_store(stores["first"])], 32, settings, by_plate=True)
    labels = label_fields(data)
    total, count = 0.0, 0
    for held_out in data.validation_crops(256):
        fields = held_out.keys[:, 0].numpy()
        plate = data.fields["plate"][int(fields[0])]
        mates = np.flatnonzero(data.fields["plate"].to_numpy() == plate)
        reestimate(model, [network_input(centre_crops(data.reader, mates, 32), "cpu")])
        with torch.no_grad():
            logits = model.classify(model.embed(network_input(held_out, "cpu"))).double()
        right = torch.from_numpy(labels[fields])
        total += float(torch.nn.functional.cross_entropy(logits, right, reduction="sum"))
        count += len(fields)
    logged = [line for line in read_log(tmp_path / "run") if "validation_loss" in line]
    assert logged[-1]["validation_loss"] == pytest.approx(total / count, rel=1e-4)


def make_bytes(store: Path, path: Path, resign: Callable) -> Path:
    """Copy a store as one of uint8, with plates of other names."""
    shutil.copytree(store, path)
    settings = json.loads((path / "artefact.json").read_text())["settings"]
    resign(path, settings={**settings, "dtype": "uint8"}, identity="of bytes")
    fields = pl.read_parquet(path / "fields.parquet")
    for place in fields["path"]:
        pixels = np.asarray(zarr.open_array(path / place / "0", mode="r"))
        shutil.rmtree(path / place / "0")
        write_array(path / place / "0", (pixels % 256).astype(np.uint8))
    return path
