"""The table of families: what a network's settings are, and how one is built."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from phenomae.models.classifier import Classifier, ClassifyingNetwork, VitClassifier
from phenomae.models.conv.unet_mae import UnetMae
from phenomae.models.network import Network
from phenomae.models.settings import (
    ChannelMaeModel,
    ClassifierModel,
    UnetMaeModel,
    VitClassifierModel,
    VitMaeModel,
)
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.vit_mae import VitMae

FAMILIES: dict[str, tuple[type[Any], type[Network]]] = {
    VitMae.family: (VitMaeModel, VitMae),
    ChannelMae.family: (ChannelMaeModel, ChannelMae),
    UnetMae.family: (UnetMaeModel, UnetMae),
    Classifier.family: (ClassifierModel, Classifier),
    VitClassifier.family: (VitClassifierModel, VitClassifier),
}
"""Family: its settings, its network."""

_LARGEST = 2**31
"""No number of a setting is as large; products of two still fit a tensor's size."""
_TYPES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number below 2^31",
    float: "a number below 2^31",
    tuple[int, ...]: "a list of whole numbers below 2^31",
}


def read_settings(family: str, table: dict[str, Any]) -> Any:
    """Return the settings of a family that a table holds; those it lacks have their defaults.

    Raises ValueError for a key that is no setting, for a value of another type than its setting,
    and for values that cannot be built.
    """
    kind, _ = FAMILIES[family]
    known = {field.name: field.type for field in fields(kind)}
    if unknown := sorted(table.keys() - known.keys()):
        raise ValueError(f"{unknown[0]!r} is no setting of a {family} model")
    return kind(**{name: _read_value(name, value, known[name]) for name, value in table.items()})


def _read_value(name: str, value: Any, kind: Any) -> Any:
    """Return a value as its setting's type; raises ValueError where it is of another."""
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and _is_number(value, int):
        return value
    if kind is float and _is_number(value, int, float):
        return float(value)
    listed = kind == tuple[int, ...] and isinstance(value, list | tuple)
    if listed and all(_is_number(part, int) for part in value):
        return tuple(value)
    raise ValueError(f"{name} must be {_TYPES[kind]}, not {value!r}")


def _is_number(value: Any, *types: type) -> bool:
    return type(value) in types and abs(value) < _LARGEST  # which NaN is not


def build(
    family: str, settings: Any, channels: Sequence[str], classes: Sequence[str] | None = None
) -> Network:
    """Return an untrained network; raises ValueError for a classifier without `classes`."""
    _, network = FAMILIES[family]
    if not issubclass(network, ClassifyingNetwork):
        return network(settings, channels)
    if not isinstance(classes, list | tuple):
        raise ValueError(
            f"a {family} model needs the list classes, the names of what it tells apart"
        )
    return network(settings, channels, classes)
