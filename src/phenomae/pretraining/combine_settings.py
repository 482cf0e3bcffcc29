"""Combines the settings of a network, of the training and of the objective into one dataclass.

There is no class per family to write: `combine_settings(VitMae)` is `VitMaeSettings`. The order of
its fields, first the network's, is the order of keys in `config.toml`.
"""

from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from typing import Any

from cyclopts import Parameter

from phenomae.models.network import Network
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.settings import TrainingSettings


def find_objective(network: type[Network]) -> type[Objective]:
    """Import and return the objective that a network class names."""
    module, _, name = network.objective.partition(":")
    return getattr(import_module(module), name)


@cache
def combine_settings(network: type[Network]) -> type[Any]:
    """Return the settings class of a training of `network`.

    It has the fields of `network.Settings`, `TrainingSettings` and the objective's settings, and
    checks them all. Two more attributes are `network`, the class, and `model`, its own settings.
    """
    parts = (network.Settings, TrainingSettings, find_objective(network).Settings)

    # Explicit, not by super(): the parts do not know each other. The objective checks last, when
    # the values that it compares have been checked.
    def check(self: Any) -> None:
        for part in parts:
            part.__post_init__(self)

    def model(self: Any) -> Any:
        names = [field.name for field in fields(network.Settings)]
        return network.Settings(**{name: getattr(self, name) for name in names})

    attributes = {
        "__doc__": f"Settings of a training of {network.__name__}.",
        "__module__": __name__,
        "__post_init__": check,
        # No annotation, so that dataclass takes it for a class attribute and not for a field.
        "network": network,
        "model": property(model, doc="The network's own settings."),
        # pickle finds classes by module and name, and this one is in no module.
        "__reduce__": lambda self: (_restore, (network, vars(self))),
    }
    # dataclasses collect fields from the last base to the first.
    made = type(f"{network.__name__}Settings", parts[::-1], attributes)
    return Parameter(name="*")(dataclass(frozen=True)(made))


def _restore(network: type[Network], values: dict[str, Any]) -> Any:
    """Return unpickled settings."""
    return combine_settings(network)(**values)
