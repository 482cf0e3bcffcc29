"""What a masked autoencoder is trained for, as the loop asks for it."""

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from phenomae.crops.draws import Purpose, draw
from phenomae.crops.tensors import Crops, network_input
from phenomae.models.masking import MaeOutput, MaskedNetwork


class MaskedObjective(nn.Module):
    """Rebuilds hidden patches; what is hidden depends on (seed, step, index) alone."""

    def __init__(self, model: MaskedNetwork, seed: int) -> None:
        super().__init__()
        self.model = model
        self.seed = seed

    @property
    def encoder(self) -> nn.Module:
        """The part that is kept for embedding."""
        return self.model.encoder

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the losses of a step's crops."""
        torch.manual_seed(_seed_of(self.seed, step, Purpose.DROP_PATH))
        pixels, noise = self._inputs(crops, step)
        # A compiled model would be compiled once more for the few crops it is measured on.
        run = self.model if self.training else self.model.forward
        return run(pixels, noise, full=False).losses

    @torch.no_grad()
    def rebuild(self, crops: Crops, step: int = 0) -> MaeOutput:
        """Hide and rebuild patches, and return what a picture shows."""
        pixels, noise = self._inputs(crops, step)
        return self.model.forward(pixels, noise, full=True)

    def _inputs(self, crops: Crops, step: int) -> tuple[Tensor, Float32[Tensor, "b p"]]:
        device = next(self.parameters()).device
        pixels = network_input(crops, device)
        patches = pixels.shape[-2] * pixels.shape[-1] // self.model.settings.patch_size**2
        drawn = draw(self.seed, step, Purpose.MASK, range(len(crops)), patches)
        noise = torch.from_numpy(drawn.astype(np.float32))
        if device.type == "cuda":
            noise = noise.pin_memory()  # or the copy would wait for the step before
        return pixels, noise.to(device, non_blocking=True)


def _seed_of(seed: int, step: int, purpose: Purpose) -> int:
    return int(np.random.SeedSequence([seed, step, purpose]).generate_state(1, np.uint64)[0])
