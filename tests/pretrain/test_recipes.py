"""Every recipe that trains takes two steps, as it stands."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phenomae.cli import read_recipe
from phenomae.pretrain.vit_mae import VitMaeSettings, pretrain_vit_mae
from phenomae.runs import read_log

RECIPES = [
    path
    for path in sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
    if "vit-mae" in tomllib.loads(path.read_text()).get("pretrain", {})
]


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_it_takes_two_steps(recipe: Path, make_store, tmp_path: Path):
    settings = VitMaeSettings(**read_recipe(recipe, ("pretrain", "vit-mae")))
    rng = np.random.default_rng(0)
    pixels = {
        ("P1", well, 1): rng.integers(100, 4000, (2, settings.crop_size, settings.crop_size))
        for well in ("A01", "A02", "A03")
    }
    fields = {key: value.astype(np.uint16) for key, value in pixels.items()}
    store = make_store(tmp_path / "store", fields, ("DNA", "ER"))
    short = replace(settings, steps=2, crops_per_step=2, device="cpu")
    pretrain_vit_mae(store, tmp_path / "run", settings=short)
    assert read_log(tmp_path / "run")[-1]["step"] == 2
