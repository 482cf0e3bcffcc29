"""The one way in which settings are checked: NAME must be ..., not VALUE.

Every settings class calls these in `__post_init__`. NAME is the field's name in Python, which is
also its key in a recipe; the command line spells it with dashes. None means "not given" and passes.
"""

from collections.abc import Collection
from typing import Any


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
