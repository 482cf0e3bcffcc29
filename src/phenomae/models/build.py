"""Builds untrained networks of any family from settings, and reads settings from config files."""

from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

from phenomae.checks import one_of
from phenomae.models.families import FAMILIES
from phenomae.models.network import Network

# Larger numbers are refused, because the product of two settings must fit a 64-bit tensor size.
_MAX_NUMBER = 2**31
_TYPES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number below 2^31",
    float: "a number below 2^31",
    tuple[int, ...]: "a list of whole numbers below 2^31",
}


def find_network(family: str) -> type[Network]:
    """Import and return the network class of a family of `FAMILIES`."""
    # Imported when needed, so that a command loads only the network that it uses.
    path, _ = FAMILIES[family]
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def build(
    family: str, settings: Any, channels: Sequence[str], classes: Sequence[str] | None = None
) -> Network:
    """Return an untrained network; raises ValueError for a classifier without `classes`."""
    network = find_network(family)
    if not network.has_classes:
        return network(settings, channels)
    if not isinstance(classes, list | tuple):
        raise ValueError(
            f"a {family} model needs the list classes, the names of the perturbations it predicts"
        )
    return network(settings, channels, classes)  # pyright: ignore[reportCallIssue]


def read_settings(family: str, table: dict[str, Any]) -> Any:
    """Return a family's settings from a table of a config file; missing keys get defaults.

    Raises ValueError for an unknown key, for a value of the wrong type, and for a value that the
    settings class does not accept.
    """
    kind = find_network(family).Settings
    known = {field.name: field.type for field in fields(kind)}
    if unknown := sorted(table.keys() - known.keys()):
        raise ValueError(f"{unknown[0]!r} is not a setting of a {family} model")
    return kind(**{name: _read_value(name, value, known[name]) for name, value in table.items()})


def _read_value(name: str, value: Any, kind: Any) -> Any:
    """Return a value as the type of its setting; raises ValueError if it has another type."""
    if get_origin(kind) is Literal:
        one_of(name, value, get_args(kind))
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and _is_number(value, int):
        return value
    if kind is float and _is_number(value, int, float):
        return float(value)
    is_list = kind == tuple[int, ...] and isinstance(value, list | tuple)
    if is_list and all(_is_number(part, int) for part in value):
        return tuple(value)
    raise ValueError(f"{name} must be {_TYPES[kind]}, not {value!r}")


def _is_number(value: Any, *types: type) -> bool:
    # `type`, not isinstance: True is an int in Python. The comparison is false for NaN.
    return type(value) in types and abs(value) < _MAX_NUMBER
