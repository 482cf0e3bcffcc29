"""Every recipe that trains takes two steps, as it stands."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phenomae.cli import FAMILIES, read_recipe
from phenomae.pretrain.channel_mae import ChannelMaeSettings, pretrain_channel_mae
from phenomae.pretrain.classifier import ClassifierSettings, pretrain_classifier
from phenomae.pretrain.unet_mae import UnetMaeSettings, pretrain_unet_mae
from phenomae.pretrain.vit_classifier import VitClassifierSettings, pretrain_vit_classifier
from phenomae.pretrain.vit_mae import VitMaeSettings, pretrain_vit_mae
from phenomae.runs import read_log

COMMANDS: dict[str, tuple[Any, Any]] = {
    "vit-mae": (pretrain_vit_mae, VitMaeSettings),
    "channel-mae": (pretrain_channel_mae, ChannelMaeSettings),
    "unet-mae": (pretrain_unet_mae, UnetMaeSettings),
    "classifier": (pretrain_classifier, ClassifierSettings),
    "vit-classifier": (pretrain_vit_classifier, VitClassifierSettings),
}
RECIPES = [
    (path, family)
    for path in sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
    for family in tomllib.loads(path.read_text()).get("pretrain", {})
]


def test_every_family_has_a_recipe():
    assert {family for _, family in RECIPES} == set(FAMILIES) == set(COMMANDS)


@pytest.mark.parametrize(("recipe", "family"), RECIPES, ids=[path.stem for path, _ in RECIPES])
def test_it_takes_two_steps(recipe: Path, family: str, make_store, tmp_path: Path):
    pretrain, kind = COMMANDS[family]
    table = read_recipe(recipe, ("pretrain", family))
    settings = kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in table.items()})
    rng = np.random.default_rng(0)
    pixels = {
        ("P1", well, 1): rng.integers(100, 4000, (2, settings.crop_size, settings.crop_size))
        for well in ("A01", "A02", "A03")
    }
    fields = {key: value.astype(np.uint16) for key, value in pixels.items()}
    store = make_store(tmp_path / "store", fields, ("DNA", "ER"))
    short = replace(settings, steps=2, crops_per_step=2, device="cpu")
    pretrain(store, tmp_path / "run", settings=short)
    assert read_log(tmp_path / "run")[-1]["step"] == 2
