"""Every recipe says what it is, is for the network it names, and takes two steps."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phenomae import cli, command_parser, shipped_recipes
from phenomae.commands import GROUPS
from phenomae.models.build import find_network
from phenomae.models.cost.catalogue import describe
from phenomae.runs import read_log

ROOT = Path(__file__).parents[2]
RECIPES = {path.stem: path for path in sorted(shipped_recipes.RECIPES.glob("*.toml"))}
EACH = pytest.mark.parametrize("name", RECIPES)
HEAD = ("command", "hardware", "hours", "score", "source")

NETWORKS = {
    "mae-s16": ("vit-mae", "S/16"),
    "mae-b16": ("vit-mae", "B/16"),
    "mae-b8": ("vit-mae", "B/8"),
    "mae-l16": ("vit-mae", "L/16"),
    "mae-l8": ("vit-mae", "L/8"),
    "channel-mae-s16": ("channel-mae", "S/16"),
    "unet-mae-m": ("unet-mae", "M"),
    "unet-mae-l": ("unet-mae", "L"),
    "classifier-densenet161": ("classifier", "DenseNet-161"),
    "classifier-densenet161-no-adabn": ("classifier", "DenseNet-161"),
    "vit-classifier-b16": ("vit-classifier", "B/16"),
    "vit-classifier-l16": ("vit-classifier", "L/16"),
}
"""The networks of the papers; those of `vit-mae` have a recipe with "-plus" too."""
PLUS = [f"{name}-plus" for name, (family, _) in NETWORKS.items() if family == "vit-mae"]
PUBLISHED = pytest.mark.parametrize("name", NETWORKS)

COUNTED = {
    "S/16": 21_968_256,
    "B/16": 86_400_768,
    "B/8": 86_105_856,
    "L/16": 304_057_344,
    "L/8": 303_664_128,
}
"""Parameters of a transformer's encoder, as counted on the authors' code."""

_VIT = {"crop_size": 32, "embed_dim": 16, "depth": 2, "num_heads": 2}
_DECODER = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
SMALL: dict[str, dict[str, Any]] = {
    "vit-mae": _VIT | _DECODER,
    "channel-mae": _VIT | _DECODER | {"cross_num_heads": 2},
    "unet-mae": {"crop_size": 64, "widths": 4},
    "classifier": {"crop_size": 32, "growth_rate": 4, "first_width": 8, "block_depths": 2},
    "vit-classifier": _VIT,
}
"""What makes a published network one of milliseconds; a list gets the number at every place."""


def table_of(name: str) -> tuple[str, dict[str, Any]]:
    """Return the family that a recipe trains, and the settings it has for it."""
    ((family, table),) = tomllib.loads(RECIPES[name].read_text())["pretrain"].items()
    return family, table


def head_of(name: str) -> dict[str, str]:
    """Return what a recipe's first comments say, by their names, in their order."""
    lines = RECIPES[name].read_text().splitlines()[: len(HEAD)]
    found = [re.fullmatch(r"# (\w+): (\S.*)", line) for line in lines]
    assert all(found), f"{name}: its first lines are not # {', # '.join(HEAD)}"
    return {match[1]: match[2] for match in found if match}


def settings_of(name: str) -> Any:
    """Return the settings that a recipe's own command would train with."""
    words = head_of(name)["command"].split()[1:]
    return command_parser.parse(words[: words.index("--config")], Path(words[-1]))["settings"]


def flags_of(settings: dict[str, Any]) -> list[str]:
    """Return settings as flags of a command line; those of a list, one for each number."""
    return [
        f"--{key.replace('_', '-')}={part}"
        for key, value in settings.items()
        for part in (value if isinstance(value, list) else [value])
    ]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Work on one thread: on a busy machine two wait for each other longer than they work."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_store) -> Path:
    """Two plates of four wells, each well another perturbation, a field of 2 x 64 x 64 each."""
    rng = np.random.default_rng(0)
    fields = {
        (plate, f"A0{well}", 1): rng.integers(100, 4000, (2, 64, 64)).astype(np.uint16)
        for plate in ("P1", "P2")
        for well in (1, 2, 3, 4)
    }
    return make_store(tmp_path_factory.mktemp("screen") / "store", fields, ("DNA", "ER"))


def test_every_network_and_every_family_has_a_recipe():
    published = {name for name in RECIPES if head_of(name)["source"].startswith("published")}
    assert published == {*NETWORKS, *PLUS}
    assert {table_of(name)[0] for name in RECIPES if name.startswith("demo")} == {
        *GROUPS["pretrain"].table
    }


@EACH
def test_its_first_lines_say_what_it_is(name: str):
    head = head_of(name)
    family, _ = table_of(name)
    assert tuple(head) == HEAD
    command = f"phenomae pretrain {family} STORE RUN --config {name}"
    assert head["command"] == command
    measured = head["source"] == "measured by us (docs/log.md)"
    untried = head["source"].startswith("untried (not run")
    published = re.fullmatch(r"published \(.*arXiv \d{4}\.\d{5}.*\)", head["source"])
    assert measured or untried or published
    if untried:
        assert all(head[key].startswith("not run") for key in ("hardware", "hours", "score"))
    if measured:
        assert "not known" not in " ".join(head.values())
        assert re.match(r"\d*\.\d+ \(", head["hours"])


@EACH
def test_its_command_parses_it(name: str):
    family, table = table_of(name)
    settings = settings_of(name)
    assert settings.network.family == family
    for key, value in table.items():
        assert getattr(settings, key) == (tuple(value) if isinstance(value, list) else value), key


@PUBLISHED
def test_its_network_is_the_one_it_is_named_after(name: str):
    family, size = NETWORKS[name]
    model = settings_of(name).model
    assert table_of(name)[0] == family
    assert model == find_network(family).SIZES[size]
    assert {*vars(model)} <= {*table_of(name)[1]}, "a recipe must not hang on defaults"
    if size in COUNTED and "vit" in family:
        entry = describe(family, size, model, channels=6)
        assert entry.encoder_parameters == COUNTED[size]
        if family == "vit-mae":
            width, pixels = model.embed_dim, 6 * model.patch_size**2
            around = (width + 1) * 512 + (512 + 1) * pixels
            assert entry.decoder_parameters == 25_220_608 + around


@pytest.mark.parametrize("name", PLUS)
def test_a_plus_differs_by_the_fourier_loss_alone(name: str):
    plain = settings_of(name.removesuffix("-plus"))
    assert plain.fourier_weight == 0
    assert settings_of(name) == replace(plain, fourier_weight=0.01)


@PUBLISHED
def test_it_trains_as_was_published(name: str):
    """What is known of the published trainings; what is not is left to the recipe's comments."""
    family, size = NETWORKS[name]
    settings = settings_of(name)
    assert settings.crop_size == 256
    assert (settings.betas, settings.weight_decay, settings.warmup) == ((0.9, 0.95), 0.05, 0.1)
    if family.endswith("mae"):
        assert settings.mask_ratio == (0.25 if family == "unet-mae" else 0.75)
        assert not settings.normalise_targets
    if family in ("vit-mae", "channel-mae"):
        large = size.startswith("L")
        assert settings.lr == (3e-5 if large else 1e-4)
        assert settings.drop_path == (0.3 if large else 0.1)
    if size == "S/16":
        assert settings.crops_per_step == 2048
    if name == "mae-l8":
        assert settings.crops_per_step == 16384
        assert settings.steps == round(38 * 93e6 / 16384)
    if family == "classifier":
        assert settings.adabn == ("off" if name.endswith("no-adabn") else "on")
        assert (settings.neck_dim, settings.plates_per_step) == (128, 1)


@EACH
def test_it_takes_two_steps(name: str, store: Path, tmp_path: Path):
    """On eight fields of noise, by its command.

    Measured recipes keep their networks. Of others, which are far too large for this, flags
    replace sizes: crop, widths, depths and heads (`SMALL`). Of all, they replace the numbers of
    steps and of crops a step. Every other setting is the recipe's, as the run's own record says.
    """
    family, table = table_of(name)
    flags: dict[str, Any] = {"steps": 2, "crops_per_step": 2, "device": "cpu"}
    if not head_of(name)["source"].startswith("measured"):
        flags |= {
            key: [value] * len(table[key]) if isinstance(table[key], list) else value
            for key, value in SMALL[family].items()
        }
    if table.get("pair_weight"):
        flags |= {"pair_weight": 0}  # the store has no wells of one perturbation on two plates
    words = ["pretrain", family, str(store), str(tmp_path / "run"), "--quiet"]
    words += ["--config", str(RECIPES[name]), *flags_of(flags)]
    assert cli.run(words) == 0
    assert read_log(tmp_path / "run")[-1]["step"] == 2
    config = tomllib.loads((tmp_path / "run/config.toml").read_text())
    assert config["pretrain"][family].items() >= (table | flags).items()


@pytest.mark.parametrize(
    ("name", "command", "tables"),
    [
        ("classifier-densenet161", "pretrain vit-mae", "pretrain classifier"),
        ("mae-l8", "pretrain channel-mae", "pretrain vit-mae"),
        ("bbbc013", "pretrain classifier", "ingest, pretrain vit-mae, embed, correct"),
        ("mae-s16", "embed", "pretrain vit-mae"),
    ],
)
def test_a_recipe_for_another_command_is_refused(
    name: str, command: str, tables: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    paths = [str(tmp_path / name) for name in ("store", "run", "wells")]
    words = [*command.split(), *paths[: 3 if command == "embed" else 2]]
    assert cli.run([*words, "--config", str(RECIPES[name])]) == 1
    sentence = f"{RECIPES[name]} has no settings for {command}: it is a recipe for {tables}"
    assert capsys.readouterr().err == f"phenomae: {sentence}\n"
    assert list(tmp_path.iterdir()) == []


def test_the_page_lists_every_recipe():
    page = (ROOT / "docs/pretrain.md").read_text()
    rows = page.partition("\n| recipe |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [row.strip("|").split("|") for row in rows]
    sources = {name: cell[2].strip() for cell in cells for name in re.findall("`(.+?)`", cell[0])}
    assert sources == {name: head_of(name)["source"].split()[0] for name in RECIPES}
