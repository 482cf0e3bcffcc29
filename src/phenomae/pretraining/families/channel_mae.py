"""Pretrains a channel-agnostic masked autoencoder: `phenomae pretrain channel-mae`."""

from collections.abc import Sequence
from dataclasses import dataclass

from cyclopts import Parameter

from phenomae.models.settings import ChannelMaeModel
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.pretraining.data import Data, open_data
from phenomae.pretraining.objectives.masked import ChannelObjective
from phenomae.pretraining.pretrain import Family, Probes, pretrain
from phenomae.pretraining.settings import TrainingSettings, sizes_of
from phenomae.store.read import Store
from phenomae.urls import Location


@Parameter(name="*")
@dataclass(frozen=True)
class ChannelMaeSettings(TrainingSettings, ChannelMaeModel):
    """Sizes of the network, and how it is trained."""

    drop_channel: float = 0.0
    """Share of the steps whose crops are without one of their channels, chosen at random."""

    def __post_init__(self) -> None:
        ChannelMaeModel.__post_init__(self)
        TrainingSettings.__post_init__(self)
        if not 0 <= self.drop_channel <= 1:
            raise ValueError(f"drop_channel must be a share of 0 to 1, not {self.drop_channel}")

    @property
    def model(self) -> ChannelMaeModel:
        """The sizes alone."""
        return sizes_of(self, ChannelMaeModel)


def pretrain_channel_mae(
    store: Location,
    run: Location,
    /,
    *more: Location,
    settings: ChannelMaeSettings = ChannelMaeSettings(),
    overwrite: bool = False,
    probes: Probes = (),
) -> None:
    """Train a masked autoencoder that takes any channels, on one store or several.

    With several, STORE STORE ... RUN, every store may have channels of its own; the crops of a step
    come from stores of the same ones. Channels go by their names: the same stain must have the
    same name everywhere. A stopped run goes on from its newest checkpoint when the same command is
    given again. Raises ValueError where a store has no field, where a field is smaller than a crop,
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


def _open(stores: Sequence[Store], settings: ChannelMaeSettings) -> Data:
    return open_data(stores, settings.crop_size, settings)


def _build(data: Data, settings: ChannelMaeSettings) -> ChannelObjective:
    model = ChannelMae(settings.model, data.channels)
    return ChannelObjective(model, settings.seed, settings.drop_channel)


FAMILY = Family(ChannelMae.family, _open, _build)
