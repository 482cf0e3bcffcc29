"""The parts around the loop, each against an outside oracle."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from phenomae.crops.reader import CropReader
from phenomae.crops.stream import CropStream
from phenomae.devices import bf16_is_fast, open_machine
from phenomae.models.settings import ChannelMaeModel
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.vit_mae import VitMae
from phenomae.pretraining.loop import train
from phenomae.pretraining.objectives.masked import MaskedObjective, MaskedSettings
from phenomae.pretraining.optimiser import build_optimiser, one_cycle
from phenomae.pretraining.session import identify, is_compiled
from phenomae.pretraining.settings import OptimiserName, TrainingSettings
from phenomae.pretraining.validation_split import split_fields
from phenomae.probes import commands
from phenomae.probes.commands import ChannelMaeSettings, VitMaeSettings
from phenomae.store.read import open_store


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.1), (250, 0.3), (37, 0.2)])
def test_the_cycle_is_that_of_torch(steps: int, warmup: float) -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=3e-4, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    expected = []
    for _ in range(steps):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step() if len(expected) < steps else None
    ours = one_cycle(3e-4, steps, warmup)
    np.testing.assert_allclose([ours(step) for step in range(steps)], expected, rtol=1e-9)


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_a_short_cycle_stays_between_its_ends(steps: int) -> None:
    schedule = one_cycle(1.0, steps, 0.1)
    assert all(0 < schedule(step) <= 1 for step in range(steps))


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.matrix = nn.Parameter(torch.randn(3, 4))
        self.patch_embed = nn.Linear(3, 4, bias=False)
        self.bias = nn.Parameter(torch.randn(4))
        self.token = nn.Parameter(torch.randn(1, 1, 4))


Updates = Iterator[np.ndarray]
"""What an optimiser subtracts in each step, times the learning rate."""


def lion(gradients: Iterable[np.ndarray]) -> Updates:
    momentum = np.zeros(1)
    for gradient in gradients:
        yield np.sign(0.9 * momentum + 0.1 * gradient)
        momentum = 0.95 * momentum + 0.05 * gradient


def adamw(gradients: Iterable[np.ndarray]) -> Updates:
    first, second = np.zeros(1), np.zeros(1)
    for step, gradient in enumerate(gradients, start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        yield first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.95**step)) + 1e-8)


def muon(gradients: Iterable[np.ndarray]) -> Updates:
    momentum = np.zeros(1)
    for gradient in gradients:
        momentum = 0.95 * momentum + 0.05 * gradient
        update = 0.05 * gradient + 0.95 * momentum
        update = update / np.linalg.norm(update)
        for _ in range(5):  # Newton-Schulz
            square = update @ update.T
            update = 3.4445 * update + (-4.7750 * square + 2.0315 * square @ square) @ update
        yield 0.2 * np.sqrt(max(update.shape)) * update


@pytest.mark.parametrize(
    ("name", "of_matrix", "of_others", "tolerance"),
    [("lion", lion, lion, 1e-5), ("adamw", adamw, adamw, 1e-5), ("muon", muon, adamw, 2e-2)],
)
def test_optimisers_take_the_steps_of_their_papers_and_let_matrices_alone_decay(
    name: OptimiserName, of_matrix: Callable, of_others: Callable, tolerance: float
) -> None:
    parts = Parts()
    optimiser = build_optimiser(name, parts, lr=0.01, betas=(0.9, 0.95), weight_decay=0.5)
    for part, parameter in parts.named_parameters():
        decay = 0.5 if part in ("matrix", "patch_embed.weight") else 0.0
        weight, draw = parameter.detach().numpy().copy(), np.random.default_rng(0)
        gradients = [draw.standard_normal(weight.shape).astype("f4") for _ in range(3)]
        updates = (of_matrix if part == "matrix" else of_others)(gradients)
        for gradient, update in zip(gradients, updates, strict=True):
            weight = weight * (1 - 0.01 * decay) - 0.01 * update
            parts.zero_grad()
            parameter.grad = torch.from_numpy(gradient)
            optimiser.step()
        # Muon's products are rounded to bf16.
        np.testing.assert_allclose(parameter.detach(), weight, rtol=1e-5, atol=tolerance * 0.01)


def test_muon_needs_a_hidden_linear_layer() -> None:
    convolution = nn.Conv2d(2, 3, 3)
    with pytest.raises(ValueError, match="lion or adamw for a network without hidden linear"):
        build_optimiser("muon", convolution, lr=0.01, betas=(0.9, 0.95), weight_decay=0.5)


@pytest.mark.parametrize("name", ["lion", "adamw", "muon"])
def test_a_loaded_optimiser_takes_the_same_steps(name: OptimiserName) -> None:
    def train(parts: nn.Module, optimiser: torch.optim.Optimizer, steps: Iterable[int]) -> None:
        for step in steps:
            torch.manual_seed(step)
            for parameter in parts.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimiser.step()

    settings = {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.5}
    parts, resumed = Parts(), Parts()
    optimiser = build_optimiser(name, parts, **settings)
    train(parts, optimiser, range(2))
    resumed.load_state_dict(parts.state_dict())
    loaded = build_optimiser(name, resumed, **settings)
    loaded.load_state_dict(deepcopy(optimiser.state_dict()))
    loaded.param_groups[0]["lr"] = optimiser.param_groups[0]["lr"] = 0.02
    train(parts, optimiser, range(2, 4))
    train(resumed, loaded, range(2, 4))
    for one, other in zip(parts.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def fields_of(wells: int, sites: int = 2) -> pl.DataFrame:
    rows = [("P1", f"A{well:02d}", site) for well in range(wells) for site in range(sites)]
    return pl.DataFrame(rows, schema=["plate", "well", "site"], orient="row")


def test_wells_are_held_out_whole() -> None:
    fields = fields_of(40)
    training, held_out = split_fields(fields, 0.25, seed=0)
    assert sorted([*training, *held_out]) == list(range(80))
    names = fields["well"].to_numpy()
    assert len(set(names[held_out])) == 10
    assert not set(names[held_out]) & set(names[training])


def test_which_wells_are_held_out_depends_on_names_and_seed_alone() -> None:
    fields = fields_of(40)
    names = fields["well"].to_numpy()
    held_out = set(names[split_fields(fields, 0.25, seed=0)[1]])
    turned = fields.reverse()
    assert set(turned["well"].to_numpy()[split_fields(turned, 0.25, seed=0)[1]]) == held_out
    assert set(names[split_fields(fields, 0.25, seed=1)[1]]) != held_out


@pytest.mark.parametrize(
    ("wells", "share", "count"), [(1, 0.5, 0), (2, 0.01, 1), (10, 0.0, 0), (3, 0.99, 2)]
)
def test_something_is_left_to_train_on(wells: int, share: float, count: int) -> None:
    training, held_out = split_fields(fields_of(wells, 1), share, seed=0)
    assert len(held_out) == count
    assert len(training) == wells - count


def test_masks_and_drop_path_depend_on_seed_and_step_alone(
    screen_path: Path, tiny: VitMaeSettings
) -> None:
    reader = CropReader([open_store(screen_path)], "memory")
    crops = CropStream(reader, [np.arange(20)], 16, 8, seed=0).step(0)
    torch.manual_seed(0)
    model = VitMae(replace(tiny.model, drop_path=0.9, layer_scale=1.0), 2)
    torch.nn.init.xavier_uniform_(model.decoder.pred.weight)
    objective, other = MaskedObjective(model, seed=0), MaskedObjective(model, seed=1)
    with torch.no_grad():
        first = float(objective(crops, 5)["loss"])
        masks = objective.rebuild(crops, 5).mask
        assert torch.equal(objective.rebuild(crops, 5).mask, masks)
        assert not torch.equal(objective.rebuild(crops, 6).mask, masks)
        torch.rand(7)
        assert float(objective(crops, 5)["loss"]) == first
        assert float(objective(crops, 6)["loss"]) != first
        assert float(other(crops, 5)["loss"]) != first


def test_the_loop_trains_whatever_gives_a_loss(screen_path: Path) -> None:
    """Least squares on the crops' mean intensity: the loop knows nothing of autoencoders."""
    reader = CropReader([open_store(screen_path)], "memory")
    stream = CropStream(reader, [np.arange(20)], 16, 8, seed=0)
    value, seen = 0.0, []

    def learn(crops, step):
        nonlocal value
        mean = float(crops.pixels.float().mean()) / 4000
        value += 0.2 * (mean - value)
        return {"loss": torch.tensor(mean - value)}

    train(learn, stream, first_step=0, steps=40, callbacks=[lambda done, losses: seen.append(done)])
    assert seen == list(range(1, 41))
    everything = np.mean([stream.step(step).pixels.float().mean() for step in range(40)]) / 4000
    assert value == pytest.approx(everything, rel=0.02)


def test_the_loop_passes_over_steps_without_their_crops(screen_path: Path) -> None:
    reader = CropReader([open_store(screen_path)], "memory")
    stream = CropStream(reader, [np.arange(20)], 16, 8, seed=0)
    learnt, seen = {}, []

    def learn(crops, step):
        learnt[step] = crops
        return {"loss": torch.tensor(float(step))}

    def callback(done, losses):
        seen.append((done, dict(losses)))

    train(learn, stream, first_step=2, steps=6, skipped={3, 9}, callbacks=[callback])
    assert list(learnt) == [2, 4, 5]
    assert [done for done, _ in seen] == [3, 4, 5, 6]
    assert seen[1] == (4, {})
    for step, crops in learnt.items():
        assert torch.equal(crops.keys, stream.step(step).keys)


def test_weights_and_their_making_have_an_identity(tiny: VitMaeSettings) -> None:
    torch.manual_seed(0)
    model = VitMae(tiny.model, 2)
    before = identify(model, "a")
    assert identify(model, "a") == before
    assert identify(model, "b") != before
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-6
    assert identify(model, "a") != before


def test_compiling_is_for_long_runs_on_a_gpu() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    long = TrainingSettings(steps=100_000)
    assert is_compiled(long, gpu)
    assert not is_compiled(long, cpu)
    assert not is_compiled(TrainingSettings(steps=10), gpu)
    assert is_compiled(TrainingSettings(compile="on"), cpu)
    assert not is_compiled(TrainingSettings(compile="off"), gpu)


def test_bf16_is_taken_where_the_processor_has_it() -> None:
    flags = Path("/proc/cpuinfo").read_text()
    assert bf16_is_fast("cpu") == ("amx_bf16" in flags or "avx512_bf16" in flags)
    assert open_machine("cpu", "bf16").precision == "bf16"


def test_settings_of_a_network_its_training_and_its_objective_are_one_class() -> None:
    names = [field.name for field in fields(ChannelMaeSettings)]
    network = [field.name for field in fields(ChannelMaeModel)]
    training = [field.name for field in fields(TrainingSettings)]
    masked = [field.name for field in fields(MaskedSettings)]
    assert names == [*network, *training, *masked, "drop_channel"]
    settings = ChannelMaeSettings(depth=2, steps=5, init="run")
    assert (settings.network, settings.model) == (ChannelMae, ChannelMaeModel(depth=2))
    assert settings.init == Path("run")
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert asdict(settings).keys() == set(names)
    for change in ({"depth": 0}, {"steps": -1}, {"drop_channel": 2.0}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must be"):
            ChannelMaeSettings(**change)


def test_a_name_that_is_no_command_is_refused() -> None:
    assert "pretrain_vit_mae" in dir(commands)
    with pytest.raises(AttributeError, match="has no attribute 'pretrain_vit_mea'"):
        _ = commands.pretrain_vit_mea
