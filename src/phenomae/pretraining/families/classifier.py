"""Trains a DenseNet to tell perturbations apart: `phenomae pretrain classifier`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from cyclopts import Parameter

from phenomae.models.classifier import Classifier
from phenomae.models.settings import ClassifierModel
from phenomae.pretraining.data import Data
from phenomae.pretraining.objectives.classifying import (
    ClassifyingObjective,
    label_fields,
    list_classes,
    open_labelled,
)
from phenomae.pretraining.pretrain import Family, Probes, pretrain
from phenomae.pretraining.settings import INDIFFERENT, TrainingSettings, sizes_of
from phenomae.store.read import Store
from phenomae.urls import Location

_PLATE_CROPS = 64  # what a plate's statistics are taken from when the validation loss is measured


@Parameter(name="*")
@dataclass(frozen=True)
class ClassifierSettings(TrainingSettings, ClassifierModel):
    """Sizes of the network, and how it is trained."""

    adabn: Literal["on", "off"] = "on"
    """Whether batch norms go by single plates: a step's crops then come from one plate, and every
    plate that is embedded gets statistics of its own."""
    plates_per_step: int = 1
    """With adabn, how many plates share a step's crops evenly, each with its own statistics."""

    def __post_init__(self) -> None:
        ClassifierModel.__post_init__(self)
        TrainingSettings.__post_init__(self)
        if self.plates_per_step < 1 or self.crops_per_step % self.plates_per_step:
            raise ValueError(
                f"plates_per_step must divide crops_per_step {self.crops_per_step}, "
                f"not be {self.plates_per_step}"
            )
        if self.crops_per_step < 2 * self.plates_per_step:
            raise ValueError(
                f"crops_per_step must be {2 * self.plates_per_step} or more, two a plate, as batch "
                f"norm compares crops, not {self.crops_per_step}"
            )
        a_plate = self.crops_per_step // self.plates_per_step
        most = min(self.crops_at_once or a_plate, a_plate)
        if most < 2 or a_plate % most:
            raise ValueError(
                f"crops_at_once must be 2 or more and divide the {a_plate} crops of a plate, as "
                f"batch norm compares crops of one plate, not be {self.crops_at_once}"
            )
        if a_plate % self.crops_per_field:
            raise ValueError(
                "crops_per_field must divide the crops of a plate, "
                f"{a_plate} a step, not be {self.crops_per_field}"
            )
        if self.activation_checkpointing == "on":
            raise ValueError(
                "activation_checkpointing would have batch norms count every crop twice: leave it "
                "off, and lower crops_at_once where memory is too small"
            )
        if self.plates_per_step > 1 and self.adabn == "off":
            raise ValueError("plates_per_step is a setting of adabn, which is off: leave it at 1")

    @property
    def model(self) -> ClassifierModel:
        """The sizes alone."""
        return sizes_of(self, ClassifierModel)


def pretrain_classifier(
    store: Location,
    run: Location,
    /,
    *more: Location,
    settings: ClassifierSettings = ClassifierSettings(),
    overwrite: bool = False,
    probes: Probes = (),
) -> None:
    """Train a DenseNet to name the perturbation of a crop, on one store or several.

    With several, STORE STORE ... RUN. The classes are the perturbations of all wells, the controls'
    among them; the embedding is the narrow layer before them. A stopped run goes on from its newest
    checkpoint when the same command is given again. Raises ValueError where a store has no field or
    too few perturbations, where a field is smaller than a crop, where the stores' channels differ,
    or where RUN was begun with other settings or other stores.

    Parameters
    ----------
    store
        What `phenomae ingest` made: a folder, or an s3:// address.
    run
        Folder of the run; the final weights are RUN/weights/model.safetensors.
    more
        Where there are several stores: the others, and last the run.
    settings
        Sizes of the network, and how it is trained.
    overwrite
        Replace a run that is there already.
    probes
        What looks on beside the probes there are anyway.
    """
    pretrain(FAMILY, (store, run, *more), settings, overwrite, probes)


def _open(stores: Sequence[Store], settings: ClassifierSettings) -> Data:
    data = open_labelled(stores, settings.crop_size, settings, by_plate=settings.adabn == "on")
    plates = len(np.unique(data.group_of[data.training]))
    if settings.plates_per_step > plates:
        raise ValueError(
            f"plates_per_step is {settings.plates_per_step}, but there are {plates} plates to "
            "train on: a step's plates are all different"
        )
    if settings.plates_per_step > 1 and data.reader.kinds.any():
        raise ValueError(
            "plates_per_step above 1 needs stores of one type of pixels, and these hold uint8 and "
            "uint16: leave it at 1, or ingest them alike"
        )
    return data


def _build(data: Data, settings: ClassifierSettings) -> ClassifyingObjective:
    model = Classifier(settings.model, data.channels, list_classes(data))
    return ClassifyingObjective(
        model,
        settings.seed,
        label_fields(data),
        partial(data.spread, most=_PLATE_CROPS) if settings.adabn == "on" else None,
        settings.plates_per_step,
        settings.crops_per_step // settings.plates_per_step,
    )


# What batch norms see depends on how many crops go together.
_DECISIVE = ("crops_at_once", "activation_checkpointing")
FAMILY = Family(
    Classifier.family,
    _open,
    _build,
    tuple(name for name in INDIFFERENT if name not in _DECISIVE),
)
