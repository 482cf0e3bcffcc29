"""The threads of torch, and the device mps (Apple GPUs), which is passed through and never ran."""

import os
import subprocess
import sys

import pytest
import torch

from phenomae import command_parser, devices
from phenomae.devices import Processes, bf16_is_fast, choose_device, open_machine
from phenomae.models.float64 import double


def test_mps_must_be_there_and_is_never_chosen(monkeypatch):
    sentence = r"device must be cpu or auto, not mps: torch finds no Apple GPU \(MPS\) here"
    with pytest.raises(ValueError, match=sentence):
        open_machine("mps", "auto")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("mps") == "mps"
    assert choose_device("auto") == "cpu"
    assert not bf16_is_fast("mps")
    with pytest.raises(ValueError, match="must be cpu or cuda for several processes, not mps"):
        open_machine("mps", "float32", processes=Processes(2, 2))


@pytest.mark.parametrize("command", ["pretrain vit-mae STORE RUN", "embed STORE RUN WELLS"])
def test_commands_take_mps(command):
    words = [*command.split(), "--device", "mps"]
    assert command_parser.parse(words)["settings"].device == "mps"


def test_sums_are_in_float64():
    third = torch.tensor([1 / 3])
    assert double(third).dtype == torch.float64
    assert double(third).item() == third.item()


@pytest.mark.parametrize(
    ("wanted", "threads"), [("3", 3), ("2,4", 2), (None, 5), ("", 5), ("0", 5), ("many", 5)]
)
def test_threads_are_those_of_the_environment_whatever_a_library_left(wanted, threads, monkeypatch):
    monkeypatch.setattr(devices, "available_cores", lambda: 5)
    if wanted is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    before = torch.get_num_threads()
    with devices.all_cores():
        assert torch.get_num_threads() == threads
        torch.set_num_threads(1)  # as a training does whose micro-batches have the cores
        with devices.all_threads():
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_training_after_umap_has_the_threads_of_the_environment():
    """In a process of its own: numba gives all libraries with OpenMP its own number of threads."""
    program = """
import numpy as np, torch, umap
umap.UMAP(n_neighbors=5, n_epochs=2).fit(np.random.default_rng(0).normal(size=(50, 4)))
from phenomae.devices import all_cores
with all_cores():
    print(torch.get_num_threads())
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
