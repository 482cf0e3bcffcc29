"""Training by telling perturbations apart: the objective of the weakly supervised networks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from phenomae.crops.tensors import Crops, network_input
from phenomae.models.adabn import kept_statistics, reestimate
from phenomae.models.classifier import ClassifyingNetwork
from phenomae.pretrain.data import Data, open_data, share_channels
from phenomae.pretrain.objective import Objective
from phenomae.pretrain.settings import TrainingSettings
from phenomae.store.read import Store


class ClassifyingObjective(Objective):
    """Names what was done to the cells of a crop.

    With `adabn` a step's crops come from `groups_per_step` plates, one after the other, and batch
    norms see each plate by itself (Sypetkowski et al. 2023, arXiv 2301.05768).
    """

    model: ClassifyingNetwork

    def __init__(
        self,
        model: ClassifyingNetwork,
        seed: int,
        labels: Int64[np.ndarray, " f"],
        adabn: bool = False,
        groups_per_step: int = 1,
    ) -> None:
        super().__init__(model, seed)
        self.adabn = adabn
        self.groups_per_step = groups_per_step
        self.labels: Tensor
        self.register_buffer("labels", torch.from_numpy(labels), persistent=False)

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the cross entropy of a step's crops as `loss`, and their accuracy."""
        self.fix_drop_path(step)
        pixels = network_input(crops, self.device)
        labels = self.labels[crops.keys[:, 0].to(self.device)]
        if not self.training:
            return self._measure(pixels, labels)
        parts = zip(
            pixels.chunk(self.groups_per_step), labels.chunk(self.groups_per_step), strict=True
        )
        losses = [self.model(*part).losses for part in parts]
        return {name: torch.stack([part[name] for part in losses]).mean() for name in losses[0]}

    def notes(self) -> dict[str, Any]:
        """Say that plates are to be embedded with statistics of their own."""
        return {"adabn": True} if self.adabn else {}

    def _measure(self, pixels: Tensor, labels: Int64[Tensor, " b"]) -> dict[str, Tensor]:
        """Return the losses of crops of one plate, as the trained network is used on it."""
        if not self.adabn:
            return self.model.forward(pixels, labels).losses
        with kept_statistics(self.model):
            reestimate(self.model, [pixels])
            return self.model.forward(pixels, labels).losses


def open_labelled(
    stores: Sequence[Store], crop_size: int, settings: TrainingSettings, by_plate: bool
) -> Data:
    """Split the wells whose perturbation is known; raises ValueError where there are not two."""
    data = open_data(stores, crop_size, settings, share_channels(stores), by_plate)
    known = data.fields["perturbation"].is_not_null().to_numpy()
    training, held_out = (part[known[part]] for part in (data.training, data.held_out))
    if len(list_classes(data)) < 2 or not len(training):
        raise ValueError(
            f"{stores[0].path} names fewer than two perturbations: there is nothing to tell apart; "
            "ingest it with a plate map that says what was done to each well"
        )
    return replace(data, training=training, held_out=held_out)


def list_classes(data: Data) -> tuple[str, ...]:
    """Return the perturbations of all fields, controls' among them, in the order of their names."""
    return tuple(data.fields["perturbation"].drop_nulls().unique().sort().to_list())


def label_fields(data: Data) -> Int64[np.ndarray, " f"]:
    """Return for every field which of `list_classes` it is; -1 where nobody knows."""
    places = {name: place for place, name in enumerate(list_classes(data))}
    found = [places.get(name, -1) for name in data.fields["perturbation"]]
    return np.array(found, dtype=np.int64)
