"""Training by rebuilding what is hidden: the objective of the masked autoencoders."""

from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from phenomae.crops.random_numbers import Purpose, draw
from phenomae.crops.tensors import Crops, network_input
from phenomae.models.masking import MaeOutput, MaskedNetwork
from phenomae.models.network import Pixels
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.pretraining.objectives.objective import Objective


class MaskedObjective(Objective):
    """Rebuilds hidden patches; what is hidden depends on (seed, step, index) alone."""

    model: MaskedNetwork

    def __init__(self, model: MaskedNetwork, seed: int) -> None:
        super().__init__(model, seed)

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the losses of a step's crops."""
        self.fix_drop_path(crops.rows, step)
        pixels, noise = self._inputs(crops, step)
        # A compiled model would be compiled once more for the few crops it is measured on.
        run = self.model if self.training else self.model.forward
        return run(pixels, noise, full=False, **self._names(crops)).losses

    @torch.no_grad()
    def rebuild(self, crops: Crops, step: int = 0) -> MaeOutput:
        """Hide and rebuild patches, and return what a picture shows."""
        pixels, noise = self._inputs(crops, step)
        return self.model.forward(pixels, noise, full=True, **self._names(crops))

    def _inputs(self, crops: Crops, step: int) -> tuple[Pixels, Float32[Tensor, "b p"]]:
        pixels = network_input(crops, self.device)
        patches = self.model.count_patches(pixels)
        return pixels, self.send(draw(self.seed, step, Purpose.MASK, crops.rows, patches))

    def _names(self, crops: Crops) -> dict[str, Any]:
        """Return what the network has to be told about the crops' channels: here nothing."""
        return {}


class ChannelObjective(MaskedObjective):
    """Rebuilds hidden patches of whatever channels a step's crops have.

    With a probability of `drop_channel` a step's crops are without one of them, so that the
    encoder learns to do without.
    """

    def __init__(self, model: ChannelMae, seed: int, drop_channel: float) -> None:
        super().__init__(model, seed)
        self.drop_channel = drop_channel
        self._places = model.places
        self._placed: dict[tuple[str, ...], Tensor] = {}

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the losses of a step's crops."""
        return super().forward(self._leave_out(crops, step) if self.training else crops, step)

    def _leave_out(self, crops: Crops, step: int) -> Crops:
        chance, place = draw(self.seed, step, Purpose.CHANNEL, range(1), 2)[0]
        if chance >= self.drop_channel or len(crops.channels) == 1:
            return crops
        left_out = crops.channels[int(place * len(crops.channels))]
        return crops.only([name for name in crops.channels if name != left_out])

    def _names(self, crops: Crops) -> dict[str, Any]:
        if crops.channels == self.model.channels:
            return {}
        if crops.channels not in self._placed:
            self._placed[crops.channels] = self._places(crops.channels).to(self.device)
        return {"channels": self._placed[crops.channels]}
