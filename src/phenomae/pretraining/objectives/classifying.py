"""Classification of perturbations: the objective of the weakly supervised networks.

The labels are weak, because a perturbation may have no effect, or that of another perturbation.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from phenomae.crops.tensors import Crops, network_input, send
from phenomae.models.classifier import ClassifyingNetwork
from phenomae.models.network import Pixels
from phenomae.pretraining.data import Data, open_data, share_channels
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.settings import TrainingSettings
from phenomae.store.read import Store


class ClassifyingObjective(Objective):
    """Classifies crops by the perturbation of their well."""

    help = (
        "The classes are the perturbations of all wells, controls included. All stores must have "
        "the same channels."
    )
    model: ClassifyingNetwork

    def __init__(
        self, model: ClassifyingNetwork, seed: int, labels: Int64[np.ndarray, " f"]
    ) -> None:
        """`labels` are the class indices of all fields."""
        super().__init__(model, seed)
        self.labels: Tensor
        # Not persistent: the labels come from the stores, so checkpoints need not hold them.
        self.register_buffer("labels", torch.from_numpy(labels), persistent=False)

    @classmethod
    def open_data(cls, stores: Sequence[Store], settings: Any) -> Data:
        """Return the fields with a known perturbation."""
        return open_labelled(stores, settings.crop_size, settings, by_plate=False)

    @classmethod
    def build(cls, data: Data, settings: Any) -> Objective:
        """Return an objective with a new network, whose classes are the training perturbations."""
        model = settings.network(settings.model, data.channels, list_classes(data))
        return cls(model, settings.seed, label_fields(data))

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the cross entropy of a step's crops as `loss`, and their accuracy."""
        self.fix_drop_path(crops.rows, step)
        run = self.model if self.training else self.model.forward
        return run(*self.inputs(crops)).losses

    def inputs(self, crops: Crops) -> tuple[Pixels, Int64[Tensor, " b"]]:
        """Return pixels and labels of crops, on the device."""
        # Copied whole, because a copy of one column would no longer be in pinned memory.
        labels = self.labels[send(crops.keys, self.device)[:, 0]]
        return network_input(crops, self.device, self.runs_compiled), labels


def open_labelled(
    stores: Sequence[Store], crop_size: int, settings: TrainingSettings, by_plate: bool
) -> Data:
    """Split the wells with a known perturbation, so that every perturbation has a training well.

    Validation wells whose perturbation has no training well become training wells. Raises
    ValueError if fewer than two perturbations are known.
    """
    data = open_data(stores, crop_size, settings, share_channels(stores), by_plate)
    names = data.fields["perturbation"]
    known = names.is_not_null().to_numpy()
    training, validation = (part[known[part]] for part in (data.training, data.validation))
    # A class without training crops would only add noise to the validation loss.
    trained = names.is_in(names[training].unique().implode()).fill_null(False).to_numpy()
    training = np.sort(np.concatenate([training, validation[~trained[validation]]]))
    data = replace(data, training=training, validation=validation[trained[validation]])
    if len(list_classes(data)) < 2:
        raise ValueError(
            f"{', '.join(str(store.path) for store in stores)}: fewer than two perturbations are "
            "known, so there is nothing to classify; ingest with a plate map that has the "
            "perturbation of each well"
        )
    return data


def list_classes(data: Data) -> tuple[str, ...]:
    """Return the perturbations of the training fields, controls included, sorted by name."""
    return tuple(data.fields["perturbation"][data.training].unique().sort().to_list())


def label_fields(data: Data) -> Int64[np.ndarray, " f"]:
    """Return the class index of every field, in `list_classes`; -1: perturbation not known."""
    index = {name: place for place, name in enumerate(list_classes(data))}
    # -1 is never used: fields without a known perturbation are neither trained on nor validated.
    labels = [index.get(name, -1) for name in data.fields["perturbation"]]
    return np.array(labels, dtype=np.int64)
