"""What a network is trained for, as the loop asks for it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from phenomae.crops.draws import Purpose
from phenomae.crops.tensors import Crops
from phenomae.models.network import Network


class Objective(nn.Module):
    """Gives the losses of a step's crops; whatever is random depends on (seed, step, index)."""

    groups_per_step = 1
    """How many groups of fields a step's crops come from, one after the other."""

    def __init__(self, model: Network, seed: int) -> None:
        super().__init__()
        self.model = model
        self.seed = seed

    @property
    def encoder(self) -> nn.Module:
        """The part that is kept for embedding."""
        return self.model.encoder

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the losses of a step's crops; `loss` is what is minimised."""
        raise NotImplementedError

    def notes(self) -> dict[str, Any]:
        """Return what the weights' config.json says beside the network: how it is to be used."""
        return {}

    def fix_drop_path(self, step: int) -> None:
        """Let drop path, which draws from torch's generator, depend on seed and step alone."""
        sequence = np.random.SeedSequence([self.seed, step, Purpose.DROP_PATH])
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
