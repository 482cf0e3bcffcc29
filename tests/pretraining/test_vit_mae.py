"""The command that trains: what it writes, that it can be stopped, and what it refuses."""

import json
import shutil
import signal
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from phenomae import cli
from phenomae.models.vit.vit_mae import VitMae
from phenomae.pretraining.data import open_data
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.probes.commands import VitMaeSettings, pretrain_vit_mae
from phenomae.runs import append_log, read_log
from phenomae.signatures import read_signature
from phenomae.store.read import open_store
from phenomae.weights import io as weights

ARTEFACT = (
    "artefact.json",
    "config.toml",
    "reconstructions.png",
    "weights/config.json",
    "weights/model.safetensors",
    "checkpoints/step-00000004.safetensors",
    "checkpoints/step-00000008.safetensors",
    "checkpoints/step-00000012.safetensors",
)


@pytest.fixture(scope="module")
def run(screen_path: Path, tiny: VitMaeSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    pretrain_vit_mae(screen_path, path, settings=tiny)
    return path


def contents(run: Path) -> dict[str, object]:
    """Every file of a run by its name, those that hold clocks and their checksums left out."""
    clocks = {"log.jsonl", "environment.txt"}
    files = [path for path in run.rglob("*") if path.is_file()]
    names = {str(path.relative_to(run)): path.read_bytes() for path in files}
    signature = json.loads(names["artefact.json"])
    del signature["checksum"]
    for name in clocks:
        del signature["files"][name]
    kept = {name: names[name] for name in sorted(names.keys() - clocks)}
    return {**kept, "artefact.json": signature}


def numbers(run: Path) -> list[dict]:
    """What the log says, speeds and clocks left out."""
    clocks = ("time", "seconds", "crops_per_s", "data_wait", "mfu")
    lines = (run / "log.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key not in clocks}
        for line in lines
    ]


def test_a_run_is_whole(run: Path, screen_path: Path, tiny: VitMaeSettings) -> None:
    assert tuple(sorted(contents(run))) == tuple(sorted(ARTEFACT))
    config = json.loads((run / "weights/config.json").read_text())
    screen = open_store(screen_path)
    assert config["channels"] == ["DNA", "ER"]
    assert config["intensity"] == "window"
    assert config["pixel_size_um"] == 0.5
    assert config["store"] == screen.identity
    assert config["identity"] == read_signature(run, "run")["identity"]
    assert VitMaeSettings(**config["model"]).model == tiny.model
    full = tomllib.loads((run / "config.toml").read_text())["pretrain"]["vit-mae"]
    recall = {"recall_every", "recall_wells", "recall_crops", "recall_method"}
    named = {name for name, value in asdict(tiny).items() if value is not None}
    assert full.keys() == named | recall
    assert "device cpu" in (run / "environment.txt").read_text()
    assert "precision float32" in (run / "environment.txt").read_text()
    folder = run.stat().st_mode & 0o666
    assert {path.stat().st_mode & 0o666 for path in run.rglob("*")} == {folder}


def test_the_log_has_loss_rate_and_validation(run: Path, tiny: VitMaeSettings) -> None:
    log = read_log(run)
    losses = {line["step"]: line for line in log if "loss" in line}
    assert list(losses) == [3, 4, 6, 8, 9, 12]  # log_every, and where checkpoints are
    assert losses[3].keys() == {
        *("step", "loss", "lr", "gradient_norm", "flops", "crops_per_s", "data_wait", "mfu"),
        *("seconds", "time"),
    }
    assert [line["step"] for line in log if "validation_loss" in line] == [0, 5, 10, 12]
    assert losses[12]["lr"] == pytest.approx(tiny.lr / 25 / 1e4)


def test_a_logged_loss_is_the_mean_since_the_line_before(
    screen_path: Path, tiny: VitMaeSettings, run: Path, tmp_path: Path
) -> None:
    pretrain_vit_mae(screen_path, tmp_path / "run", settings=replace(tiny, log_every=1))
    single = {line["step"]: line["loss"] for line in read_log(tmp_path / "run") if "loss" in line}
    means = {line["step"]: line["loss"] for line in read_log(run) if "loss" in line}
    assert means[3] == pytest.approx(np.mean([single[step] for step in (1, 2, 3)]), rel=1e-6)
    assert means[4] == pytest.approx(single[4], rel=1e-6)


def test_the_validation_loss_is_that_of_the_final_weights(
    run: Path, screen_path: Path, tiny: VitMaeSettings
) -> None:
    objective = MaskedObjective(weights.load(run), tiny.seed).eval()
    (crops,) = open_data([open_store(screen_path)], 16, tiny).validation_crops(256)
    expected = objective(crops, 0)["loss"].item()
    assert read_log(run)[-1]["validation_loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("precision", [pytest.param("float32", marks=pytest.mark.slow), "bf16"])
def test_it_learns(screen_path: Path, tiny: VitMaeSettings, tmp_path: Path, precision: str) -> None:
    """A guess of the mean has a loss of 1 in training, and what it had at first in validation."""
    wider = replace(tiny, embed_dim=48, decoder_embed_dim=48, mask_ratio=0.5, precision=precision)
    settings = replace(
        wider,
        steps=300,
        crops_per_step=16,
        lr=1e-3,
        log_every=50,
        checkpoint_every=300,
        validation_every=300,
    )
    pretrain_vit_mae(screen_path, tmp_path / "run", settings=settings)
    log = read_log(tmp_path / "run")
    training = [line["loss"] for line in log if "loss" in line]
    validation = [line["validation_loss"] for line in log if "validation_loss" in line]
    assert training[-1] < 0.9
    assert validation[-1] < 0.95 * validation[0]


def test_a_loss_that_is_no_number_ends_the_run(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"the loss of step 6 is nan, .*lower lr, or set"):
        pretrain_vit_mae(screen_path, tmp_path / "run", settings=replace(tiny, lr=1e6))
    assert not (tmp_path / "run" / "weights").exists()


def test_zero_steps_give_the_first_weights(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    pretrain_vit_mae(screen_path, tmp_path / "run", settings=replace(tiny, steps=0))
    torch.manual_seed(tiny.seed)
    expected = VitMae(tiny.model, 2).state_dict()
    found = weights.load(tmp_path / "run").state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert [line["step"] for line in read_log(tmp_path / "run")] == [0]


def test_sigkill_and_running_again_gives_the_same_bytes(
    run: Path, screen_path: Path, tmp_path: Path, fork: Callable
) -> None:
    again = tmp_path / "run"
    words = ["pretrain", "vit-mae", screen_path, again, "--config", run / "config.toml"]
    process = fork(words)
    deadline = time.monotonic() + 120
    while not (again / "checkpoints/step-00000004.safetensors").exists():
        assert process.poll() is None, process.said.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    append_log(again, step=99, loss=0.0)  # a step done after the last checkpoint
    with open(again / "log.jsonl", "a") as file:
        file.write('{"step": 100, "lo')

    assert cli.run([*map(str, words)]) == 0
    assert contents(again) == contents(run)
    assert numbers(again) == numbers(run)


@pytest.mark.parametrize("lost", ["end", "checkpoints", "signature of the beginning"])
def test_a_run_stopped_elsewhere_ends_the_same(
    run: Path, screen_path: Path, tiny: VitMaeSettings, tmp_path: Path, lost: str, resign
) -> None:
    again = tmp_path / "run"
    shutil.copytree(run, again)
    resign(again, identity=None, files={})
    (again / "weights/model.safetensors").write_bytes(b"cut sho")
    (again / "reconstructions.png.0a1b2c3d.partial").write_bytes(b"")
    if lost != "end":
        shutil.rmtree(again / "checkpoints")
    if lost == "signature of the beginning":
        shutil.rmtree(again)
        again.mkdir()
        (again / "artefact.json.0a1b2c3d.partial").write_text("{")
    pretrain_vit_mae(screen_path, again, settings=tiny)
    assert contents(again) == contents(run)
    assert numbers(again) == numbers(run)


def test_a_finished_run_is_left_alone(
    run: Path, screen_path: Path, tiny: VitMaeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    pretrain_vit_mae(screen_path, run, settings=replace(tiny, cache_gb=0.0))
    assert "already there" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_crops_read_one_by_one_train_the_same(
    run: Path, screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    pretrain_vit_mae(screen_path, tmp_path / "run", settings=replace(tiny, cache_gb=0.0))
    name = "weights/model.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_other_settings_are_refused_unless_overwritten(
    run: Path, screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    again = tmp_path / "run"
    shutil.copytree(run, again)
    other = replace(tiny, steps=4)
    with pytest.raises(ValueError, match="another setting: steps = 12, now 4"):
        pretrain_vit_mae(screen_path, again, settings=other)
    pretrain_vit_mae(screen_path, again, settings=other, overwrite=True)
    assert json.loads((again / "weights/config.json").read_text())["steps"] == 4
    assert not (tmp_path / "run.replaced").exists()
    names = [f"step-{done:08d}.safetensors" for done in (0, 4)]
    assert sorted(path.name for path in again.glob("checkpoints/*")) == names


def test_an_unfinished_run_of_other_settings_is_refused(
    run: Path, screen_path: Path, tiny: VitMaeSettings, tmp_path: Path, resign
) -> None:
    again = tmp_path / "run"
    shutil.copytree(run, again)
    resign(again, identity=None, files={})
    with pytest.raises(ValueError, match=r"another setting: lr = 0\.0001, now 0\.5"):
        pretrain_vit_mae(screen_path, again, settings=replace(tiny, lr=0.5))


def test_overwrite_spares_what_is_no_run(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no run"):
        pretrain_vit_mae(screen_path, tmp_path, settings=tiny, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    run: Path,
    screen_path: Path,
    tiny: VitMaeSettings,
    tmp_path: Path,
    resign: Callable,
    capsys: pytest.CaptureFixture[str],
) -> None:
    again = tmp_path / "run"
    shutil.copytree(run, again)
    resign(again, identity=None, files={})
    last = again / "checkpoints/step-00000012.safetensors"
    last.write_bytes(last.read_bytes()[:1000])
    pretrain_vit_mae(screen_path, again, settings=tiny)
    said = capsys.readouterr().err
    assert "step-00000012.safetensors is damaged (" in said
    assert "continuing from step-00000008.safetensors" in said
    assert contents(again) == contents(run)
    resign(again, identity=None, files={})
    for path in again.glob("checkpoints/*"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"and no other checkpoint can be read: delete .*ch"):
        pretrain_vit_mae(screen_path, again, settings=tiny)


def test_a_crop_larger_than_the_smallest_field_is_refused(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"crop_size 48 is larger than a field .* 40 x 40 pixels"):
        pretrain_vit_mae(screen_path, tmp_path / "run", settings=replace(tiny, crop_size=48))
    assert not (tmp_path / "run").exists()


def test_an_empty_store_is_refused(tiny: VitMaeSettings, tmp_path: Path, make_store) -> None:
    store = make_store(tmp_path / "store", {}, ["DNA"])
    with pytest.raises(ValueError, match="has no field to train on"):
        pretrain_vit_mae(store, tmp_path / "run", settings=tiny)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="device must be cpu or auto, not cuda"):
        pretrain_vit_mae(screen_path, tmp_path / "run", settings=replace(tiny, device="cuda"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("steps", -1),
        ("crops_per_step", 0),
        ("seed", -1),
        ("checkpoint_every", 0),
        ("log_every", 0),
        ("validation_every", 0),
        ("validation_crops", 0),
        ("lr", float("nan")),
        ("weight_decay", -0.1),
        ("cache_gb", -1.0),
        ("warmup", 1.0),
        ("validation", 1.5),
        ("betas", (0.9, 1.0)),
        ("patch_size", 5),
    ],
)
def test_settings_that_cannot_be_are_named(
    tiny: VitMaeSettings, setting: str, value: float
) -> None:
    with pytest.raises(ValueError, match=setting):
        replace(tiny, **{setting: value})


def test_the_command_says_what_is_wrong_in_one_line(
    screen_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(screen_path), str(tmp_path / "run")]
    assert cli.run(["pretrain", "vit-mae", *paths, "--patch-size", "7"]) == 1
    assert "multiple of --patch-size 7" in capsys.readouterr().err
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[pretrain.vit-mae]\nstepz = 3\n")
    assert cli.run(["pretrain", "vit-mae", *paths, "--config", str(recipe)]) == 1
    error = capsys.readouterr().err
    assert "stepz" in error
    assert str(recipe) in error
    assert not (tmp_path / "run").exists()
