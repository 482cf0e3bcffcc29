"""Pretrains a masked autoencoder on a vision transformer: `phenomae pretrain vit-mae`."""

from collections.abc import Sequence
from dataclasses import dataclass

from cyclopts import Parameter

from phenomae.models.settings import VitMaeModel
from phenomae.models.vit.vit_mae import VitMae
from phenomae.pretraining.data import Data, open_data, share_channels
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.pretraining.pretrain import Family, Probes, pretrain
from phenomae.pretraining.settings import TrainingSettings, sizes_of
from phenomae.store.read import Store
from phenomae.urls import Location


@Parameter(name="*")
@dataclass(frozen=True)
class VitMaeSettings(TrainingSettings, VitMaeModel):
    """Sizes of the network, and how it is trained."""

    def __post_init__(self) -> None:
        VitMaeModel.__post_init__(self)
        TrainingSettings.__post_init__(self)

    @property
    def model(self) -> VitMaeModel:
        """The sizes alone."""
        return sizes_of(self, VitMaeModel)


def pretrain_vit_mae(
    store: Location,
    run: Location,
    /,
    *more: Location,
    settings: VitMaeSettings = VitMaeSettings(),
    overwrite: bool = False,
    probes: Probes = (),
) -> None:
    """Train a masked autoencoder on random crops of a store, or of several: STORE STORE ... RUN.

    A stopped run goes on from its newest checkpoint when the same command is given again, and ends
    with the same weights. Raises ValueError where a store has no field, where a field is smaller
    than a crop, where the stores' channels differ, or where RUN was begun with other settings or
    other stores.

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


def _open(stores: Sequence[Store], settings: VitMaeSettings) -> Data:
    return open_data(stores, settings.crop_size, settings, share_channels(stores))


def _build(data: Data, settings: VitMaeSettings) -> MaskedObjective:
    return MaskedObjective(VitMae(settings.model, data.channels), settings.seed)


FAMILY = Family(VitMae.family, _open, _build)
