"""Pretrains a masked autoencoder on a vision transformer: `phenomae pretrain vit-mae`."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from cyclopts import Parameter

from phenomae import __version__
from phenomae.artefacts import Origin, read_signature, require_same_work, settings_dict
from phenomae.models import weights
from phenomae.models.machine import all_cores, open_machine
from phenomae.models.settings import VitMaeModel
from phenomae.models.vit_mae import VitMae
from phenomae.pretrain.data import Data, open_data
from phenomae.pretrain.objective import MaskedObjective
from phenomae.pretrain.pictures import draw_reconstructions
from phenomae.pretrain.session import identify, train_in_run, wants_compiling
from phenomae.pretrain.settings import TrainingSettings
from phenomae.progress import say
from phenomae.runs import KIND, WEIGHTS, begin_run, finish_run, is_finished
from phenomae.store.read import Store, open_store

COMMAND = f"pretrain {VitMae.family}"


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
        return VitMaeModel(**{item.name: getattr(self, item.name) for item in fields(VitMaeModel)})


def pretrain_vit_mae(
    store: Path,
    run: Path,
    /,
    *,
    settings: VitMaeSettings = VitMaeSettings(),
    overwrite: bool = False,
) -> None:
    """Train a masked autoencoder on random crops of a store.

    A stopped run goes on from its newest checkpoint when the same command is given again, and ends
    with the same weights. Raises ValueError where the store has no field, where a field is smaller
    than a crop, or where RUN was begun with other settings or another store.

    Parameters
    ----------
    store
        What `phenomae ingest` made.
    run
        Folder of the run; the final weights are RUN/weights/model.safetensors.
    settings
        Sizes of the network, and how it is trained.
    overwrite
        Replace a run that is there already.
    """
    screen = open_store(store)
    data = open_data(screen, settings.crop_size, settings)
    origin = _origin(screen, settings)
    if is_finished(run) and not overwrite:
        require_same_work(run, read_signature(run, KIND), origin)
        say(f"{run} is already there, trained with the same settings (--overwrite makes it anew)")
        return
    with all_cores():
        _pretrain(screen, data, run, settings, origin, overwrite)


def _pretrain(
    screen: Store,
    data: Data,
    run: Path,
    settings: VitMaeSettings,
    origin: Origin,
    overwrite: bool,
) -> None:
    machine = open_machine(settings.device, settings.precision)
    begin_run(
        run,
        origin,
        COMMAND,
        settings=settings_dict(settings),
        overwrite=overwrite,
        machine={"device": str(machine.device), "precision": machine.precision},
    )
    torch.manual_seed(settings.seed)
    model = VitMae(settings.model, screen.channels)
    if wants_compiling(settings, machine.device):
        model.compile()
    objective = MaskedObjective(model, settings.seed)
    train_in_run(run, objective, data, settings, machine)

    draw_reconstructions(run / "reconstructions.png", objective, data.pictured(), screen.channels)
    identity = identify(model, origin.identity)
    weights.save(run / WEIGHTS, model, _config(screen, settings, identity))
    finish_run(run, origin, identity)


def _origin(screen: Store, settings: VitMaeSettings) -> Origin:
    decisive = settings_dict(settings)
    del decisive["cache_gb"]  # changes no number, and may have to be changed for a run to go on
    return Origin(KIND, {"family": VitMae.family, **decisive}, {"store": screen.identity})


def _config(screen: Store, settings: VitMaeSettings, identity: str) -> dict[str, Any]:
    """Return what the weights carry beside their sizes."""
    return {
        "identity": identity,
        "pixel_size_um": screen.pixel_size_um,
        "intensity": "uint8/255" if screen.dtype == "uint8" else "window",
        "store": screen.identity,
        "steps": settings.steps,
        "version": __version__,
    }
