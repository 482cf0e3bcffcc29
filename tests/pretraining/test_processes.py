"""Two processes that train one network, as torchrun starts them, beside one that is alone."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from phenomae.probes.commands import VitMaeSettings, pretrain_vit_mae
from phenomae.runs import read_log

STEPS = 20
FINAL = "weights/model.safetensors"
INERT = ("k_norm.bias", "qkv.bias")
"""What is added to every key alike moves no softmax: gradients are rounding, of which Lion makes
whole steps."""


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


def start(processes: int, store: Path, run: Path, config: Path, *flags: str) -> subprocess.Popen:
    """Start a training in so many processes; they write to this one's standard error."""
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    words = ["phenomae", "pretrain", "vit-mae", str(store), str(run), "--config", str(config)]
    command = [sys.executable, "-m", *(torchrun if processes > 1 else []), *words, *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def finish(process: subprocess.Popen) -> str:
    """Wait for a training that is to end well."""
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


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


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_as_one(
    alone: Path, screen_path: Path, tmp_path: Path, strategy: str
) -> None:
    """And leave whole weights and checkpoints, of the same names."""
    config, run = alone / "config.toml", tmp_path / "run"
    finish(start(2, screen_path, run, config, "--strategy", strategy))
    require_same(run, alone)
    assert "processes 2" in (run / "environment.txt").read_text()
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == sorted(path.name for path in (alone / "checkpoints").iterdir())


def test_two_processes_stopped_go_on_as_one(
    shared_settings: VitMaeSettings, alone: Path, screen_path: Path, tmp_path: Path
) -> None:
    """Killed after step 10, gone on with by another number of processes: with the same crops."""
    run = tmp_path / "run"
    process = start(2, screen_path, run, alone / "config.toml", "--strategy", "fsdp")
    half = run / "checkpoints/step-00000010.safetensors"
    while not half.exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for path in (run / "checkpoints").iterdir():
        if path.name > half.name:  # it came further than it was to
            path.unlink()
    pretrain_vit_mae(screen_path, run, settings=shared_settings)
    require_same(run, alone)


def test_processes_that_cannot_share_a_step_say_so(
    alone: Path, screen_path: Path, tmp_path: Path
) -> None:
    process = start(2, screen_path, tmp_path / "run", alone / "config.toml", "--crops-per-step=7")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert (
        "phenomae: crops_per_step must be a multiple of 2, the number of processes, not 7" in said
    )
    assert not (tmp_path / "run").exists()
