"""What a training is said to take: counted as torch counts, and as runs turn out to be."""

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_optimizer import Lion
from safetensors import safe_open
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from phenomae import cli
from phenomae.models.classifier import Classifier
from phenomae.models.settings import ClassifierModel
from phenomae.models.vit.vit_mae import VitMae
from phenomae.pretraining.plan.plan import plan
from phenomae.pretraining.plan.report import (
    DiskEstimate,
    Estimate,
    MachineEstimate,
    MemoryEstimate,
    NetworkEstimate,
    TimeEstimate,
    WorkEstimate,
    format_bytes,
    show,
)
from phenomae.pretraining.plan.timed_steps import resident_memory
from phenomae.probes.commands import VitMaeSettings, pretrain_vit_mae
from phenomae.runs import read_log

BURST_S = 0.1
PARTS = {
    "network": NetworkEstimate,
    "work": WorkEstimate,
    "machine": MachineEstimate,
    "memory": MemoryEstimate,
    "disk": DiskEstimate,
    "time": TimeEstimate,
}
PLANNED = ("plan", "pretrain", "vit-mae")


@pytest.fixture(scope="module")
def planned(screen_path: Path, tiny: VitMaeSettings, tmp_path_factory) -> Estimate:
    """The plan of a run in a folder that is not there."""
    return plan([screen_path, tmp_path_factory.mktemp("p") / "a" / "run"], tiny, BURST_S)


@pytest.fixture(scope="module")
def run(screen_path: Path, tiny: VitMaeSettings, tmp_path_factory) -> Path:
    """The run that was planned."""
    path = tmp_path_factory.mktemp("done") / "run"
    pretrain_vit_mae(screen_path, path, settings=tiny)
    return path


@pytest.fixture
def recipe(tmp_path: Path, tiny: VitMaeSettings) -> Path:
    """The settings of `tiny` and a short burst, as a recipe."""
    named = {name: value for name, value in asdict(tiny).items() if value is not None}
    lines = [f"{name} = {json.dumps(value)}" for name, value in named.items()]
    path = tmp_path / "recipe.toml"
    path.write_text(
        "\n".join(["[plan]", f"burst_s = {BURST_S}", "[pretrain.vit-mae]", *lines]) + "\n"
    )
    return path


def count(module: torch.nn.Module) -> int:
    return sum(part.numel() for part in module.parameters())


def tensor_bytes(path: Path) -> int:
    with safe_open(path, framework="np") as file:
        return sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118


def test_network_and_flops_are_those_that_torch_counts(planned, tiny):
    model = VitMae(tiny.model, ("DNA", "ER"))
    network = planned.network
    assert (network.family, network.channels, network.crop_size) == ("vit-mae", 2, 16)
    assert network.tokens == 1 + (16 // 4) ** 2
    assert network.encoder_parameters == count(model.encoder)
    assert network.decoder_parameters == count(model.decoder)
    assert network.parameters == count(model)
    model = model.to("meta")
    crops = (torch.empty(1, *shape, device="meta") for shape in [(2, 16, 16), (16,)])
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(*crops, full=False).losses["loss"].backward()
    assert planned.work.flops_per_crop == pytest.approx(counter.get_total_flops(), rel=0.005)
    assert planned.work.flops == 12 * 8 * planned.work.flops_per_crop


def test_every_mask_of_a_crop_has_its_flops(planned, screen_path, tiny, tmp_path):
    settings = replace(tiny, masks_per_crop=3)
    work = plan([screen_path, tmp_path / "run"], settings, BURST_S).work
    assert work.flops_per_crop == 3 * planned.work.flops_per_crop
    assert work.crops == planned.work.crops


def test_the_work_is_steps_times_crops_over_the_fields_to_train_on(planned):
    """Two of ten wells are held out, of two fields of 40 x 40 each."""
    work = planned.work
    assert (work.steps, work.crops_per_step, work.crops) == (12, 8, 96)
    assert (work.crops_per_process, work.crops_at_once) == (8, 8)
    assert (work.training_fields, work.validation_fields) == (16, 4)
    assert work.crops_per_field == 96 / 16
    assert work.views_per_pixel == pytest.approx(96 * 16 * 16 / (16 * 40 * 40))


def test_views_are_of_pixels_as_they_lie_in_the_stores(screen_path, make_store, tiny, tmp_path):
    """Of 0.5 um a pixel, so that a crop of 16 um has 32 of a store's pixels a side; the two fields
    of one plate are drawn as often as the twenty of the other. The steps are long for the burst."""
    rng = np.random.default_rng(0)
    pixels = {
        ("P2", f"A0{well}", 1): rng.integers(0, 9, (2, 50, 60)).astype(np.uint16) for well in (1, 2)
    }
    other = make_store(tmp_path / "other", pixels, ("DNA", "ER"))
    settings = replace(
        tiny, pixel_size_um=1.0, balance="plate", validation=0.0, crops_at_once=4, cache_gb=0.0
    )
    made = plan([screen_path, other, tmp_path / "run"], settings, burst_s=1e-6)
    assert (made.work.training_fields, made.work.validation_fields) == (22, 0)
    assert made.work.crops_per_field == pytest.approx(96 / 22)
    views = 96 * 32**2 / (20 * 40 * 40 + 2 * 50 * 60)
    assert made.work.views_per_pixel == pytest.approx(views)
    assert made.work.crops_at_once == 4
    assert made.memory.fields == 0
    assert (made.time.validations, made.time.validation_s) == (0, 0.0)
    assert made.time.measured_steps == 3


@pytest.mark.parametrize(
    ("name", "make"), [("lion", Lion), ("adamw", torch.optim.AdamW)], ids=["lion", "adamw"]
)
def test_memory_is_weights_gradients_and_moments(screen_path, tmp_path, tiny, name, make):
    planned = plan([screen_path, tmp_path / "run"], replace(tiny, optimiser=name), BURST_S)
    model = VitMae(tiny.model, ("DNA", "ER"))
    optimiser = make(model.parameters(), lr=1e-4)
    model(torch.rand(8, 2, 16, 16), torch.rand(8, 16)).losses["loss"].backward()
    optimiser.step()
    weights = sum(part.nbytes for part in model.parameters())
    gradients = sum(part.grad.nbytes for part in model.parameters() if part.grad is not None)
    moments = sum(
        value.nbytes
        for state in optimiser.state_dict()["state"].values()
        for value in state.values()
    )
    memory = planned.memory
    assert memory.state == weights + gradients + moments
    assert memory.fields == 20 * 2 * 40 * 40 * 2
    assert 0 <= memory.peak < 2e9


def test_the_memory_of_a_process_is_what_it_takes():
    before = resident_memory()
    taken = np.ones(100_000_000, np.uint8)
    assert 0.9e8 < resident_memory() - before < 1.5e8
    assert taken.nbytes == 100_000_000


def check_disk(disk: DiskEstimate, run: Path) -> None:
    """Compare with what lies there once the run is done; its last step is a checkpoint."""
    checkpoints = sorted((run / "checkpoints").iterdir())
    assert disk.checkpoints == len(checkpoints)
    assert disk.checkpoint == tensor_bytes(checkpoints[-1])
    weights = tensor_bytes(run / "weights/model.safetensors")
    assert disk.peak == weights + (len(checkpoints) + 1) * disk.checkpoint


def test_the_disk_is_what_a_run_takes(planned, run):
    check_disk(planned.disk, run)
    assert planned.disk.free == pytest.approx(shutil.disk_usage(run).free, rel=0.2)


def test_two_processes_are_reckoned_with_from_one(planned, screen_path, tiny, tmp_path):
    run, settings = tmp_path / "run", replace(tiny, milestones=(0.5, 1.0), keep=1, rollbacks=0)
    made = plan([screen_path, run], settings, BURST_S, processes=2)
    assert (made.work.crops_per_process, made.work.crops) == (4, 96)
    assert made.machine.strategy == "ddp"
    assert made.memory.state == planned.memory.state
    assert made.time.crops_per_s == pytest.approx(8 / made.time.seconds_per_step)
    assert made.time.device_hours == pytest.approx(2 * made.machine.cores * made.time.hours)
    alone = made.time.crops_per_s / 2 * made.work.flops_per_crop
    assert made.time.mfu == pytest.approx(alone / made.machine.peak_flops_per_s)
    gradients = format_bytes(made.disk.checkpoint - tensor_bytes_of_weights(tiny))
    assert made.notes == (
        "Measured in one process with the crops of one process; all processes are assumed to have "
        "a device like this one. Not included: the exchange of gradients, "
        f"{gradients} per step, for which each process needs {gradients} more memory.",
    )
    pretrain_vit_mae(screen_path, run, settings=settings)
    check_disk(made.disk, run)


def tensor_bytes_of_weights(settings: VitMaeSettings) -> int:
    model = VitMae(settings.model, ("DNA", "ER"))
    return sum(value.nbytes for value in model.state_dict().values())


def test_parts_of_a_network_a_full_disk_and_a_run_that_is_there_are_told(
    planned, run, screen_path, tiny, monkeypatch
):
    assert planned.notes == ()
    free = shutil.disk_usage(run)._replace(free=1_500)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    settings = replace(tiny, strategy="fsdp")
    made = plan([screen_path, run], settings, BURST_S, processes=2, measures_recall=True)
    assert made.machine.strategy == "fsdp"
    assert made.memory.state == planned.memory.state / 2
    full, there, recall, shared = made.notes
    assert full == (
        "The run does not fit on the disk: weights and checkpoints take up to "
        f"{format_bytes(planned.disk.peak)}, and 1.5 kB are free at {run}."
    )
    assert there == f"{run} already exists; the estimate is for all steps from the first."
    assert recall == "Time and memory for measuring recall are not included."
    assert shared.endswith(
        "and of weights; memory was measured with all weights, not with 1 / 2 of them."
    )


def test_the_time_is_steps_times_seconds_and_what_is_beside_them(planned, run):
    spent = planned.time
    validated = [line for line in read_log(run) if "validation_loss" in line]
    assert spent.validations == len(validated) == 4
    validating = 4 * spent.validation_s
    seconds = spent.start_s + 12 * spent.seconds_per_step + validating
    assert spent.hours == pytest.approx(seconds / 3600)
    assert spent.device_hours == pytest.approx(spent.hours * torch.get_num_threads())
    assert spent.validation_share == pytest.approx(validating / seconds)
    assert spent.crops_per_s == pytest.approx(8 / spent.seconds_per_step)
    done = spent.crops_per_s * planned.work.flops_per_crop
    assert spent.mfu == pytest.approx(done / planned.machine.peak_flops_per_s)
    assert 0 < spent.mfu < 1
    assert 0 <= spent.data_wait < 1


def test_steps_are_taken_by_the_clock(planned):
    spent = planned.time
    assert spent.measured_steps >= 3
    assert spent.measured_steps * spent.seconds_per_step >= BURST_S
    assert spent.start_s > 0
    assert spent.validation_s > 0


def test_nothing_is_written_but_a_table(screen_path, recipe, tmp_path, monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in screen_path.rglob("*")}
    monkeypatch.chdir(tmp_path)
    words = [*PLANNED, str(screen_path), "run", "--config", str(recipe), "--track", "tensorboard"]
    assert cli.run(words) == 0
    told = capsys.readouterr()
    assert told.out.startswith("network  family            vit-mae\n")
    assert told.err.splitlines()[-1] == "plan: timing the validation loss"
    assert list(tmp_path.iterdir()) == [recipe]
    assert {path: path.stat().st_mtime_ns for path in screen_path.rglob("*")} == before


def test_json_holds_all_of_a_plan(planned, capsys):
    show(planned, json=True)
    held = json.loads(capsys.readouterr().out)
    parts = {name: kind(**held[name]) for name, kind in PARTS.items()}
    assert Estimate(**parts, notes=tuple(held["notes"])) == planned


def test_the_table_says_the_same(planned, capsys):
    made = replace(planned, notes=("A sentence that is " + 30 * "long " + "enough.",))
    show(made)
    said = capsys.readouterr().out
    rows = {line[9:27].strip(): line[27:] for line in said.splitlines()}
    parts = re.findall(r"^(\w+)  ", said, re.MULTILINE)
    assert parts == list(PARTS)
    assert rows["encoder"] == f"{made.network.encoder_parameters:,} parameters"
    assert rows["total crops"] == "96"
    assert rows["fields"] == "128 kB, kept in memory"  # the last of that name: 20 x 2 x 40 x 40 x 2
    assert rows["checkpoints"] == "3 at the end"
    assert rows["core-hours"] == f"{made.time.device_hours:.3g}"
    assert max(map(len, said.splitlines())) <= 100
    assert said.endswith("long enough.\n")
    show(replace(planned, time=replace(planned.time, crops_per_s=48_211.6, device_hours=1320.4)))
    said = capsys.readouterr().out
    assert "crops per second  48,212\n" in said
    assert "core-hours        1,320\n" in said


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (999.4, "999 bytes"),
        (999.6, "1 kB"),
        (1_234_567, "1.23 MB"),
        (5e13, "50 TB"),
    ],
)
def test_bytes_are_told_in_three_digits(number, text):
    assert format_bytes(number) == text


def test_a_recipe_is_that_of_the_command_and_flags_win(screen_path, recipe, tmp_path, capsys):
    where = [str(screen_path), str(tmp_path / "run")]
    words = ["plan", "--json", "pretrain", "vit-mae", *where, "--steps", "7", "--quiet", "--config"]
    assert cli.run([*words, str(recipe)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    held = json.loads(told.out)
    assert (held["work"]["steps"], held["work"]["crops_per_step"]) == (7, 8)
    spent = held["time"]["measured_steps"] * held["time"]["seconds_per_step"]
    assert BURST_S <= spent < 10


def test_networks_of_other_families_are_planned(screen_path, tmp_path, capsys):
    """Nine of the ten wells' perturbations, at least, are there to train on: all of the classes."""
    classes = [str(number) for number in range(10)]
    model = Classifier(ClassifierModel(32, 4, 8, (2, 2), neck_dim=8), 2, classes)
    sizes = "--growth-rate 4 --first-width 8 --block-depths 2 --block-depths 2 --neck-dim 8"
    rest = "--crop-size 32 --steps 3 --crops-per-step 4 --device cpu --json --burst-s 0.01"
    where = [str(screen_path), str(tmp_path / "run")]
    assert cli.run(["plan", "pretrain", "classifier", *where, *sizes.split(), *rest.split()]) == 0
    held = json.loads(capsys.readouterr().out)
    assert held["network"]["family"] == "classifier"
    assert held["network"]["parameters"] == count(model)
    assert held["work"]["crops"] == 12


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.run([*words, "--quiet"])
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("phenomae: ")
    assert said.err.count("\n") == 1
    return code, said.err


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        (
            "plan",
            2,
            "plan takes a pretrain command line, like pretrain vit-mae STORE RUN, and ",
        ),
        ("plan --json", 2, "and none was given"),
        ("plan embed STORE RUN WELLS", 2, "pretrain vit-mae STORE RUN, not 'embed STORE'"),
        ("plan pretrain", 2, "pretrain vit-mae STORE RUN, not 'pretrain'"),
        ("plan pretrain vit-mea S R", 2, "no command 'vit-mea': did you mean vit-mae?"),
        ("plan pretrain vit-mae STORE", 2, "RUN"),
        ("plan pretrain vit-mae S R --stepz 5", 2, "Unknown option: --stepz. Did you mean --steps"),
        ("plan pretrain vit-mae S R --steps x", 2, "--steps"),
        ("plan pretrain vit-mae S R --burst-s x", 2, "--burst-s"),
        ("plan pretrain vit-mae S R --patch-size 7", 1, "a multiple of --patch-size 7, not 256"),
        ("plan pretrain vit-mae S R --burst-s 0", 1, "burst_s must be above 0, not 0.0"),
        ("plan pretrain vit-mae S R --burst-s inf", 1, "burst_s must be above 0, not inf"),
        ("plan pretrain vit-mae S R --processes 0", 1, "processes must be at least 1, not 0"),
        (
            "plan pretrain vit-mae S R --processes 3",
            1,
            "a multiple of 3, the number of proce",
        ),
        ("plan pretrain vit-mae absent R", 1, "absent"),
        ("plan pretrain vit-mae STORE s3://bucket/run", 1, "s3://bucket/run cannot be a run"),
    ],
)
def test_what_cannot_be_planned_is_told_in_a_sentence(line, code, sentence, capsys):
    assert refused(line.split(), capsys) == (code, Holding(sentence))


class Holding(str):
    """Equal to every text that it is a part of."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and str(self) in other

    __hash__ = str.__hash__


def test_a_recipe_of_wrong_settings_is_named(screen_path, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    words = [*PLANNED, str(screen_path), str(tmp_path / "run"), "--config", str(recipe)]
    for text, sentence in (
        ("[pretrain.vit-mae]\nstepz = 5\n", "there is no setting 'stepz': did you mean steps?"),
        ("[plan]\nburst = 5\n[pretrain.vit-mae]\n", "no setting 'burst': did you mean burst_s?"),
        ("[pretrain.unet-mae]\n", "no settings for pretrain vit-mae: it is a recipe for pretrain"),
    ):
        recipe.write_text(text)
        assert refused(words, capsys) == (1, Holding(sentence))


def test_a_plan_is_made_by_one_process(screen_path, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="plan runs in one process, not in 2: start it"):
        plan([screen_path, tmp_path / "run"], tiny)
