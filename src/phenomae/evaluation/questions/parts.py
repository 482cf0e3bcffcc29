"""Computes the parts of an answer that can be computed, and reports why the others cannot."""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from phenomae.progress import info

Key = TypeVar("Key", bound=Hashable)
Part = TypeVar("Part")


def compute_parts(
    parts: Mapping[Key, Callable[[], Part]], name: Callable[[Key], str] = str
) -> dict[Key, Part]:
    """Return the parts whose functions do not raise ValueError, by key; log the reasons of others.

    `name` returns the name of a part in messages. Raises ValueError with all reasons if no part can
    be computed.
    """
    found: dict[Key, Part] = {}
    missing: dict[Key, ValueError] = {}
    for key, compute in parts.items():
        try:
            found[key] = compute()
        except ValueError as error:
            missing[key] = error
    if not found:
        raise _join(missing, name)
    for key, error in missing.items():
        info(f"no {name(key)}: {error}")
    return found


def _join(missing: Mapping[Key, ValueError], name: Callable[[Key], str]) -> ValueError:
    """Return one error for all parts: each reason once, with its part if reasons differ."""
    if len({str(error) for error in missing.values()}) == 1:
        return next(iter(missing.values()))
    return ValueError("; ".join(f"no {name(key)}: {error}" for key, error in missing.items()))


def name_tier(tier: str) -> str:
    """Return the name of a tier as a part."""
    return f"tier {tier}"
