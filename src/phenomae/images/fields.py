"""What every layout is brought to: fields, each with one file a channel."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from phenomae.records import check_name, choose_channels, normalize_well, split_well

_PROBLEMS_SHOWN = 4


@dataclass(frozen=True)
class RawFile:
    """One file: one channel of one field."""

    plate: str
    well: str
    """As `records.normalize_well` writes it."""
    site: int
    channel: str
    path: Path


@dataclass(frozen=True)
class RawField:
    """One site's image as files, one a channel, in the order of `RawScreen.channels`."""

    plate: str
    well: str
    site: int
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"plate {self.plate}, well {self.well}, site {self.site}"


@dataclass(frozen=True)
class RawScreen:
    """All fields of a raw folder, sorted by plate, well (row, then column) and site."""

    channels: tuple[str, ...]
    fields: tuple[RawField, ...]

    @property
    def plates(self) -> list[str]:
        """The plates, sorted."""
        return sorted({field.plate for field in self.fields})


def well_order(well: str) -> tuple[int, str, int]:
    """Return a sorting key that puts B01 before AA01, and row before column."""
    row, column = split_well(well)
    return len(row), row, int(column)


def parse_site(text: str) -> int:
    """Return a site's number; raises ValueError where `text` is no number from 0 to 999,999."""
    if re.fullmatch(r"[0-9]{1,6}", text) is None:
        raise ValueError(f"{text!r} is not a site: expected a whole number")
    return int(text)


def parse_well(row: str, column: str) -> str:
    """Return the well of a row, by letter or by number from 1, and a column's number."""
    if re.fullmatch(r"0*[1-9][0-9]?", row):
        number = int(row) - 1
        row = (
            chr(65 + number) if number < 26 else f"{chr(64 + number // 26)}{chr(65 + number % 26)}"
        )
    return normalize_well(row + column)


def walk_files(raw: Path) -> list[Path]:
    """Return all files below a folder, sorted; links to folders are followed, as plates are."""
    found = os.walk(raw, followlinks=True)
    return sorted(Path(folder, name) for folder, _, names in found for name in names)


def gather_fields(files: Iterable[RawFile], channels: str, source: Path) -> RawScreen:
    """Put files together to fields and check that every field has one file for each channel.

    `channels` names those to keep and their order (`DNA,ER`), perhaps under another name
    (`1=DNA,2=ER`); where it is empty all are kept, in the order they come in.

    Raises ValueError where two files claim one channel of a field, where a field lacks a channel,
    where no field has a channel asked for, or where there is no file at all.
    """
    problems: list[str] = []
    found: dict[tuple[str, str, int], dict[str, Path]] = defaultdict(dict)
    names: dict[str, None] = {}
    for file in files:
        names.setdefault(file.channel)
        field = found[file.plate, file.well, file.site]
        # A row or file met twice is no harm (JUMP lists every field in two CSVs); two files are.
        if field.setdefault(file.channel, file.path) != file.path:
            label = RawField(file.plate, file.well, file.site, ())
            problems.append(
                f"{label}, channel {file.channel} has two files: "
                f"{field[file.channel]} and {file.path}"
            )
    if not found:
        raise ValueError(f"{source} holds no images")
    for plate in sorted({plate for plate, _, _ in found}):
        check_name(plate, "plate")
    labels = choose_channels(channels, list(names), str(source))
    keys = sorted(found, key=lambda key: (key[0], well_order(key[1]), key[2]))
    for key in keys:
        problems += [
            f"{RawField(*key, ())} lacks channel {name}"
            for name in labels
            if name not in found[key]
        ]
    if problems:
        complain(source, problems)
    fields = tuple(RawField(*key, tuple(found[key][name] for name in labels)) for key in keys)
    return RawScreen(tuple(labels.values()), fields)


def complain(source: Path, problems: list[str], remedy: str = "") -> NoReturn:
    """Raise one ValueError that counts the problems, names the first few, and adds a remedy."""
    shown = "; ".join(problems[:_PROBLEMS_SHOWN])
    rest = len(problems) - _PROBLEMS_SHOWN
    count = f"{len(problems)} problems: " if len(problems) > 1 else ""
    more = f"; and {rest} more" if rest > 0 else ""
    raise ValueError(f"{source}: {count}{shown}{more}{remedy}")
