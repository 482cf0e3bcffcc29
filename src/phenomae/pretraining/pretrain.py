"""Trains a network of any family in a run folder; the commands, one a family, call it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter

from phenomae import __version__
from phenomae.artefacts import (
    Origin,
    read_signature,
    remove_replaced,
    require_same_work,
    settings_dict,
)
from phenomae.crops.fields import keep_fields
from phenomae.devices import all_cores
from phenomae.pretraining.callbacks.reconstructions import draw_reconstructions
from phenomae.pretraining.data import Data
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.session import MakeProbe, identify, open_session, wants_compiling
from phenomae.pretraining.settings import INDIFFERENT, LATER
from phenomae.pretraining.team import Team, gather_team, is_shared, whole
from phenomae.progress import info, set_quiet
from phenomae.runs import KIND, WEIGHTS, begin_run, finish_run, is_finished
from phenomae.store.read import Store, open_store
from phenomae.weights import io as weights
from phenomae.weights.warm_start import start_from


@dataclass(frozen=True)
class Family:
    """What one family of networks brings to its training; settings are of the family's own kind."""

    name: str
    open_data: Callable[[Sequence[Store], Any], Data]
    """Splits and groups the fields of stores."""
    build: Callable[[Data, Any], Objective]
    """Makes the network, its first weights drawn from torch's generator, and its objective."""
    indifferent: tuple[str, ...] = INDIFFERENT
    """Settings that may be others when a run goes on."""


Probes = Annotated[Sequence[MakeProbe], Parameter(parse=False)]
"""What makes probes, as the commands' functions take it; it cannot be said on a command line."""


def pretrain(
    family: Family,
    paths: Sequence[Path | str],
    settings: Any,
    overwrite: bool,
    probes: Sequence[MakeProbe] = (),
) -> None:
    """Train a network on the stores that `paths` begin with, in the run that they end with.

    A stopped run goes on from its newest checkpoint. Raises ValueError where the stores cannot be
    trained on, where the run was begun with other settings or other stores, or where a probe cannot
    do its work.
    """
    if settings.recall_every and not probes:
        raise ValueError(
            f"recall_every {settings.recall_every} needs probes that measure it: call the function "
            "of the same name in phenomae.probes.commands, which gives them"
        )
    stores, run = open_stores(paths, settings)
    data = family.open_data(stores, settings)
    origin = _origin(family, stores, settings)
    if is_finished(run) and not overwrite:
        require_same_work(run, read_signature(run, KIND), origin)
        remove_replaced(run)  # a stop may have left what this run replaced
        info(f"{run} is already there, trained with the same settings (--overwrite makes it anew)")
        return
    with all_cores():
        team = gather_team(settings)
        try:
            if not team.writes:
                set_quiet(True)
            _pretrain(family, stores, data, run, settings, origin, overwrite, team, probes)
        finally:
            team.leave()


def open_stores(paths: Sequence[Path | str], settings: Any) -> tuple[list[Store], Path]:
    """Return the stores that `paths` begin with, of the fields asked for, and the run at their end.

    Raises ValueError where one is no store, or the run no folder on this machine.
    """
    *store_paths, run = paths
    if not isinstance(run, Path):
        raise ValueError(f"{run} cannot be a run: RUN comes last, and is a folder on this machine")
    return [keep_fields(open_store(path), settings.where) for path in store_paths], run


def _pretrain(
    family: Family,
    stores: Sequence[Store],
    data: Data,
    run: Path,
    settings: Any,
    origin: Origin,
    overwrite: bool,
    team: Team,
    probes: Sequence[MakeProbe],
) -> None:
    objective = build_objective(family, data, settings, team)
    session = open_session(run, objective, data, settings, team)
    session.probes += [make(session) for make in probes]  # before anything is written
    if team.writes:
        _tell_pixel_sizes(stores, settings)
        begin_run(
            run,
            origin,
            f"pretrain {family.name}",
            settings=settings_dict(settings),
            overwrite=overwrite,
            machine=_describe(team),
        )
    team.wait()
    session.run()

    objective = _reunite(objective, lambda: family.build(data, settings))
    if not team.writes:
        return
    if isinstance(objective, MaskedObjective):
        draw_reconstructions(run / "reconstructions.png", objective, data.pictured())
    identity = identify(objective.model, origin.identity)
    config = {**_config(stores, settings, identity), **objective.notes()}
    weights.save(run / WEIGHTS, objective.model, config)
    finish_run(run, origin, identity)


def build_objective(family: Family, data: Data, settings: Any, team: Team) -> Objective:
    """Return a family's objective with its first weights, compiled where that is wanted."""
    torch.manual_seed(settings.seed)
    objective = family.build(data, settings)
    if settings.init is not None:
        for line in start_from(objective.model, settings.init):
            info(line)
    if wants_compiling(settings, team.machine.device):
        objective.model.compile()
    return objective


def _reunite(objective: Objective, build: Callable[[], Objective]) -> Objective:
    """Return an objective whose weights lie in this process alone, where they are shared."""
    if not is_shared(objective):
        return objective
    state = {name: whole(value).cpu() for name, value in objective.state_dict().items()}
    alone = build()
    alone.load_state_dict(state)
    return alone


def _describe(team: Team) -> dict[str, str]:
    """Return what environment.txt says of where a network is trained."""
    machine = team.machine
    told = {"device": str(machine.device), "precision": machine.precision}
    return told if team.count == 1 else {**told, "processes": str(team.count)}


def _origin(family: Family, stores: Sequence[Store], settings: Any) -> Origin:
    decisive = settings_dict(settings)
    for key in family.indifferent:
        del decisive[key]
    for key, before in LATER.items():
        if key in decisive and getattr(settings, key) == before:
            del decisive[key]  # as in runs begun before there was such a setting
    names = ["store", *(f"store {number}" for number in range(2, len(stores) + 1))]
    sources = {name: store.identity for name, store in zip(names, stores, strict=True)}
    if settings.init is not None:
        decisive.pop("init")  # wherever it lies
        sources["init"] = weights.identify(settings.init)
    return Origin(KIND, {"family": family.name, **decisive}, sources)


def _tell_pixel_sizes(stores: Sequence[Store], settings: Any) -> None:
    """Say where stores whose pixels are not of one size are trained on as they are."""
    sizes = {str(store.path): store.pixel_size_um for store in stores if store.pixel_size_um}
    if settings.pixel_size_um is None and len(set(sizes.values())) > 1:
        told = ", ".join(f"{path} {size} um" for path, size in sizes.items())
        info(f"pixel sizes differ: {told}; --pixel-size-um brings all crops to one")


def _config(stores: Sequence[Store], settings: Any, identity: str) -> dict[str, Any]:
    """Return what the weights carry beside the network: where it comes from, what it has seen."""
    sizes = {settings.pixel_size_um or store.pixel_size_um for store in stores}
    kinds = {"uint8/255" if store.dtype == "uint8" else "window" for store in stores}
    identities = [store.identity for store in stores]
    return {
        "identity": identity,
        "pixel_size_um": sizes.pop() if len(sizes) == 1 else None,
        "intensity": kinds.pop() if len(kinds) == 1 else "uint8/255 and window",
        "store": identities[0] if len(identities) == 1 else identities,
        "steps": settings.steps,
        "version": __version__,
    }
