"""Rows and problems of the parts of an unfinished store, so that no part is read twice.

Each part has a table, written last, and a list of the fields that could not be decoded, if any.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from phenomae.images.fields import Problem
from phenomae.shared_artefacts import Units
from phenomae.store.files import read_file, remove_file, remove_folder, write_file
from phenomae.store.parts import Part
from phenomae.store.table import parse_problems, report_problems, write_table
from phenomae.urls import below

_ROWS = "rows"  # folder of an unfinished store


def part_units(plates: Mapping[str, Sequence[Part]]) -> Units:
    """Return the parts of all plates as the units of work that shards divide."""
    parts = {part.name: part for some in plates.values() for part in some}
    whole = {some[-1].name: some[-1] for some in plates.values()}
    after = {some[-1].name: [part.name for part in some[:-1]] for some in plates.values()}

    def is_written(folder: Path | str, name: str) -> bool:
        # A plate that is written needs no ranges: an older version did not cut it.
        part = parts[name]
        return is_saved(folder, part) or (not part.is_whole and is_saved(folder, whole[part.plate]))

    is_cut = len(parts) > len(plates)
    return Units(list(parts), is_written, "part" if is_cut else "plate", after)


def save_part(
    folder: Path | str, part: Part, rows: pl.DataFrame, problems: Sequence[Problem]
) -> None:
    """Write the rows and problems of a part, which is then written."""
    if problems:
        write_file(_locate(folder, part, "csv"), report_problems(problems))
    write_table(_locate(folder, part, "parquet"), rows)


def read_part(folder: Path | str, part: Part) -> tuple[pl.DataFrame, list[Problem]] | None:
    """Return the rows and problems of a part; None if it is not written."""
    try:
        rows = pl.read_parquet(io.BytesIO(read_file(_locate(folder, part, "parquet"))))
    except (FileNotFoundError, pl.exceptions.PolarsError):
        return None
    return rows, _read_problems(folder, part)


def _read_problems(folder: Path | str, part: Part) -> list[Problem]:
    try:
        return parse_problems(read_file(_locate(folder, part, "csv")))
    except FileNotFoundError:
        return []


def is_saved(folder: Path | str, part: Part) -> bool:
    """Return whether a part is written; looks only for its file in a folder on a disk."""
    location = _locate(folder, part, "parquet")
    return location.exists() if isinstance(location, Path) else read_part(folder, part) is not None


def forget_parts(folder: Path | str, parts: Iterable[Part]) -> None:
    """Remove rows and problems of parts, so that they are done again."""
    for part in parts:
        for suffix in ("parquet", "csv"):
            remove_file(_locate(folder, part, suffix))


def remove_rows(folder: Path | str) -> None:
    """Remove what was saved of all parts of a store that is finished."""
    remove_folder(below(folder, _ROWS))


def _locate(folder: Path | str, part: Part, suffix: str) -> Path | str:
    return below(folder, f"{_ROWS}/{part.name}.{suffix}")
