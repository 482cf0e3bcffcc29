"""Masked reconstruction: the objective of the masked autoencoders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from phenomae.checks import at_least, share
from phenomae.crops.random_numbers import Purpose, draw
from phenomae.crops.tensors import Crops, network_input, send
from phenomae.models.masking import MaeOutput, MaskedNetwork
from phenomae.models.network import Pixels
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.pretraining.data import Data, open_data, share_channels
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.objectives.pair_loss import PairLoss, PairSettings
from phenomae.pretraining.objectives.picture import draw_reconstructions, find_empty
from phenomae.pretraining.pairs import list_pairs
from phenomae.pretraining.settings import OPTIMISATION
from phenomae.store.read import Store


@dataclass(frozen=True)
class MaskedSettings(PairSettings):
    """Settings of masked reconstruction."""

    masks_per_crop: Annotated[int, OPTIMISATION] = 1
    """Times that each crop of a step is masked and reconstructed, each with another mask; a step
    has as many times the FLOPs and memory, and reads no more."""

    def __post_init__(self) -> None:
        PairSettings.__post_init__(self)
        at_least("masks_per_crop", self.masks_per_crop, 1)


class MaskedObjective(Objective):
    """Reconstructs masked patches; the masks depend on (seed, step, index) only.

    With `pair_weight` the visible patches of crops of one perturbation are also to have similar
    embeddings, in training; the validation loss is that of the reconstruction alone, with one mask
    per crop.
    """

    Settings = MaskedSettings
    help = "All stores must have the same channels."
    model: MaskedNetwork

    def __init__(self, model: MaskedNetwork, seed: int) -> None:
        super().__init__(model, seed)
        self.pair_loss: PairLoss | None = None
        self.pair_groups: Tensor
        self.pair_weight = 0.0

    @classmethod
    def open_data(cls, stores: Sequence[Store], settings: Any) -> Data:
        """Open stores with the same channels; crops have the channel order of the first store."""
        return open_data(stores, settings.crop_size, settings, share_channels(stores))

    @classmethod
    def build(cls, data: Data, settings: Any) -> Objective:
        """Return an objective with a new network; weights are drawn from torch's generator."""
        objective = cls._build(data, settings)
        objective.passes_per_crop = settings.masks_per_crop
        if settings.pair_weight:
            objective.pairs = list_pairs(data, settings)
            # Not persistent: the groups come from the stores, so checkpoints need not hold them.
            groups = torch.from_numpy(objective.pairs.group_of)
            objective.register_buffer("pair_groups", groups, persistent=False)
            objective.pair_weight = settings.pair_weight
            width = objective.model.embedding_width()
            objective.pair_loss = PairLoss(width, settings.pair_crops)
        return objective

    @classmethod
    def _build(cls, data: Data, settings: Any) -> "MaskedObjective":
        return cls(settings.network(settings.model, data.channels), settings.seed)

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the losses of a step's crops."""
        passes = self.passes_per_crop if self.training else 1
        self.fix_drop_path(crops.rows, step)
        pixels, noise = self._inputs(crops, step, passes)
        # `model.forward` bypasses torch.compile, which would compile again for the shapes of
        # validation batches.
        run = self.model if self.training else self.model.forward
        output = run(pixels, noise, full=False, **self._names(crops))
        if self.pair_loss is None or not self.training:
            return output.losses
        embeddings = self.model.encoder.pool(output.latent, "mean", pixels.shape[1])
        embeddings = embeddings.unflatten(0, (-1, passes)).mean(1)
        groups = self.pair_groups[send(crops.keys, self.device)[:, 0]]
        found = self.pair_loss(embeddings, groups)
        loss = output.losses["loss"] + self.pair_weight * found["pair_loss"]
        return {**output.losses, "loss": loss, **found}

    @torch.no_grad()
    def rebuild(self, crops: Crops, step: int = 0) -> MaeOutput:
        """Mask and reconstruct patches; return target, mask and reconstruction of all patches."""
        pixels, noise = self._inputs(crops, step)
        return self.model.forward(pixels, noise, full=True, **self._names(crops))

    def draw(self, path: Path, crops: Crops) -> bool:
        """Write a PNG of input, masked input and reconstruction of the crops."""
        training = self.training
        self.eval()
        output = self.rebuild(crops)
        self.train(training)
        assert output.reconstruction is not None
        assert output.target is not None
        mask = output.mask.unsqueeze(-1).expand_as(output.target)
        images, guesses, hidden = (
            self.model.unpatch(patches).float().cpu().numpy()
            for patches in (output.target, output.reconstruction, mask)
        )
        # Predictions for visible patches are not trained, so the picture shows the input there.
        rebuilt = np.where(hidden > 0, guesses, images)
        empty = find_empty(crops.pixels.cpu().numpy())
        draw_reconstructions(path, images, rebuilt, hidden > 0, crops.channels, empty)
        return True

    def _inputs(
        self, crops: Crops, step: int, passes: int = 1
    ) -> tuple[Pixels, Float32[Tensor, "b p"]]:
        """Return the pixels of the crops, each `passes` times, and the noise of each mask."""
        pixels = network_input(crops, self.device, self.runs_compiled)
        patches = self.model.count_patches(pixels)
        noise = self.numbers(step, Purpose.MASK, crops.rows, passes * patches)
        return pixels.repeat_interleave(passes, 0), noise.reshape(-1, patches)

    def _names(self, crops: Crops) -> dict[str, Any]:
        """Return the network's arguments for the channels of the crops; none for fixed channels."""
        return {}


@dataclass(frozen=True)
class ChannelSettings(MaskedSettings):
    """Settings of the channel-agnostic objective."""

    drop_channel: Annotated[float, OPTIMISATION] = 0.0
    """Fraction of the steps in which one random channel is left out of the crops."""

    def __post_init__(self) -> None:
        MaskedSettings.__post_init__(self)
        share("drop_channel", self.drop_channel)


class ChannelObjective(MaskedObjective):
    """Reconstructs masked patches of crops with any set of channels.

    With probability `drop_channel` one random channel is left out of a step's crops, so that the
    encoder learns to embed crops without that channel.
    """

    Settings = ChannelSettings
    help = (
        "Stores may have different channels; the crops of a step come from stores with the same "
        "channels. Channels are matched by name: a stain must have the same name in every store."
    )

    def __init__(self, model: ChannelMae, seed: int, drop_channel: float) -> None:
        super().__init__(model, seed)
        self.drop_channel = drop_channel
        self._places = model.places
        self._placed: dict[tuple[str, ...], Tensor] = {}

    @classmethod
    def open_data(cls, stores: Sequence[Store], settings: Any) -> Data:
        """Return the fields of stores with any channels."""
        return open_data(stores, settings.crop_size, settings)

    @classmethod
    def _build(cls, data: Data, settings: Any) -> MaskedObjective:
        model = settings.network(settings.model, data.channels)
        return cls(model, settings.seed, settings.drop_channel)

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the losses of a step's crops."""
        return super().forward(self._leave_out(crops, step) if self.training else crops, step)

    def _leave_out(self, crops: Crops, step: int) -> Crops:
        """Return the crops of a step, possibly without one channel."""
        # One draw per step, not per crop: all crops of a step must have the same channels.
        chance, place = draw(self.seed, step, Purpose.CHANNEL, range(1), 2)[0]
        if chance >= self.drop_channel or len(crops.channels) == 1:
            return crops
        left_out = crops.channels[int(place * len(crops.channels))]
        kept = [name for name in crops.channels if name != left_out]
        # On the device, because a copy of some channels would no longer be in pinned memory.
        return crops.to(self.device).only(kept)

    def _names(self, crops: Crops) -> dict[str, Any]:
        if crops.channels == self.model.channels:
            return {}
        # A tensor on the device: with names, torch.compile would compile for every set of channels.
        if crops.channels not in self._placed:
            self._placed[crops.channels] = self._places(crops.channels).to(self.device)
        return {"channels": self._placed[crops.channels]}
