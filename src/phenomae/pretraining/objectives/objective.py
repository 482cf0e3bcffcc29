"""What a network is trained for, as the loop asks for it."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor, nn

from phenomae.crops.random_numbers import Purpose, draw
from phenomae.crops.tensors import Crops
from phenomae.models.network import Network
from phenomae.models.vit.vit import ParallelBlock


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

    def fix_drop_path(self, rows: range, step: int) -> None:
        """Let drop path depend on (seed, step, index) alone, for `rows` of a step's crops."""
        modules = self.encoder.modules()
        blocks = [part for part in modules if isinstance(part, ParallelBlock) and part.drop_path]
        if blocks and self.training:
            drawn = draw(self.seed, step, Purpose.DROP_PATH, rows, len(blocks))
            for block, numbers in zip(blocks, self.send(drawn).T, strict=True):
                block.draws = numbers

    def send(self, numbers: Float64[np.ndarray, "b d"]) -> Float32[Tensor, "b d"]:
        """Return drawn numbers on the device."""
        sent = torch.from_numpy(numbers.astype(np.float32))
        if self.device.type == "cuda":
            sent = sent.pin_memory()  # or the copy would wait for the step before
        return sent.to(self.device, non_blocking=True)
