"""Trains a vision transformer to tell perturbations apart: `phenomae pretrain vit-classifier`."""

from collections.abc import Sequence
from dataclasses import dataclass

from cyclopts import Parameter

from phenomae.models.classifier import VitClassifier
from phenomae.models.settings import VitClassifierModel
from phenomae.pretraining.data import Data
from phenomae.pretraining.objectives.classifying import (
    ClassifyingObjective,
    label_fields,
    list_classes,
    open_labelled,
)
from phenomae.pretraining.pretrain import Family, Probes, pretrain
from phenomae.pretraining.settings import TrainingSettings, sizes_of
from phenomae.store.read import Store
from phenomae.urls import Location


@Parameter(name="*")
@dataclass(frozen=True)
class VitClassifierSettings(TrainingSettings, VitClassifierModel):
    """Sizes of the network, and how it is trained."""

    def __post_init__(self) -> None:
        VitClassifierModel.__post_init__(self)
        TrainingSettings.__post_init__(self)

    @property
    def model(self) -> VitClassifierModel:
        """The sizes alone."""
        return sizes_of(self, VitClassifierModel)


def pretrain_vit_classifier(
    store: Location,
    run: Location,
    /,
    *more: Location,
    settings: VitClassifierSettings = VitClassifierSettings(),
    overwrite: bool = False,
    probes: Probes = (),
) -> None:
    """Train a vision transformer to name the perturbation of a crop, on one store or several.

    With several, STORE STORE ... RUN. The classes are the perturbations of all wells, the controls'
    among them. A stopped run goes on from its newest checkpoint when the same command is given
    again. Raises ValueError where a store has no field or too few perturbations, where a field is
    smaller than a crop, where the stores' channels differ, or where RUN was begun with other
    settings or other stores.

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


def _open(stores: Sequence[Store], settings: VitClassifierSettings) -> Data:
    return open_labelled(stores, settings.crop_size, settings, by_plate=False)


def _build(data: Data, settings: VitClassifierSettings) -> ClassifyingObjective:
    model = VitClassifier(settings.model, data.channels, list_classes(data))
    return ClassifyingObjective(model, settings.seed, label_fields(data))


FAMILY = Family(VitClassifier.family, _open, _build)
