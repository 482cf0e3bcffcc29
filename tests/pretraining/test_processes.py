"""Two processes that train one network, as torchrun starts them, beside one that is alone."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from phenomae.devices import Processes
from phenomae.pretraining.team import check_shares
from phenomae.probes.commands import (
    EnergyMaeSettings,
    VitMaeSettings,
    pretrain_energy_mae,
    pretrain_vit_mae,
)
from phenomae.runs import read_log

STEPS = 20
FINAL = "weights/model.safetensors"
INERT = ("k_norm.bias", "qkv.bias")
"""What is added to every key alike moves no softmax: gradients are rounding, of which Lion makes
whole steps."""
# torchrun's own launcher, in a process that forks the two instead of starting two Pythons.
LAUNCH = """
from uuid import uuid4
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from phenomae import cli

def train():
    assert cli.run({words}) == 0

config = LaunchConfig(
    min_nodes=1,
    max_nodes=1,
    nproc_per_node=2,
    run_id=str(uuid4()),
    rdzv_backend="c10d",
    rdzv_endpoint="localhost:0",
    start_method="fork",
)
elastic_launch(config, train)()
"""


@pytest.fixture(scope="module")
def shared_settings(tiny: VitMaeSettings) -> VitMaeSettings:
    """A network wide enough that what moves nothing is less than a ten-thousandth of it."""
    return replace(
        tiny,
        embed_dim=128,
        num_heads=16,
        drop_path=0.3,
        layer_scale=0.1,
        steps=STEPS,
        checkpoint_every=10,
        log_every=1,
        validation_every=10,
        milestones=(0.5,),
    )


@pytest.fixture(scope="module")
def alone(
    shared_settings: VitMaeSettings,
    screen_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The run of one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    pretrain_vit_mae(screen_path, run, settings=shared_settings)
    return run


def torchrun(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a training in two processes that torchrun starts."""
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "phenomae"]
    return subprocess.run(
        [sys.executable, "-m", *command, *words], capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def start_two(fork) -> Callable[..., list]:
    """A function that starts a training in two processes that have the environment of torchrun."""

    def start(*words: object) -> list:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
        shared |= {"LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test"}
        return [fork(words, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)]

    return start


def command(store: Path, run: Path, alone: Path) -> list[object]:
    """Return the command line of the training of one process."""
    return ["pretrain", "vit-mae", store, run, "--config", alone / "config.toml"]


def losses(run: Path) -> np.ndarray:
    """The loss of every step."""
    found = {line["step"]: line["loss"] for line in read_log(run) if "loss" in line}
    assert list(found) == list(range(1, STEPS + 1))
    return np.array(list(found.values()))


def require_same(run: Path, alone: Path) -> None:
    """Losses within 1e-5, 99.99 % of the weights within 1e-5."""
    np.testing.assert_allclose(losses(run), losses(alone), rtol=1e-5)
    ours, theirs = load_file(run / FINAL), load_file(alone / FINAL)
    gaps = {name: np.abs(ours[name] - theirs[name]) for name in theirs}
    far = {name: int((gap > 1e-5).sum()) for name, gap in gaps.items()}
    total = sum(gap.size for gap in gaps.values())
    assert sum(far.values()) <= 1e-4 * total, (far, total)
    felt = {name: count for name, count in far.items() if count and not name.endswith(INERT)}
    assert sum(felt.values()) <= 3e-5 * total, felt  # signs of gradients next to zero


@pytest.mark.parametrize(
    ("strategy", "launcher"),
    [
        ("ddp", "fork"),
        ("fsdp", "fork"),
        pytest.param("ddp", "torchrun", marks=pytest.mark.slow),
    ],
)
def test_two_processes_train_as_one(
    alone: Path,
    screen_path: Path,
    tmp_path: Path,
    strategy: str,
    launcher: str,
    fork_program: Callable,
) -> None:
    """And leave whole weights and checkpoints, of the same names."""
    run = tmp_path / "run"
    words = [str(word) for word in (*command(screen_path, run, alone), "--strategy", strategy)]
    if launcher == "torchrun":
        done = torchrun(words)
    else:
        done = fork_program(LAUNCH.format(words=words)).wait()
    assert done.returncode == 0, done.stderr
    require_same(run, alone)
    assert "processes 2" in (run / "environment.txt").read_text()
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == sorted(path.name for path in (alone / "checkpoints").iterdir())


def test_two_processes_compare_the_pairs_of_both(
    shared_settings: VitMaeSettings, paired_path: Path, tmp_path: Path, fork_program: Callable
) -> None:
    """Energies as targets, two masks per crop, and the softmax over the pairs of both processes."""
    pairs = {"pair_weight": 1.0, "pair_crops": 1, "validation": 0.0, "masks_per_crop": 2}
    values = {item.name: getattr(shared_settings, item.name) for item in fields(shared_settings)}
    own = {item.name for item in fields(EnergyMaeSettings)}
    settings = EnergyMaeSettings(**{key: values[key] for key in values.keys() & own} | pairs)
    alone, run = tmp_path / "alone", tmp_path / "run"
    pretrain_energy_mae(paired_path, alone, settings=settings)
    words = ["pretrain", "energy-mae", paired_path, run, "--config", alone / "config.toml"]
    done = fork_program(LAUNCH.format(words=[str(word) for word in words])).wait()
    assert done.returncode == 0, done.stderr
    assert "processes 2" in (run / "environment.txt").read_text()
    require_same(run, alone)


def test_processes_that_would_halve_a_pair_say_so():
    settings = EnergyMaeSettings(crops_per_step=24, pair_weight=1.0, pair_crops=4)
    with pytest.raises(ValueError, match=r"crops_per_step must be a multiple of 16, .* not 24"):
        check_shares(settings, Processes(2, 2))


def test_two_processes_stopped_go_on_as_one(
    shared_settings: VitMaeSettings,
    alone: Path,
    screen_path: Path,
    tmp_path: Path,
    start_two: Callable,
) -> None:
    """Killed after step 10, gone on with by another number of processes: with the same crops."""
    run = tmp_path / "run"
    processes = start_two(*command(screen_path, run, alone), "--strategy", "fsdp")
    half = run / "checkpoints/step-00000010.safetensors"
    while not half.exists():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.002)
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for path in (run / "checkpoints").iterdir():
        if path.name > half.name:  # it came further than it was to
            path.unlink()
    pretrain_vit_mae(screen_path, run, settings=shared_settings)
    require_same(run, alone)


def test_processes_that_cannot_share_a_step_say_so(
    alone: Path, screen_path: Path, tmp_path: Path, start_two: Callable
) -> None:
    run = tmp_path / "run"
    for process in start_two(*command(screen_path, run, alone), "--crops-per-step=7"):
        done = process.wait()
        assert done.returncode == 1
        assert (
            "phenomae: --crops-per-step must be a multiple of 2, the number of processes, not 7"
            in done.stderr
        )
    assert not run.exists()
