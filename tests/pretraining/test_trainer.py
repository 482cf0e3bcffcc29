"""What a long training can count on: parts, explosions, stops, checkpoints, and clipping."""

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import nn

from phenomae import cli, progress
from phenomae.crops.random_numbers import Purpose, draw
from phenomae.crops.reader import CropReader
from phenomae.crops.stream import CropStream
from phenomae.crops.tensors import network_input
from phenomae.devices import Processes, count_processes, is_rank_zero
from phenomae.models.vit.vit_mae import VitMae
from phenomae.pretraining.blocks import checkpoint_activations
from phenomae.pretraining.callbacks.meter import Exploded, Meter
from phenomae.pretraining.data import open_data
from phenomae.pretraining.loop import Learner, split
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.pretraining.session import open_session
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.team import check_shares, gather_team
from phenomae.probes.commands import VitMaeSettings, pretrain_vit_mae
from phenomae.runs import read_log
from phenomae.store.read import open_store


@pytest.fixture
def stream(screen_path: Path) -> CropStream:
    """Eight crops a step."""
    return CropStream(
        CropReader([open_store(screen_path)], "memory"), [np.arange(20)], 16, 8, seed=0
    )


@pytest.fixture
def dropping(tiny: VitMaeSettings) -> VitMaeSettings:
    """A network of which crops skip blocks, enough to be felt."""
    return replace(tiny, drop_path=0.5, layer_scale=1.0)


def build(settings: VitMaeSettings) -> MaskedObjective:
    torch.manual_seed(0)
    objective = MaskedObjective(VitMae(settings.model, 2), settings.seed)
    objective.passes_per_crop = settings.masks_per_crop
    return objective


def learn(objective: nn.Module, stream: CropStream, steps: int = 3, **settings) -> list[dict]:
    """Take steps with plain gradient descent, and return their losses."""
    fabric = Fabric(accelerator="cpu", devices=1)
    wrapped = fabric.setup_module(objective)
    optimiser = fabric.setup_optimizers(torch.optim.SGD(objective.parameters(), lr=1.0))
    learner = Learner(fabric, wrapped, optimiser, lambda step: 0.01, **settings)  # pyright: ignore
    return [
        {name: float(value) for name, value in learner(stream.step(step), step).items()}
        for step in range(steps)
    ]


def test_streams_that_share_a_step_give_its_crops(stream: CropStream) -> None:
    whole = stream.step(5)
    for share in (range(3), range(3, 8)):
        part = replace(stream, share=share).step(5)
        assert part.rows == share
        assert torch.equal(part.pixels, whole.pixels[share.start : share.stop])
        assert torch.equal(part.keys, whole.part(share.start, share.stop).keys)
        assert torch.equal(part.turns, whole.turns[share.start : share.stop])


def test_drop_path_goes_by_a_crops_place_in_its_step(
    dropping: VitMaeSettings, stream: CropStream
) -> None:
    """The loss of a step is the mean of its parts' losses, where every crop weighs the same."""
    objective, crops = build(dropping), stream.step(4)
    nn.init.xavier_uniform_(objective.model.get_parameter("decoder.pred.weight"))
    whole = float(objective(crops, 4)["loss"])
    parts = [float(objective(part, 4)["loss"]) for part in split(crops, 2)]
    assert whole == pytest.approx(np.mean(parts), rel=1e-6)
    moved = [replace(part, first=(part.first + 2) % 8) for part in split(crops, 2)]
    assert whole != pytest.approx(
        np.mean([float(objective(p, 4)["loss"]) for p in moved]), rel=1e-4
    )


def test_several_masks_of_a_crop_train_as_a_crop_with_each(
    screen_path: Path, tiny: VitMaeSettings
) -> None:
    """The loss is the mean over three masks, which all differ; validation has one mask."""
    settings = replace(tiny, masks_per_crop=3, drop_path=0.0)
    data = MaskedObjective.open_data([open_store(screen_path)], settings)
    torch.manual_seed(0)
    objective = MaskedObjective.build(data, settings).train()
    assert isinstance(objective, MaskedObjective)
    nn.init.xavier_uniform_(objective.model.get_parameter("decoder.pred.weight"))
    crops = data.stream(settings, 1, pin=False).step(2)
    pixels = network_input(crops, "cpu")
    patches = (settings.crop_size // settings.patch_size) ** 2
    drawn = draw(settings.seed, 2, Purpose.MASK, crops.rows, 3 * patches).astype(np.float32)
    noises = torch.from_numpy(drawn).unflatten(1, (3, patches)).unbind(1)
    with torch.no_grad():
        outputs = [objective.model(pixels, noise) for noise in noises]
    assert not any(torch.equal(outputs[k].mask, outputs[k - 1].mask) for k in range(3))
    expected = np.mean([float(output.losses["loss"]) for output in outputs])
    found = objective(crops, 2)["loss"].item()
    assert found == pytest.approx(expected, rel=1e-6)
    noise = draw(settings.seed, 2, Purpose.MASK, crops.rows, patches).astype(np.float32)
    of_one = objective.model(pixels, torch.from_numpy(noise)).losses["loss"].item()
    assert float(objective.eval()(crops, 2)["loss"]) == pytest.approx(of_one, rel=1e-6)


@pytest.mark.parametrize("masks", [1, 2])
def test_gradients_of_parts_add_up(
    dropping: VitMaeSettings, stream: CropStream, masks: int
) -> None:
    dropping = replace(dropping, masks_per_crop=masks)
    one, other = build(dropping), build(dropping)
    first, second = learn(one, stream), learn(other, stream, crops_at_once=2)
    for whole, parts in zip(first, second, strict=True):
        assert parts == pytest.approx(whole, rel=1e-5)
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_inner_values_worked_out_twice_change_nothing(
    dropping: VitMaeSettings, stream: CropStream
) -> None:
    one, other = build(dropping), build(dropping)
    names = list(other.state_dict())
    checkpoint_activations(other.model)
    assert learn(other, stream) == learn(one, stream)
    assert list(other.state_dict()) == names
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_gradients_are_clipped_to_a_norm(tiny: VitMaeSettings, stream: CropStream) -> None:
    free, clipped = build(tiny), build(tiny)
    before = nn.utils.parameters_to_vector(free.parameters()).detach()
    norm = learn(free, stream, steps=1)[0]["gradient_norm"]
    assert learn(clipped, stream, steps=1, gradient_clip=norm / 4)[0]["gradient_norm"] == norm
    after = [nn.utils.parameters_to_vector(net.parameters()).detach() for net in (free, clipped)]
    move, clipped_move = (vector - before for vector in after)
    assert float(move.norm()) == pytest.approx(0.01 * norm, rel=1e-4)
    torch.testing.assert_close(clipped_move, move / 4, rtol=1e-3, atol=1e-7)


class Poisoned(MaskedObjective):
    """Loses its mind, in training, over one step."""

    def __init__(self, settings: VitMaeSettings, step: int, factor: float) -> None:
        torch.manual_seed(0)
        super().__init__(VitMae(settings.model, 2), settings.seed)
        self.poison = (step, factor)

    def forward(self, crops, step):
        losses = super().forward(crops, step)
        poisoned = self.training and step == self.poison[0]
        return {**losses, "loss": losses["loss"] * self.poison[1]} if poisoned else losses


@pytest.mark.parametrize(
    ("factor", "said"),
    [(float("nan"), "the loss of step 31 is nan"), (50.0, "but the median was 1.0")],
)
def test_a_step_that_explodes_is_passed_over(
    screen_path: Path,
    tiny: VitMaeSettings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    factor: float,
    said: str,
) -> None:
    settings = replace(tiny, steps=40, checkpoint_every=8, keep=9)
    data = open_data([open_store(screen_path)], 16, settings)
    team = gather_team(settings)
    (tmp_path / "run").mkdir()
    session = open_session(tmp_path / "run", Poisoned(tiny, 30, factor), data, settings, team)
    session.run()
    told = capsys.readouterr().err
    assert said in told
    assert "returning to step 24 and skipping step 31, whose crops are from P1.zarr/A/" in told
    assert session.skipped == {30}
    (record,) = [line for line in read_log(tmp_path / "run") if "passed_over" in line]
    assert (record["step"], record["back_to"]) == (31, 24)
    paths = data.fields["path"]
    rows = session.stream.step(30).keys[:, 0].unique().tolist()
    assert record["fields"] == [paths[row] for row in rows]
    # as one who never took that step, from the very start
    other = open_session(tmp_path / "other", build(tiny), data, settings, team)
    (tmp_path / "other").mkdir()
    other.skipped = {30}
    other.run()
    name = "checkpoints/step-00000040.safetensors"
    ours, theirs = (load_file(tmp_path / run / name) for run in ("run", "other"))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_loss_that_explodes_again_and_again_ends_the_run(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    settings = replace(tiny, lr=1e6, rollbacks=1)
    with pytest.raises(ValueError, match="after 1 skipped steps: lower lr, or set"):
        pretrain_vit_mae(screen_path, tmp_path / "run", settings=settings)


def test_what_counts_as_an_explosion(tiny: VitMaeSettings) -> None:
    def meet(losses: list[float], norms: list[float]) -> Meter:
        meter = Meter(gather_team(tiny), (5,), frozenset())
        for done, (loss, norm) in enumerate(zip(losses, norms, strict=True), start=1):
            pair = torch.tensor(loss), torch.tensor(norm)
            meter(done, {"loss": pair[0], "gradient_norm": pair[1]})
        return meter

    ones = [1.0] * 25
    assert meet(ones, ones).losses == [1.0] * 5
    assert list(meet([*ones[:-1], 4.9], ones).before)[-1] == pytest.approx(4.9)
    meet([9.0, 1.0, 50.0, 1.0, 1.0], ones[:5])  # too early to say
    with pytest.raises(Exploded, match=r"step 22 is 5\.1, but the median was 1") as error:
        meet([*ones[:21], 5.1, 1.0, 1.0, 1.0], ones)
    assert error.value.step == 21
    with pytest.raises(Exploded, match="the gradient norm of step 3 is inf"):
        meet(ones[:5], [1.0, 1.0, float("inf"), 1.0, 1.0])


def test_the_newest_checkpoints_and_the_milestones_stay(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    settings = replace(tiny, steps=20, checkpoint_every=3, keep=2, milestones=(0.05, 0.5, 1.0))
    pretrain_vit_mae(screen_path, tmp_path / "run", settings=settings)
    names = sorted(path.stem for path in (tmp_path / "run/checkpoints").iterdir())
    assert names == [f"step-{done:08d}" for done in (1, 10, 15, 18, 20)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_scheduler_stops_a_run_that_then_goes_on(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path, number: signal.Signals, fork: Callable
) -> None:
    settings = replace(tiny, steps=3000, checkpoint_every=2000, log_every=1000)
    run = tmp_path / "run"
    pretrain_vit_mae(screen_path, tmp_path / "whole", settings=replace(settings, steps=0))
    config = tmp_path / "whole/config.toml"
    config.write_text(config.read_text().replace("steps = 0\n", "steps = 3000\n"))
    process = fork(["pretrain", "vit-mae", screen_path, run, "--config", config])
    while not (run / "checkpoints/step-00000000.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(number)
    done = process.wait()
    said = done.stderr
    assert done.returncode == cli.TRY_AGAIN == 75
    assert f"stopped by {number.name} after" in said
    assert "the same command continues from there" in said
    saved = max(int(path.stem[5:]) for path in (run / "checkpoints").iterdir())
    assert 0 < saved < 3000
    assert f"after {saved} steps, which are saved" in said


@pytest.mark.parametrize(
    ("change", "processes", "sentence"),
    [
        ({}, 3, "crops_per_step must be a multiple of 3, the number of processes, not 256"),
        (
            {"crops_at_once": 60},
            2,
            "must be a divisor of 128, the crops per step and process, not 60",
        ),
    ],
)
def test_crops_that_cannot_be_shared(change: dict, processes: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_shares(TrainingSettings(**change), Processes(processes, processes))
    check_shares(TrainingSettings(crops_at_once=300), Processes(2, 2))


def test_processes_are_counted_as_torchrun_and_slurm_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert count_processes() == Processes(1, 1)
    assert is_rank_zero()
    slurm = {"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_PROCID": "3", "SLURM_JOB_NAME": "a"}
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    assert count_processes() == Processes(8, 4)
    assert not is_rank_zero()
    elastic = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3", "RANK": "0"}
    for name, value in elastic.items():
        monkeypatch.setenv(name, value)
    assert count_processes() == Processes(6, 3)
    assert is_rank_zero()


@pytest.mark.parametrize("rank", [0, 1])
def test_only_rank_zero_prints_before_the_processes_are_connected(
    rank: int,
    screen_path: Path,
    tiny: VitMaeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "_quiet", False)
    elastic = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    for name, value in {**elastic, "RANK": str(rank)}.items():
        monkeypatch.setenv(name, value)
    # Fails after the stores are opened, and before the processes would be connected.
    settings = replace(tiny, where="site > 0", crops_per_step=7)
    with pytest.raises(ValueError, match="multiple of 2, the number of processes"):
        pretrain_vit_mae(screen_path, tmp_path / "run", settings=settings)
    assert ("where 'site > 0' keeps" in capsys.readouterr().err) == (rank == 0)


def test_it_starts_from_other_weights(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With no step taken, a run holds the weights it was started from."""
    pretrain_vit_mae(screen_path, tmp_path / "first", settings=tiny)
    settings = replace(tiny, steps=0, init=tmp_path / "first", seed=5)
    pretrain_vit_mae(screen_path, tmp_path / "second", settings=settings)
    assert "vit-mae: encoder and decoder copied" in capsys.readouterr().err
    first, second = (
        load_file(tmp_path / run / "weights/model.safetensors") for run in ("first", "second")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    signature = json.loads((tmp_path / "second/artefact.json").read_text())
    assert "init" in signature["sources"]
    shutil.rmtree(tmp_path / "first/weights")
    with pytest.raises(ValueError, match=r"first is damaged: weights/config.json is missing"):
        pretrain_vit_mae(screen_path, tmp_path / "third", settings=settings)
    assert not (tmp_path / "third").exists()


def test_trackers_get_the_numbers_of_the_log_and_the_pictures(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    pretrain_vit_mae(screen_path, run, settings=replace(tiny, track=("tensorboard",)))
    shown = EventAccumulator(str(run / "tensorboard")).Reload()
    for name in ("loss", "validation_loss", "gradient_norm", "mfu"):
        logged = {line["step"]: line[name] for line in read_log(run) if name in line}
        events = {event.step: event.value for event in shown.Scalars(name)}
        assert events == pytest.approx(logged)
    pictures = [event.step for event in shown.Images("reconstructions")]
    assert pictures == [5, 10, 12]


def test_too_little_memory_is_one_sentence(
    screen_path: Path, tmp_path: Path, fork: Callable
) -> None:
    """A limit of 12 GB of address space, and a layer of 120 GB."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (12 * 10**9,) * 2)"
    words = ["pretrain", "vit-mae", screen_path, tmp_path / "run", "--steps=1", "--device=cpu"]
    words += ["--crop-size=16", "--patch-size=4", "--embed-dim=65536", "--num-heads=1"]
    done = fork(words, before=limit).wait()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "phenomae: out of memory: lower --crops-at-once, --crops-per-step"
    )
