"""Trains a network of any family in a run folder; `phenomae pretrain FAMILY` calls it.

The settings name the network class, which names its objective: no code here depends on a family.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from phenomae import __version__
from phenomae.artefacts import remove_replaced
from phenomae.crops.fields import keep_fields
from phenomae.devices import all_cores, is_rank_zero
from phenomae.locks import remove_stale_lock
from phenomae.pretraining.combine_settings import find_objective
from phenomae.pretraining.data import Data
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.session import MakeCallback, Session, identify, is_compiled, open_session
from phenomae.pretraining.settings import ADDED_LATER
from phenomae.pretraining.team import Team, gather_team, is_shared, whole
from phenomae.progress import info, set_quiet
from phenomae.runs import FILES, KIND, WEIGHTS, Run, finish_run, is_finished, run_folder
from phenomae.signatures import (
    Origin,
    already_there,
    read_signature,
    read_verified,
    require_same_work,
    settings_dict,
)
from phenomae.store.read import Store, open_store
from phenomae.urls import Location, locate
from phenomae.weights import io as weights
from phenomae.weights.warm_start import start_from
from phenomae.whole_files import hash_file

# Where a block's output is scaled by less, blocks hardly add to the mean of the patches: on the
# demo's screen 1e-4 gives recall at chance, and 1 that of a trained network.
_LINEAR_BELOW = 0.1
# Share of a CPU's peak FLOP/s that trainings reached: .5 to .6 (docs/log.md, 2026-12-01).
_SHARE_OF_PEAK = 0.5
_DAY_S = 86_400


@dataclass(frozen=True)
class _Request:
    """The arguments of `pretrain`, with the opened stores and data."""

    run: Path
    stores: Sequence[Store]
    data: Data
    settings: Any
    callbacks: Sequence[MakeCallback]
    recorded: dict[str, Any]
    origin: Origin
    overwrite: bool


def pretrain(
    paths: Sequence[Location],
    settings: Any,
    *,
    overwrite: bool = False,
    callbacks: Sequence[MakeCallback] = (),
    recorded: dict[str, Any] | None = None,
) -> Run:
    """Train a network on stores and return the run.

    Parameters
    ----------
    paths
        One or several stores, and last the run folder.
    settings
        An instance of the class that `combine_settings` makes for a network class.
    overwrite
        Replace an existing run.
    callbacks
        Called with the session before training; each returns a function that is called before the
        first step and after every step.
    recorded
        Settings of callbacks, which are written to `config.toml` in addition to `settings`.

    Raises
    ------
    ValueError
        If the stores cannot be trained on, if the run was started with other settings or stores, if
        the loss explodes too often, or if a callback raises ValueError.
    """
    # Only rank zero prints, or every line would appear once per process. By environment variables,
    # because `open_stores` already prints, before the processes are connected.
    if not is_rank_zero():
        set_quiet(True)
    stores, run = open_stores(paths, settings)
    objective = find_objective(settings.network)
    # Before the check for a finished run, so that wrong settings are an error in any case.
    data = objective.open_data(stores, settings)
    origin = _origin(stores, settings, objective.changeable)
    if is_finished(run) and not overwrite:
        require_same_work(run, read_signature(run, KIND), origin)
        signature = read_verified(run, KIND, FILES)
        # Left if a run was killed at its very end.
        remove_replaced(run)
        remove_stale_lock(run)
        info(already_there(run, signature))
        return Run(run)
    _run(_Request(run, stores, data, settings, callbacks, recorded or {}, origin, overwrite))
    return Run(run)


def _run(request: _Request) -> None:
    """Train with all processes that torchrun or SLURM has started, and all cores."""
    with all_cores():
        team = gather_team(request.settings)
        try:
            _pretrain(request, team)
        finally:
            team.leave()


def open_stores(paths: Sequence[Location], settings: Any) -> tuple[list[Store], Path]:
    """Open the stores with the fields that meet `where`; return them and the run, the last path.

    Raises ValueError if a path is not a store, or if the run is not a path on this machine.
    """
    *store_paths, run = map(locate, paths)
    if not isinstance(run, Path):
        raise ValueError(f"{run} cannot be a run: RUN comes last and is a folder on this machine")
    return [keep_fields(open_store(path), settings.where) for path in store_paths], run


def _pretrain(request: _Request, team: Team) -> None:
    run, settings = request.run, request.settings
    objective = build_objective(request.data, settings, team)
    session = open_session(run, objective, request.data, settings, team)
    _report_duration(session)
    # Before anything is written, because a callback raises if its settings are wrong.
    session.callbacks += [make(session) for make in request.callbacks]
    with _open_run(request, team) as require_held:
        team.wait()
        session.run()
        objective = _gather(objective, lambda: type(objective).build(request.data, settings))
        if team.writes:
            require_held()
            _finish(request, objective)


@contextmanager
def _open_run(request: _Request, team: Team) -> Iterator[Callable[[], None]]:
    """Begin or continue the run, in the process that writes, and keep other calls out of it."""
    run, settings = request.run, request.settings
    if not team.writes:
        yield lambda: None
        return
    _report_pixel_sizes(request.stores, settings)
    _warn_if_linear(run, settings)
    with run_folder(
        run,
        request.origin,
        f"pretrain {settings.network.family}",
        settings={**settings_dict(settings), **request.recorded},
        overwrite=request.overwrite,
        machine=_describe(team),
    ) as require_held:
        yield require_held


def _finish(request: _Request, objective: Objective) -> None:
    objective.draw(request.run / "reconstructions.png", request.data.example_crops())
    identity = identify(objective.model, request.origin.identity)
    config = {**_config(request.stores, request.settings, identity), **objective.notes()}
    weights.save(request.run / WEIGHTS, objective.model, config)
    finish_run(request.run, request.origin, identity)


def build_objective(data: Data, settings: Any, team: Team) -> Objective:
    """Return the objective with initial weights or those of `init`, compiled if it is to be."""
    # torch's generator draws only the initial weights; later draws depend on (seed, step, index).
    torch.manual_seed(settings.seed)
    objective = find_objective(settings.network).build(data, settings)
    if settings.init is not None:
        for line in start_from(objective.model, settings.init):
            info(line)
    if is_compiled(settings, team.machine.device):
        objective.compile()
    return objective


def _gather(objective: Objective, build: Callable[[], Objective]) -> Objective:
    """Return an objective with all weights: a new one if the weights are sharded (FSDP)."""
    if not is_shared(objective):
        return objective
    # All processes have to call `whole`, including those that write nothing.
    state = {name: whole(value).cpu() for name, value in objective.state_dict().items()}
    alone = build()
    alone.load_state_dict(state)
    return alone


def _describe(team: Team) -> dict[str, str]:
    """Return the lines of environment.txt about device, precision and processes."""
    machine = team.machine
    lines = {"device": str(machine.device), "precision": machine.precision}
    return lines if team.count == 1 else {**lines, "processes": str(team.count)}


def _origin(stores: Sequence[Store], settings: Any, changeable: Sequence[str]) -> Origin:
    """Return what identifies the work: the settings that affect the weights, and the stores."""
    decisive = settings_dict(settings)
    for key in changeable:
        del decisive[key]
    for key, before in ADDED_LATER.items():
        if key in decisive and getattr(settings, key) == before:
            del decisive[key]  # so that runs that do not record the setting count as the same work
    names = ["store", *(f"store {number}" for number in range(2, len(stores) + 1))]
    sources = {
        name if role == "store" else f"{role} of {name}": identity
        for name, store in zip(names, stores, strict=True)
        for role, identity in store.sources.items()
    }
    if settings.sample_by is not None:
        decisive.pop("sample_by")  # its content, not its path
        sources["sample_by"] = hash_file(Path(settings.sample_by))
    if settings.init is not None:
        decisive.pop("init")  # weights are identified by their content, not by their path
        sources["init"] = weights.identify(settings.init)
    return Origin(KIND, {"family": settings.network.family, **decisive}, sources)


def _report_pixel_sizes(stores: Sequence[Store], settings: Any) -> None:
    """Print a line if the stores have different pixel sizes and crops are not resampled."""
    sizes = {str(store.path): store.pixel_size_um for store in stores if store.pixel_size_um}
    if settings.pixel_size_um is None and len(set(sizes.values())) > 1:
        listed = ", ".join(f"{path} {size} um" for path, size in sizes.items())
        info(f"pixel sizes differ: {listed}; --pixel-size-um resamples all crops to one size")


def _warn_if_linear(run: Path, settings: Any) -> None:
    """Print a line if the network is not trained and its blocks hardly count."""
    scale = getattr(settings.model, "layer_scale", 1.0)
    if settings.steps == 0 and settings.init is None and scale < _LINEAR_BELOW:
        info(
            f"steps is 0, and at a layer_scale of {scale:g} the network is nearly linear, a weak "
            f"baseline: embed with random:{run}, the same network at layer_scale 1"
        )


def _report_duration(session: Session) -> None:
    """Print a line if the training would take more than a day on this CPU."""
    settings = session.settings
    flops = settings.steps * settings.crops_per_step * session.flops_per_crop
    days = flops / (_SHARE_OF_PEAK * session.peak_flops_per_s) / _DAY_S
    if session.team.machine.device.type == "cpu" and days > 1:
        family = settings.network.family
        info(
            f"{settings.steps:,} steps take about {days:,.0f} days on this CPU, by their FLOPs: "
            f"--config demo-{family} trains a small network in minutes, and phenomae plan pretrain "
            f"{family} times some steps"
        )


def _config(stores: Sequence[Store], settings: Any, identity: str) -> dict[str, Any]:
    """Return the provenance that config.json of the weights has in addition to the network."""
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
