"""Micro-batches on several CPU cores: the gradients of one core, bit for bit."""

import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from phenomae import free_memory
from phenomae.crops.reader import CropReader
from phenomae.crops.stream import CropStream
from phenomae.crops.tensors import Crops
from phenomae.devices import Precision, open_machine
from phenomae.models.vit.vit_mae import VitMae
from phenomae.pretraining.blocks import checkpoint_activations
from phenomae.pretraining.core_threads import CoreThreads
from phenomae.pretraining.loop import Learner
from phenomae.pretraining.micro_batches import (
    MicroBatches,
    choose_micro_batches,
    fit_to_memory,
)
from phenomae.pretraining.objectives.adabn import AdaBnObjective
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.pretraining.team import Team
from phenomae.probes.commands import ClassifierSettings, VitMaeSettings
from phenomae.shipped_recipes import RECIPES
from phenomae.store.read import open_store

CROPS = 8


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The sums of torch's own operations depend on its number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def stream(screen_path: Path) -> CropStream:
    reader = CropReader([open_store(screen_path)], "memory")
    return CropStream(reader, [np.arange(20)], 16, CROPS, seed=0)


@pytest.fixture
def dropping(tiny: VitMaeSettings) -> VitMaeSettings:
    """A network of which crops skip blocks: numbers that each thread must have for itself."""
    return replace(tiny, drop_path=0.5, layer_scale=1.0)


def build(settings: VitMaeSettings) -> MaskedObjective:
    torch.manual_seed(0)
    return MaskedObjective(VitMae(settings.model, 2), settings.seed)


def learn(
    objective: MaskedObjective, stream: CropStream, cores: int, precision: Precision = "float32"
) -> list[dict[str, float]]:
    """Take three steps of plain gradient descent, on that many cores (0: without threads)."""
    fabric = open_machine("cpu", precision).fabric
    learner = Learner(
        fabric,
        fabric.setup_module(objective),
        fabric.setup_optimizers(torch.optim.SGD(objective.parameters(), lr=1.0)),  # pyright: ignore
        lambda step: 0.1,
        crops_at_once=1,
        threads=CoreThreads(fabric, objective, cores) if cores else None,
    )
    steps = [learner(stream.step(step), step) for step in range(3)]
    return [{name: float(value) for name, value in losses.items()} for losses in steps]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("cores", [1, 2, 5])
def test_any_number_of_cores_gives_the_bits_of_one(
    dropping: VitMaeSettings,
    stream: CropStream,
    cores: int,
    recompute: bool,
    precision: Precision,
) -> None:
    one, other = build(dropping), build(dropping)
    if recompute:
        for objective in (one, other):
            checkpoint_activations(objective.model)
    assert learn(one, stream, 0, precision) == learn(other, stream, cores, precision)
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_validation_loss_on_cores_is_that_of_one(
    dropping: VitMaeSettings, stream: CropStream
) -> None:
    objective = build(dropping).train()
    batches = [stream.step(1), stream.step(2).part(0, 3)]
    fabric = Fabric(accelerator="cpu", devices=1)
    found = CoreThreads(fabric, objective, 2).losses(batches)
    assert objective.training
    objective.eval()
    with torch.no_grad():
        assert found == [float(objective(crops, k)["loss"]) for k, crops in enumerate(batches)]


class Branching(nn.Module):
    """The loss of a micro-batch depends on one of two weights only."""

    def __init__(self) -> None:
        super().__init__()
        self.even, self.odd = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))

    def forward(self, crops: Crops, step: int) -> dict[str, torch.Tensor]:
        weight = self.odd if crops.first % 2 else self.even
        return {"loss": (weight * (crops.first + 1)).sum()}


def test_weights_that_only_some_micro_batches_use_get_their_gradients(stream: CropStream) -> None:
    threads = CoreThreads(Fabric(accelerator="cpu", devices=1), Branching(), 2)
    parts = [stream.step(0).part(at, at + 1) for at in (1, 2, 4, 5)]
    _, (even, odd) = threads.gradients(parts, 0)
    assert even is not None
    assert odd is not None
    assert even.tolist() == [(3 + 5) / 4] * 2
    assert odd.tolist() == [(2 + 6) / 4] * 2


def test_an_error_in_a_core_is_raised(dropping: VitMaeSettings, stream: CropStream) -> None:
    objective = build(dropping)
    crops = stream.step(0)
    crops = crops.only(crops.channels[:1])
    threads = CoreThreads(Fabric(accelerator="cpu", devices=1), objective, 2)
    with pytest.raises(ValueError, match="channels"):
        threads.gradients([crops, crops], 0)


@pytest.mark.parametrize(
    ("changes", "crops", "cores"),
    [
        ({}, 16, 2),
        ({"crops_per_step": 256}, 16, 2),
        ({"crops_per_step": 24}, 12, 2),
        ({"crops_at_once": 16}, 16, 0),
        ({"crops_at_once": 8}, 8, 0),
        ({"crop_size": 256, "patch_size": 16, "embed_dim": 384, "num_heads": 6}, 4, 2),
    ],
)
def test_a_micro_batch_has_the_work_of_300_tokens(
    changes: dict[str, int], crops: int, cores: int
) -> None:
    torch.set_num_threads(2)
    recipe = tomllib.loads((RECIPES / "demo-vit-mae.toml").read_text())["pretrain"]["vit-mae"]
    settings = VitMaeSettings(**{**recipe, **changes})
    objective = MaskedObjective(VitMae(settings.model, 6), 0)
    flops = deepcopy(objective.model).to("meta").eval().training_flops()
    team = Team(open_machine("cpu", "float32"))
    found = choose_micro_batches(settings, objective, flops, team)
    assert (found.crops, found.cores) == (crops, cores)
    weights = sum(item.numel() for item in objective.parameters() if item.requires_grad)
    assert crops * flops >= 300 * 6 * weights or crops == settings.crops_at_once


def test_crops_that_are_normalised_together_are_not_divided(screen_path: Path) -> None:
    torch.set_num_threads(2)
    settings = ClassifierSettings(
        crop_size=16, growth_rate=4, first_width=4, block_depths=(1, 1), crops_per_step=8
    )
    store = open_store(screen_path)
    objective = AdaBnObjective.build(AdaBnObjective.open_data([store], settings), settings)
    team = Team(open_machine("cpu", "float32"))
    found = choose_micro_batches(settings, objective, 1, team)
    assert (found.crops, found.cores) == (8, 0)


@pytest.fixture
def meminfo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[float], int]:
    """Return a function that sets the megabytes that are free by /proc/meminfo."""
    path = tmp_path / "meminfo"
    monkeypatch.setattr(free_memory, "_MEMORY", path)
    return lambda megabytes: path.write_text(f"MemAvailable: {int(megabytes * 1000)} kB\n")


def test_micro_batches_shrink_until_they_fit_the_free_memory(
    meminfo: Callable[[float], int],
    tiny: VitMaeSettings,
    stream: CropStream,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """First to fewer cores, which take as many crops each, then to fewer crops."""
    objective, team = build(tiny), Team(open_machine("cpu", "float32"))
    crop = stream.step(0).part(0, 1)

    def fit(megabytes: float, fields_bytes: int = 0) -> tuple[int, int]:
        meminfo(megabytes)
        found = fit_to_memory(MicroBatches(12, 4), objective, crop, team, fields_bytes)
        return found.crops, found.cores

    assert fit(100) == (12, 4)
    assert capsys.readouterr().err == ""
    sizes = [fit(megabytes) for megabytes in np.geomspace(100, 0.1, 200)]
    distinct = list(dict.fromkeys(sizes))
    expected = [(12, 4), (12, 3), (12, 2), (12, 0), (6, 0), (4, 0), (3, 0), (2, 0), (1, 0)]
    assert distinct == [size for size in expected if size in distinct]
    assert len(distinct) > 5
    output = capsys.readouterr().err
    assert "crops_at_once is 36 instead of 48, because" in output
    assert "GB are free: choose a smaller network" in output
    assert fit(200, fields_bytes=10**9) == (1, 0)


def test_a_step_that_does_not_fit_is_taken_in_smaller_micro_batches() -> None:
    """In a process that may take 500 MB more: 256 crops at once need 670, and 128 need 340."""
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True, check=True
    )
    assert "out of memory: going on with 128 crops at once instead of 256" in done.stderr
    assert done.stdout.split() == ["128", "True"]


OUT_OF_MEMORY = """
import resource
import torch
from lightning_fabric import Fabric
from torch import nn
from phenomae.crops.tensors import Crops
from phenomae.models.vit.vit_mae import VitMae
from phenomae.pretraining.loop import Learner
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.probes.commands import VitMaeSettings

torch.set_num_threads(1)
settings = VitMaeSettings(
    crop_size=64, patch_size=8, embed_dim=128, depth=6, num_heads=4,
    decoder_embed_dim=128, decoder_depth=2, decoder_num_heads=4,
)
pixels = torch.randint(0, 255, (256, 6, 64, 64), dtype=torch.uint8)
crops = Crops(
    pixels, torch.zeros(256, 6, 2), torch.zeros(256, dtype=torch.uint8),
    torch.zeros(256, 3, dtype=torch.int64), tuple("abcdef"),
)
fabric = Fabric(accelerator="cpu", devices=1)

def learn(crops_at_once, may_shrink):
    torch.manual_seed(0)
    objective = MaskedObjective(VitMae(settings.model, 6), 0)
    wrapped = fabric.setup_module(objective)
    optimiser = fabric.setup_optimizers(torch.optim.SGD(objective.parameters(), lr=1.0))
    learner = Learner(
        fabric, wrapped, optimiser, lambda step: 0.1, crops_at_once=crops_at_once,
        may_shrink=may_shrink,
    )
    learner(crops, 0)
    return learner, [item.detach() for item in objective.parameters()]

addresses = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (addresses + 500_000_000, resource.RLIM_INFINITY))
learner, found = learn(256, True)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
_, expected = learn(128, False)
print(learner.crops_at_once, all(map(torch.equal, expected, found)))
"""
