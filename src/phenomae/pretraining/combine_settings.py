"""Combines the settings of a network, of the training and of the objective into one dataclass.

`combine_settings(VitMae)` makes `VitMaeSettings`, so a family has no such class in its own code.
The fields of the network come first; the keys of `config.toml` have the order of the fields.
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
    """Import and return the objective class that `network.objective` names."""
    module, _, name = network.objective.partition(":")
    return getattr(import_module(module), name)


@cache
def combine_settings(network: type[Network]) -> type[Any]:
    """Return the class of all settings that are needed to train `network`.

    The class has the fields and checks of `network.Settings`, `TrainingSettings` and the
    objective's settings. Its attribute `network` is the network class; `model` returns the
    network's settings alone.
    """
    parts = (network.Settings, TrainingSettings, find_objective(network).Settings)

    # Each part is called explicitly: the parts do not call super(). The objective checks last,
    # because it compares values that the other parts check.
    def check(self: Any) -> None:
        for part in parts:
            part.__post_init__(self)

    def model(self: Any) -> Any:
        names = [field.name for field in fields(network.Settings)]
        return network.Settings(**{name: getattr(self, name) for name in names})

    attributes = {
        "__doc__": f"All settings that are needed to train {network.__name__}.",
        "__module__": __name__,
        "__post_init__": check,
        # Without an annotation, so that dataclass makes a class attribute and not a field.
        "network": network,
        "model": property(model, doc="The network's own settings."),
        # pickle looks up classes by module and name, but a class made at run time is in no module.
        "__reduce__": lambda self: (_restore, (network, vars(self))),
    }
    # dataclasses collect fields from the last base to the first.
    made = type(f"{network.__name__}Settings", parts[::-1], attributes)
    return Parameter(name="*")(dataclass(frozen=True)(made))


def _restore(network: type[Network], values: dict[str, Any]) -> Any:
    """Return settings from the network class and the values that were pickled."""
    return combine_settings(network)(**values)
