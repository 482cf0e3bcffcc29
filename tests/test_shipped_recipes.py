"""The recipes of the package: found by name from any folder, listed with what they cost."""

import json
import re
import tomllib
from pathlib import Path

import pytest

import phenomae
from phenomae import cli
from phenomae.shipped_recipes import RECIPES, find_recipe, list_recipes, recipe_names

NAME = "demo-vit-mae"
SETTINGS = ("pretrain", "vit-mae")


def test_a_recipe_is_found_by_its_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = tomllib.loads((RECIPES / f"{NAME}.toml").read_text())["pretrain"]["vit-mae"]
    assert phenomae.read_recipe(NAME, SETTINGS) == table
    assert phenomae.read_recipe(Path(NAME), SETTINGS) == table
    (tmp_path / NAME).mkdir()  # a folder is no recipe
    assert phenomae.read_recipe(NAME, SETTINGS) == table
    (tmp_path / NAME).rmdir()
    Path(NAME).write_text("steps = 7\n")
    assert phenomae.read_recipe(NAME, SETTINGS) == {"steps": 7}
    assert phenomae.read_recipe(f"./{NAME}", SETTINGS) == {"steps": 7}


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (
            "demo-vit-mea",
            "nor a recipe of phenomae called 'demo-vit-mea': did you mean demo-vit-mae",
        ),
        ("mae-s61", "did you mean mae-s16 or "),
        ("zzz", "called 'zzz'; phenomae recipes lists those that come with phenomae"),
        ("recipes/mae-b8.toml", "there is no such recipe file: did you mean mae-b8 or"),
    ],
)
def test_a_recipe_that_is_not_there_names_those_like_it(recipe, sentence, capsys):
    words = ["pretrain", "vit-mae", "STORE", "RUN", f"--config={recipe}"]
    assert cli.run(words) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_plan_takes_a_recipe_by_name(capsys):
    words = ["plan", "pretrain", "vit-mae", "absent-store", "RUN", "--config"]
    assert cli.run([*words, NAME]) == 1
    assert "absent-store" in capsys.readouterr().err
    assert cli.run([*words, "demo-vit-mea"]) == 1
    assert "did you mean demo-vit-mae" in capsys.readouterr().err


def test_all_recipes_are_listed_with_what_they_cost(capsys):
    assert cli.run(["recipes"]) == 0
    blocks = {}
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith(" "):
            block = blocks[line] = {}
        else:
            key, _, value = line.strip().partition(" ")
            block[key] = value.strip()
    assert sorted(blocks) == sorted(path.stem for path in RECIPES.iterdir())
    for name, block in blocks.items():
        head = (RECIPES / f"{name}.toml").read_text().splitlines()[:5]
        known = dict(line.removeprefix("# ").split(": ", 1) for line in head)
        assert block == {key: value for key, value in known.items() if value != "not known"}


def test_the_quickest_recipes_are_listed_first(capsys):
    list_recipes()
    printed = capsys.readouterr().out
    hours = re.findall(r"^    hours +(.*)$", printed, re.MULTILINE)
    assert hours[0].startswith(".0 (")
    places = [
        hours.index(next(h for h in hours if h.startswith(s))) for s in (".07", "not run; .5")
    ]
    assert places == sorted(places)
    assert hours[-1].startswith("15,000")
    assert "hours" not in printed.rpartition("mae-l8\n")[2].partition("source")[2]  # not known


def test_json_has_one_object_per_recipe(capsys):
    assert cli.run(["recipes", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(item["name"] for item in found) == recipe_names()
    assert all(
        [*item] == ["name", "command", "hardware", "hours", "score", "source"] for item in found
    )
    assert cli.run(["recipes", "mae-l8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hours"].startswith("15,000 to 20,000 GPU-hours")


def test_a_recipe_is_printed_as_it_is(capsys):
    assert cli.run(["recipes", NAME]) == 0
    assert capsys.readouterr().out == find_recipe(NAME).read_text()
    assert cli.run(["recipes", "demo-vit-mea"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        "phenomae: phenomae has no recipe called 'demo-vit-mea': did you mean demo-vit-mae"
    )
