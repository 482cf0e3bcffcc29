"""The base class of the training objectives: the interface between networks and training loop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor, nn

from phenomae.crops.pairs import PairSampler
from phenomae.crops.philox import draw_on_device
from phenomae.crops.random_numbers import Purpose, draw
from phenomae.crops.tensors import Crops, compile_static
from phenomae.models.network import Network
from phenomae.models.vit.vit import ParallelBlock
from phenomae.pretraining.data import Data
from phenomae.pretraining.settings import CHANGEABLE, ObjectiveSettings
from phenomae.store.read import Store


class Objective(nn.Module):
    """Computes the losses of a step's crops; random numbers depend on (seed, step, index) only."""

    Settings: ClassVar[type[ObjectiveSettings]] = ObjectiveSettings
    """Settings that the objective adds to those of a run."""
    changeable: ClassVar[tuple[str, ...]] = CHANGEABLE
    """Settings that may change when a run continues."""
    help: ClassVar[str] = ""
    """Sentences about the stores in the help text of the `pretrain` command."""
    pairs: PairSampler | None = None
    """Chooses the fields of a step in pairs of wells; None: fields are drawn independently."""
    passes_per_crop = 1
    """Passes of the network over each crop in a training step."""
    groups_per_step = 1
    """Number of groups of fields from which a step's crops come; crops are ordered by group."""

    def __init__(self, model: Network, seed: int) -> None:
        super().__init__()
        self.model = model
        self.seed = seed
        self.is_compiled = False

    @classmethod
    def open_data(cls, stores: Sequence[Store], settings: Any) -> Data:
        """Return the fields of the stores; raises ValueError if these cannot be trained on."""
        raise NotImplementedError

    @classmethod
    def build(cls, data: Data, settings: Any) -> "Objective":
        """Return an objective with a new network; weights are drawn from torch's generator."""
        return cls(settings.network(settings.model, data.channels), settings.seed)

    @property
    def encoder(self) -> nn.Module:
        """The part of the network that computes embeddings."""
        return self.model.encoder

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.parameters()).device

    @property
    def is_mean_over_crops(self) -> bool:
        """Whether the loss of a step is the mean of the losses of its crops.

        If so, crops can be divided into micro-batches of any size.
        """
        return self.pairs is None

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the losses of a step's crops; `loss` is minimised, the others are its parts."""
        raise NotImplementedError

    def draw(self, path: Path, crops: Crops) -> bool:
        """Write a picture of predictions and return True; False: the objective has no picture."""
        return False

    def notes(self) -> dict[str, Any]:
        """Return additional keys for config.json of the weights: how the network is to be used."""
        return {}

    def fix_drop_path(self, rows: range, step: int) -> None:
        """Drop path: set the random numbers that decide which of the crops skip which block.

        The numbers depend on (seed, step, index of the crop), because torch's generator would give
        other numbers with other micro-batches or processes. `rows` are the indices of the crops.
        """
        modules = self.encoder.modules()
        # Only blocks with drop path, so that networks without it draw nothing.
        blocks = [part for part in modules if isinstance(part, ParallelBlock) and part.drop_path]
        if blocks and self.training:
            width = self.passes_per_crop * len(blocks)
            drawn = self.numbers(step, Purpose.DROP_PATH, rows, width).reshape(-1, len(blocks))
            for block, numbers in zip(blocks, drawn.T, strict=True):
                block.draws = numbers

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile training steps, in place: network, augmentation and random numbers.

        Static shapes: all steps of a training have the same, up to the number of channels.
        """
        # torch.compile itself would return a wrapper that changes the names of the weights.
        self.model.compile(*args, **kwargs)
        self.is_compiled = True

    @property
    def runs_compiled(self) -> bool:
        """Whether to run compiled code: not on validation crops, whose shapes vary."""
        return self.is_compiled and self.training

    def numbers(
        self, step: int, purpose: Purpose, rows: range, width: int
    ) -> Float32[Tensor, "b d"]:
        """Return the random numbers of `draw` on the device."""
        if not self.runs_compiled:
            return self._send(draw(self.seed, step, purpose, rows, width).astype(np.float32))
        place = self._send(np.array([self.seed, step, purpose, rows.start]))
        return compile_static(draw_on_device)(place, len(rows), width)

    def _send(self, numbers: Shaped[np.ndarray, "*n"]) -> Shaped[Tensor, "*n"]:
        sent = torch.from_numpy(numbers)
        if self.device.type == "cuda":
            # A copy from pageable memory would wait until the GPU has finished the previous step.
            sent = sent.pin_memory()
        return sent.to(self.device, non_blocking=self.device.type == "cuda")
