"""Training by telling perturbations apart: the objective of the weakly supervised networks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from phenomae.crops.tensors import Crops, network_input
from phenomae.models.classifier import ClassifyingNetwork
from phenomae.models.conv.adabn import kept_statistics, reestimate
from phenomae.models.network import Pixels
from phenomae.pretraining.data import Data, open_data, share_channels
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.settings import TrainingSettings
from phenomae.store.read import Store


class ClassifyingObjective(Objective):
    """Names what was done to the cells of a crop.

    With AdaBN a step's crops come from `groups_per_step` plates, one after the other, and batch
    norms see each plate by itself (Sypetkowski et al. 2023, arXiv 2301.05768).
    """

    model: ClassifyingNetwork

    def __init__(
        self,
        model: ClassifyingNetwork,
        seed: int,
        labels: Int64[np.ndarray, " f"],
        plate_of: Callable[[int], Crops] | None = None,
        groups_per_step: int = 1,
        crops_per_group: int | None = None,
    ) -> None:
        """Take the label of every field, and, for AdaBN, what gives crops of a field's plate.

        `crops_per_group` is how many of a step's crops come from one plate; None: all.
        """
        super().__init__(model, seed)
        self.plate_of = plate_of
        self.groups_per_step = groups_per_step
        self.crops_per_group = crops_per_group
        self.labels: Tensor
        self.register_buffer("labels", torch.from_numpy(labels), persistent=False)

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the cross entropy of a step's crops as `loss`, and their accuracy."""
        if not self.training:
            with self._adapted(int(crops.keys[0, 0])):
                return self.model.forward(*self._inputs(crops)).losses
        losses = []
        for part in self._by_plate(crops):
            self.fix_drop_path(part.rows, step)
            losses.append(self.model(*self._inputs(part)).losses)
        return {name: torch.stack([part[name] for part in losses]).mean() for name in losses[0]}

    def _by_plate(self, crops: Crops) -> list[Crops]:
        """Cut crops where those of a step's next plate begin."""
        length = self.crops_per_group or len(crops)
        return [crops.part(at, at + length) for at in range(0, len(crops), length)]

    def _inputs(self, crops: Crops) -> tuple[Pixels, Int64[Tensor, " b"]]:
        labels = self.labels[crops.keys[:, 0].to(self.device)]
        return network_input(crops, self.device), labels

    def notes(self) -> dict[str, Any]:
        """Say that plates are to be embedded with statistics of their own."""
        return {"adabn": True} if self.plate_of else {}

    @contextmanager
    def _adapted(self, field: int) -> Iterator[None]:
        """Let batch norms go by a field's plate inside the block, as when it is embedded."""
        if self.plate_of is None:
            yield
            return
        with kept_statistics(self.model):
            reestimate(self.model, [network_input(self.plate_of(field), self.device)])
            yield


def open_labelled(
    stores: Sequence[Store], crop_size: int, settings: TrainingSettings, by_plate: bool
) -> Data:
    """Split the wells whose perturbation is known, so that each one is there to train on.

    Wells that alone have theirs are not held out. Raises ValueError where fewer than two
    perturbations are known.
    """
    data = open_data(stores, crop_size, settings, share_channels(stores), by_plate)
    names = data.fields["perturbation"]
    known = names.is_not_null().to_numpy()
    training, held_out = (part[known[part]] for part in (data.training, data.held_out))
    trained = names.is_in(names[training].unique().implode()).fill_null(False).to_numpy()
    training = np.sort(np.concatenate([training, held_out[~trained[held_out]]]))
    data = replace(data, training=training, held_out=held_out[trained[held_out]])
    if len(list_classes(data)) < 2:
        raise ValueError(
            f"{', '.join(str(store.path) for store in stores)}: fewer than two perturbations are "
            "known, so there is nothing to tell apart; ingest with a plate map that says what was "
            "done to each well"
        )
    return data


def list_classes(data: Data) -> tuple[str, ...]:
    """Return the perturbations to train on, the controls' among them, in the order of names."""
    return tuple(data.fields["perturbation"][data.training].unique().sort().to_list())


def label_fields(data: Data) -> Int64[np.ndarray, " f"]:
    """Return for every field which of `list_classes` it is; -1 where nobody knows."""
    places = {name: place for place, name in enumerate(list_classes(data))}
    found = [places.get(name, -1) for name in data.fields["perturbation"]]
    return np.array(found, dtype=np.int64)
