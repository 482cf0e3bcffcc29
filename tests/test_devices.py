"""The device mps (Apple GPUs) is passed through to PyTorch; it was never run."""

import pytest
import torch

from phenomae import command_parser
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
