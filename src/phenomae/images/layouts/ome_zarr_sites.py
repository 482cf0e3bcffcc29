"""Numbers the images of a well of an OME-Zarr plate: which site each is of.

The images of a later acquisition go on counting, so their sites are found by shifting the numbers.
That is only right if no image is missing: else pixels of different sites would be joined.
"""

import re
from collections.abc import Collection, Sequence

# `0` and `0_registered`: a field, and what Fractal's tasks made of it.
_NUMBERED = re.compile(r"([0-9]{1,6})(?:_(.+))?", re.ASCII)
_DIGITS = re.compile(r"[0-9]+")
_SHOWN = 6

_Numbers = dict[str, list[int]]
"""Numbers of the images of each acquisition."""


def number_sites(images: Sequence[tuple[str, str]]) -> list[int]:
    """Return the site of each image of a well, given as its name and acquisition.

    It is the number that the name begins with, counted from the first one of its acquisition, or
    else the place in the well, counted from 1. Raises ValueError if there are several acquisitions
    whose images do not match.
    """
    names, acquisitions = [name for name, _ in images], [its for _, its in images]
    matches = [_NUMBERED.fullmatch(name) for name in names]
    numbers = [int(match[1]) for match in matches if match]
    if len(numbers) < len(images):  # names like fov1: in their order, counted from 1
        numbers = list(range(1, len(images) + 1))
        if inner := _inner_numbers(names, acquisitions):
            _require_matching(_split(inner, acquisitions).values(), images)
    found = _split(numbers, acquisitions).values()
    _require_matching([sorted(set(its)) for its in found], images)
    first = {its: min(found) for its, found in _split(numbers, acquisitions).items()}
    pairs = zip(numbers, acquisitions, strict=True)
    return [number - first[acquisition] + min(numbers) for number, acquisition in pairs]


def version_of(name: str) -> str:
    """Return what stands behind the number of an image: `registered`; empty if nothing does."""
    match = _NUMBERED.fullmatch(name)
    return (match[2] or "") if match else ""


def _split(numbers: Sequence[int], acquisitions: Sequence[str]) -> _Numbers:
    parts: _Numbers = {}
    for number, acquisition in zip(numbers, acquisitions, strict=True):
        parts.setdefault(acquisition, []).append(number)
    return parts


def _inner_numbers(names: Sequence[str], acquisitions: Sequence[str]) -> list[int]:
    """Return the numbers of the sites inside of names such as `fov1_c0`; empty if it is not clear.

    They are those which alone change within an acquisition.
    """
    if len({_DIGITS.sub("#", name) for name in names}) > 1:
        return []
    found = [[int(digits) for digits in _DIGITS.findall(name)] for name in names]
    changing = [
        list(column)
        for column in zip(*found, strict=True)
        if any(len(set(its)) > 1 for its in _split(column, acquisitions).values())
    ]
    return changing[0] if len(changing) == 1 else []


def _require_matching(
    numbers: Collection[Sequence[int]], images: Sequence[tuple[str, str]]
) -> None:
    """Raise ValueError unless the acquisitions have the same numbers, or the same ones shifted.

    Shifted numbers must fill a range: with 0, 1, 2 and 5, 6, 7 the images 3 and 4 are missing, and
    5 may not be of the site of 0.
    """
    found = list(map(tuple, numbers))
    every = {number for its in found for number in its}
    is_apart = len(every) == sum(map(len, found))
    is_filled = len(every) == max(every) - min(every) + 1
    is_same = len({tuple(number - min(its) for number in its) for its in found}) == 1
    if len(set(found)) > 1 and not (is_same and is_apart and is_filled):
        raise ValueError(
            "its acquisitions do not have the same sites, so which images belong together is not "
            f"known ({_describe(images)}): restore the missing images, or number all images anew"
        )


def _describe(images: Sequence[tuple[str, str]]) -> str:
    """Return the names of the images of each acquisition as text."""
    names: dict[str, list[str]] = {}
    for name, acquisition in images:
        names.setdefault(acquisition, []).append(name)
    return "; ".join(
        f"acquisition {acquisition or '(none)'} has {', '.join(its[:_SHOWN])}"
        + (f" and {len(its) - _SHOWN} more" if len(its) > _SHOWN else "")
        for acquisition, its in names.items()
    )
