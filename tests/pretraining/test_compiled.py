"""Compiled training steps beside eager ones: the same crops, masks and losses.

They run in forked processes, where no hook checks shapes: torch.compile does not see through one.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from phenomae.runs import read_log

NETWORK = (
    "--crop-size 16 --patch-size 4 --embed-dim 16 --depth 2 --num-heads 2 --mask-ratio 0.5 "
    "--decoder-embed-dim 16 --decoder-depth 1 --decoder-num-heads 2 --drop-path 0.5 "
    "--layer-scale 0.5 --steps 6 --crops-per-step 8 --log-every 1 --validation 0.2 "
    "--validation-every 3 --precision float32 --quiet"
)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None,
    reason="needs a C++ compiler, as torch.compile does on a CPU",
)
@pytest.mark.parametrize(
    ("family", "flags"),
    [("vit-mae", ""), ("channel-mae", "--cross-num-heads 2 --drop-channel 0.5")],
)
def test_a_compiled_training_has_the_losses_of_an_eager_one(
    family: str, flags: str, screen_path: Path, tmp_path: Path, fork
):
    losses = {}
    for mode in ("off", "on"):
        run = tmp_path / mode
        words = f"pretrain {family} {screen_path} {run} {NETWORK} {flags} --compile {mode}"
        ended = fork(words.split()).wait(timeout_s=600)
        assert ended.returncode == 0, ended.stderr
        log = read_log(run)
        losses[mode] = [line["loss"] for line in log if "loss" in line]
        losses[mode] += [line["validation_loss"] for line in log if "validation_loss" in line]
    assert len(losses["on"]) == 6 + 3
    np.testing.assert_allclose(losses["on"], losses["off"], rtol=2e-5)
    # Other masks, or other blocks left out, would give quite other losses.
    assert np.ptp(losses["off"][:6]) > 1e-3
