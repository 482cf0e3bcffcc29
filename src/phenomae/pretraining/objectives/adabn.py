"""Classification with AdaBN: batch norm statistics are computed per plate.

Sypetkowski et al. 2023 (arXiv 2301.05768). The crops of a step come from `plates_per_step` plates,
and the validation loss of a plate uses statistics of crops of that plate, as `embed` does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from phenomae.checks import require, whole_numbers
from phenomae.crops.tensors import Crops, network_input
from phenomae.models.classifier import ClassifyingNetwork
from phenomae.models.conv.adabn import kept_statistics, reestimate
from phenomae.pretraining.data import Data
from phenomae.pretraining.objectives.classifying import (
    ClassifyingObjective,
    label_fields,
    list_classes,
    open_labelled,
)
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.settings import CHANGEABLE, OPTIMISATION, ObjectiveSettings
from phenomae.store.read import Store

_PLATE_CROPS = 64  # of a plate, to estimate its batch norm statistics for the validation loss


@dataclass(frozen=True)
class AdaBnSettings(ObjectiveSettings):
    """Settings of AdaBN."""

    adabn: Annotated[Literal["on", "off"], OPTIMISATION] = "on"
    """AdaBN: batch norm statistics per plate. The crops of a step come from plates_per_step plates,
    and embed uses each plate's own statistics."""
    plates_per_step: Annotated[int, OPTIMISATION] = 1
    """With adabn on: number of plates from which the crops of a step come in equal parts, each
    part normalised with its own statistics."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        settings: Any = self  # also has the fields of the other settings of the run
        step, plates = settings.crops_per_step, self.plates_per_step
        divides = plates >= 1 and step % plates == 0
        require(divides, "plates_per_step", f"a divisor of crops_per_step {step}", plates)
        rule = f"at least {2 * plates}, two per plate, because batch norm normalises over crops"
        require(step >= 2 * plates, "crops_per_step", rule, step)
        per_plate = step // plates
        at_once = min(settings.max_crops_at_once or per_plate, per_plate)
        rule = f"at least 2 and a divisor of {per_plate}, the crops per plate"
        fits = at_once >= 2 and per_plate % at_once == 0
        require(fits, "crops_at_once", rule, settings.crops_at_once)
        divides = per_plate % settings.crops_per_field == 0
        rule = f"a divisor of {per_plate}, the crops per plate"
        require(divides, "crops_per_field", rule, settings.crops_per_field)
        # Recomputing the forward pass would update the running statistics of batch norm twice.
        if settings.activation_checkpointing == "on":
            raise ValueError(
                "activation_checkpointing must be off for networks with batch norm, not on: lower "
                "crops_at_once to save memory"
            )
        if plates > 1 and self.adabn == "off":
            raise ValueError(f"plates_per_step must be 1 if adabn is off, not {plates}")


class AdaBnObjective(ClassifyingObjective):
    """Classifies crops by the perturbation of their well, with batch norm statistics per plate."""

    Settings = AdaBnSettings
    # Batch norm statistics depend on which crops share a forward pass, so on crops_at_once.
    changeable = tuple(
        name for name in CHANGEABLE if name not in ("crops_at_once", "activation_checkpointing")
    )

    def __init__(
        self,
        model: ClassifyingNetwork,
        seed: int,
        labels: Int64[np.ndarray, " f"],
        plate_of: Callable[[int], Crops] | None = None,
        groups_per_step: int = 1,
        crops_per_group: int | None = None,
    ) -> None:
        """`labels` are the class indices of fields; `plate_of` returns crops of a field's plate.

        If `plate_of` is None, the validation loss uses the running statistics of batch norm.
        `crops_per_group` is the number of a step's crops that come from one plate; None: all.
        """
        super().__init__(model, seed, labels)
        self.plate_of = plate_of
        self.groups_per_step = groups_per_step
        self.crops_per_group = crops_per_group

    @classmethod
    def open_data(cls, stores: Sequence[Store], settings: Any) -> Data:
        """Return the fields with a known perturbation, grouped by plate if AdaBN is on."""
        data = open_labelled(stores, settings.crop_size, settings, by_plate=settings.adabn == "on")
        plates = len(np.unique(data.group_of[data.training]))
        rule = f"at most {plates}, the number of plates to train on"
        require(
            settings.plates_per_step <= plates, "plates_per_step", rule, settings.plates_per_step
        )
        if settings.plates_per_step > 1 and data.reader.kinds.any():
            raise ValueError(
                "plates_per_step must be 1 if some stores have uint8 and others uint16 pixels, not "
                f"{settings.plates_per_step}"
            )
        return data

    @classmethod
    def build(cls, data: Data, settings: Any) -> Objective:
        """Return an objective with a new network, whose classes are the training perturbations."""
        return cls(
            settings.network(settings.model, data.channels, list_classes(data)),
            settings.seed,
            label_fields(data),
            partial(data.group_crops, max_crops=_PLATE_CROPS) if settings.adabn == "on" else None,
            settings.plates_per_step,
            settings.crops_per_step // settings.plates_per_step,
        )

    @property
    def is_mean_over_crops(self) -> bool:
        """No: batch norm normalises the crops of a micro-batch together."""
        return False

    def forward(self, crops: Crops, step: int) -> dict[str, Tensor]:
        """Return the cross entropy of a step's crops as `loss`, and their accuracy."""
        if not self.training:
            with self._adapted(int(crops.keys[0, 0])):
                # Validation crops come in batches of one plate: that of the first crop.
                return super().forward(crops, step)
        # One forward pass per plate, because batch norm normalises all crops of a pass together.
        losses = [super(AdaBnObjective, self).forward(part, step) for part in self._by_plate(crops)]
        return {name: torch.stack([part[name] for part in losses]).mean() for name in losses[0]}

    def notes(self) -> dict[str, Any]:
        """Return `adabn` if `embed` is to use each plate's own batch norm statistics."""
        return {"adabn": True} if self.plate_of else {}

    def _by_plate(self, crops: Crops) -> list[Crops]:
        """Split the crops of a step by plate."""
        length = self.crops_per_group or len(crops)
        return [crops.part(at, at + length) for at in range(0, len(crops), length)]

    @contextmanager
    def _adapted(self, field: int) -> Iterator[None]:
        """Inside the block, use the batch norm statistics of a field's plate, as `embed` does."""
        if self.plate_of is None:
            yield
            return
        with kept_statistics(self.model):
            reestimate(self.model, [network_input(self.plate_of(field), self.device)])
            yield
