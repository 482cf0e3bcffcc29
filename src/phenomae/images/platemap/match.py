"""Joins a plate map to wells by plate and well.

Wells that do not match are errors by default: they mostly mean that the plate map is the wrong one.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import polars as pl

from phenomae.images.fields import RawPlates, raise_problems
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.progress import count_of, info

Well = tuple[str, str]
"""Plate and well."""


def match_wells(
    plates: RawPlates, table: pl.DataFrame, path: Path, settings: PlateMapSettings
) -> RawPlates:
    """Compare the wells of images and plate map; with `unmapped = skip` leave fields out.

    Raises ValueError, naming `path`, if the wells of plate map and images differ, unless the
    settings `unmapped` and `unimaged` allow it.
    """
    mapped = {*table.select("plate", "well").iter_rows()}
    imaged = list(dict.fromkeys((field.plate, field.well) for field in plates.fields))
    # A well whose fields are all bad was imaged nevertheless: its files are the problem.
    bad = {(problem.plate, problem.well) for problem in plates.skipped}
    require_same_wells(path, mapped, imaged, bad, settings)
    if settings.unmapped != "skip":
        return plates
    fields = tuple(field for field in plates.fields if (field.plate, field.well) in mapped)
    if left_out := len(plates.fields) - len(fields):
        info(f"{path}: left out {count_of(left_out, 'field')} of wells that it does not name")
    return replace(plates, fields=fields)


def require_same_wells(
    path: Path,
    mapped: set[Well],
    found: Sequence[Well],
    bad: Collection[tuple[str | None, str | None]],
    settings: PlateMapSettings,
    noun: str = "images",
) -> None:
    """Raise ValueError if wells are only in the plate map, or only among those found.

    The settings `unimaged` and `unmapped` allow it, but not that no well is in both. `bad` are
    wells that are missing among `found` with a reason, and `noun` is what the found wells have.
    """
    unmapped = [well for well in found if well not in mapped]
    if unmapped and settings.unmapped == "error":
        what = f"has {noun} but is not in the plate map"
        _raise_unmatched(path, unmapped, what, "unmapped = keep or skip")
    unimaged = sorted(mapped - {*found, *bad})
    if unimaged and settings.unimaged == "error":
        what = f"is in the plate map but has no {noun}"
        _raise_unmatched(path, unimaged, what, "unimaged = skip")
    if found and len(unmapped) == len(found):
        raise ValueError(f"{path} names none of the wells that have {noun}")


def _raise_unmatched(path: Path, wells: list[Well], what: str, remedy: str) -> NoReturn:
    problems = [f"plate {plate}, well {well} {what}" for plate, well in wells]
    raise_problems(path, problems, f" (setting {remedy} allows it)")
