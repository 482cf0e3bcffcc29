"""The one way in which settings are checked: NAME must be ..., not VALUE.

Every settings class calls these in `__post_init__`. NAME is the field's name in Python, which is
also its key in a recipe; the command line spells it with dashes. None means "not given" and passes.
"""

import math
from collections.abc import Collection
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from typing import Any, get_args, get_type_hints


def whole_numbers(settings: Any) -> None:
    """Raise ValueError if a setting of type int has a fraction; 5.0 becomes 5.

    `settings` is a dataclass. The command line refuses fractions by itself, but Python does not.
    """
    for name in _whole_fields(type(settings)):
        value = getattr(settings, name)
        if (number := whole_number(name, value)) is not value:
            object.__setattr__(settings, name, number)  # also of a frozen dataclass


def whole_number(name: str, value: Any) -> Any:
    """Return 5 for 5.0, also in a tuple or list; raises ValueError for a number with a fraction.

    What is no number is returned unchanged.
    """
    if isinstance(value, tuple | list):
        return type(value)(whole_number(name, item) for item in value)
    if isinstance(value, Integral) or not isinstance(value, Real):
        return value
    require(bool(value % 1 == 0), name, "a whole number", value)  # not NaN, nor infinite
    return math.floor(value)


def is_whole(kind: Any) -> bool:
    """Return whether numbers of a type, such as `tuple[int, ...] | None`, have no fraction."""
    leaves = _leaves(kind)
    return int in leaves and float not in leaves


@cache
def _whole_fields(settings: type) -> list[str]:
    kinds = get_type_hints(settings)
    return [field.name for field in fields(settings) if is_whole(kinds[field.name])]


def _leaves(kind: Any) -> list[Any]:
    """Return the types that a type is made of: int and None for `tuple[int, ...] | None`."""
    parts = get_args(kind)
    return [leaf for part in parts for leaf in _leaves(part)] if parts else [kind]


def at_least(name: str, value: float | None, minimum: float) -> None:
    """Raise ValueError unless `value` is finite and at least `minimum`."""
    require(value is None or minimum <= value < float("inf"), name, f"at least {minimum}", value)


def above(name: str, value: float | None, bound: float) -> None:
    """Raise ValueError unless `value` is finite and greater than `bound`."""
    require(value is None or bound < value < float("inf"), name, f"above {bound}", value)


def between(name: str, value: float | None, low: float, high: float, *, ends: bool = False) -> None:
    """Raise ValueError unless low < value < high; with `ends`, low and high are allowed too."""
    inside = value is None or low < value < high or (ends and value in (low, high))
    rule = f"from {low} to {high}" if ends else f"between {low} and {high} (both excluded)"
    require(inside, name, rule, value)


def share(name: str, value: float | None) -> None:
    """Raise ValueError unless `value` is a fraction from 0 to 1."""
    between(name, value, 0, 1, ends=True)


def one_of(name: str, value: str | int | None, allowed: Collection[Any]) -> None:
    """Raise ValueError unless `value` is one of `allowed`."""
    require(
        value is None or value in allowed, name, f"one of {', '.join(map(str, allowed))}", value
    )


def require(holds: bool, name: str, rule: str, value: Any) -> None:
    """Raise ValueError "NAME must be RULE, not VALUE" unless `holds`; for rules of other kinds."""
    if not holds:
        raise ValueError(f"{name} must be {rule}, not {value}")
