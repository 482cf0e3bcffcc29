"""The `.HTD` file of MetaXpress: which wells, sites and waves of a plate were imaged.

A text file with a quoted key per line, followed by its values.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from phenomae.images.layouts.index_files import unique_channels
from phenomae.records import parse_well

_FIRST, _LAST = "HTSInfoFile", "EndFile"


@dataclass(frozen=True)
class Plate:
    """Contents of an HTD file."""

    waves: Mapping[str, str]
    """Names of the channels by number; a repeated name has the number added."""
    wells: Sequence[str]
    """The wells selected for imaging."""
    sites: int
    """Number of sites selected per well; file names number them from 1."""


def read_htd(path: Path) -> Plate:
    """Read an HTD file.

    Raises ValueError if it cannot be read, is not an HTD file, is incomplete or names no wave.
    """
    lines = _read_lines(path)
    if not lines or lines[0][0] != _FIRST:
        raise ValueError(
            f'{path} is not an HTD file of MetaXpress: expected "{_FIRST}" at its start'
        )
    # Wells and sites missing from a truncated file would silently not be looked for.
    if lines[-1][0] != _LAST:
        raise ValueError(f'{path} is truncated: expected "{_LAST}" at its end; copy it again')
    values = {key: rest for key, *rest in lines}
    waves = {
        match[1]: rest[0]
        for key, rest in values.items()
        if (match := re.fullmatch(r"WaveName([1-9][0-9]?)", key)) and rest and rest[0]
    }
    if not waves:
        raise ValueError(f'{path} names no wave: expected a line like "WaveName1", "DAPI"')
    # Sites are selected on a grid (SiteSelection1, ... are its rows) but numbered consecutively.
    sites = sum(_count(rest) for key, rest in values.items() if key.startswith("SiteSelection"))
    return Plate(
        waves=unique_channels(waves),
        wells=_selected_wells(path, values),
        # With "Sites" FALSE a well has one site, whatever is selected.
        sites=sites if _count(values.get("Sites", [])) and sites else 1,
    )


def _read_lines(path: Path) -> list[list[str]]:
    """Return the non-empty lines as lists of values."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # older files; every byte is valid in this encoding
    lines: list[list[str]] = []
    # Line by line: the free text of a description may contain an unbalanced quote, which would
    # make one csv.reader swallow the lines after it.
    for line in re.split(r"[\r\n]+", text.strip()):
        try:
            row = next(csv.reader([line], skipinitialspace=True), [])
        except csv.Error as error:
            raise ValueError(f"{path} is not an HTD file of MetaXpress: {error}") from None
        if row:
            lines.append([value.strip() for value in row])
    return lines


def _count(values: Sequence[str]) -> int:
    return sum(value.upper() == "TRUE" for value in values)


def _selected_wells(path: Path, values: Mapping[str, Sequence[str]]) -> list[str]:
    wells: list[str] = []
    for key, row in values.items():
        if number := re.fullmatch(r"WellsSelection([0-9]+)", key):
            for column, value in enumerate(row, start=1):
                if value.upper() == "TRUE":
                    try:
                        wells.append(parse_well(number[1], str(column)))
                    except ValueError as error:
                        raise ValueError(f"{path}, {key}: {error}") from None
    return wells
