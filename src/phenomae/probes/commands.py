"""Makes the functions of `phenomae pretrain FAMILY` and their settings from the network classes.

`pretrain_vit_mae` and `VitMaeSettings` are made when they are imported from this module, because
`phenomae.models.families` lists VitMae; no other code depends on the family.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any

from cyclopts import Parameter

from phenomae.models.build import find_network
from phenomae.models.families import FAMILIES
from phenomae.models.network import Network
from phenomae.pretraining.combine_settings import combine_settings, find_objective
from phenomae.pretraining.pretrain import pretrain
from phenomae.pretraining.session import MakeCallback
from phenomae.pretraining.settings import NETWORK, RECALL
from phenomae.probes.recall import Recall
from phenomae.runs import Run
from phenomae.urls import Location

Callbacks = Annotated[Sequence[MakeCallback], Parameter(parse=False)]
"""Type of the argument `callbacks`; it is not a flag, because callbacks are Python objects."""

_HELP = """Train a {family} network on one or several stores (STORE STORE ... RUN).

{network}

{stores}

A stopped run continues from its newest checkpoint when the same command is given again, and ends
with the same weights. Raises ValueError if a store has no field, if a field is smaller than a crop,
or if RUN was started with other settings or other stores.

Parameters
----------
store
    Store written by `phenomae ingest`: a folder or an s3:// address.
run
    Folder of the run; the final weights are RUN/weights/model.safetensors.
more
    With several stores: the other stores, and last the run.
settings
    Settings of the network and of the training.
recall
    Measure the recall of known pairs during training; from Python, a Recall in `callbacks` does the
    same.
overwrite
    Replace an existing run.
callbacks
    Functions that are called with the session before training. The function that each returns is
    called before the first step and after every step, with the number of steps done and the losses
    of the last step.
"""


@cache
def pretrain_command(network: type[Network]) -> Callable[..., Run]:
    """Return the function that trains `network`, for the command line and for Python."""
    kind: Any = combine_settings(network)
    defaults, no_recall = kind(), Recall()

    def command(
        store: Location,
        run: Location,
        /,
        *more: Location,
        settings: Annotated[kind, NETWORK] = defaults,  # pyright: ignore[reportInvalidTypeForm]
        recall: Annotated[Recall, RECALL] = no_recall,
        overwrite: bool = False,
        callbacks: Callbacks = (),
    ) -> Run:
        # A Recall among the callbacks is recorded in config.toml, as one from flags is.
        passed = [item for item in callbacks if isinstance(item, Recall)]
        measured = [*([recall] if recall.every else []), *passed]
        if len(measured) > 1:
            raise ValueError("recall must be measured by one callback, not by several")
        return pretrain(
            (store, run, *more),
            settings,
            overwrite=overwrite,
            callbacks=[*(item for item in callbacks if item not in passed), *measured],
            recorded=(measured or [recall])[0].recorded(),
        )

    command.__name__ = command.__qualname__ = _function_name(network.family)
    described = (network.__doc__ or "").strip()
    command.__doc__ = _HELP.format(
        family=network.family, network=described, stores=find_objective(network).help
    )
    return command


def _function_name(family: str) -> str:
    return f"pretrain_{family.replace('-', '_')}"


def _settings_name(path: str) -> str:
    return f"{path.rpartition(':')[2]}Settings"


# Resolved on access, so that a command imports only the network that it trains.
def __getattr__(name: str) -> Any:
    for family, (path, _) in FAMILIES.items():
        if name == _function_name(family):
            return pretrain_command(find_network(family))
        if name == _settings_name(path):
            return combine_settings(find_network(family))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    functions = [_function_name(family) for family in FAMILIES]
    return [*globals(), *functions, *(_settings_name(path) for path, _ in FAMILIES.values())]
