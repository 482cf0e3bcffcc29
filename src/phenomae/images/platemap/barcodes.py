"""Barcode tables of JUMP and pycytominer: which plate has which plate map.

One table covers the plates of a batch; replicate plates share a plate map file.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from phenomae.images.fields import raise_problems
from phenomae.progress import info
from phenomae.text_tables import read_lines
from phenomae.tidy_text import tidy_text

BARCODE = "Assay_Plate_Barcode"
_MAP_NAME = "Plate_Map_Name"
_SUFFIXES = ("", ".txt", ".tsv", ".csv", ".txt.gz", ".tsv.gz", ".csv.gz", ".parquet")


def read_barcoded_maps(
    path: Path, folder: Path, plates: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """Return the plate maps of `plates` as one table, and file and line of each of its rows.

    `path` is the barcode table, `folder` contains the plate maps. The plate is in the column
    `BARCODE`. Plates without images are left out, because the table covers a whole batch.

    Raises ValueError if the table lacks a column, if none of its plates has images, if a plate has
    two plate maps, or if a plate map is missing.
    """
    maps = find_maps(path, folder, plates)
    if left_out := (total := len(_read_barcodes(path))) - len(maps):
        info(f"{path}: {left_out} of {total} plates have no images here")
    # Each file once, however many plates share it.
    tables = {file: read_lines(file) for file in sorted(set(maps.values()))}
    parts = [
        tables[file][0].with_columns(pl.lit(plate).alias(BARCODE)) for plate, file in maps.items()
    ]
    origins = [f"{file}, line {line}" for file in maps.values() for line in tables[file][1]]
    # Diagonal: the maps of a batch need not have the same columns.
    return pl.concat(parts, how="diagonal"), origins


def find_maps(path: Path, folder: Path, plates: Sequence[str]) -> dict[str, Path]:
    """Return the plate map of each of `plates` that the barcode table lists.

    Raises ValueError as `read_barcoded_maps` does.
    """
    names = _read_barcodes(path)
    kept = {plate: name for plate, name in names.items() if plate in set(plates)}
    if not kept:
        raise ValueError(
            f"{path} names none of the plates that have images: it names {_first(names)}, "
            f"the images are of {_first(plates)}"
        )
    files = {name: _find_map(folder, name) for name in sorted(set(kept.values()))}
    missing = [f"there is no plate map {folder / name}.txt" for name, at in files.items() if not at]
    if missing:
        raise_problems(path, missing, " (set plate_map to their folder)")
    return {plate: file for plate, name in kept.items() if (file := files[name]) is not None}


def _read_barcodes(path: Path) -> dict[str, str]:
    """Return the name of the plate map of each plate."""
    table, lines = read_lines(path)
    table = tidy_text(table, str(path))
    known = {name.lower().removeprefix("metadata_"): name for name in table.columns}
    for column in (BARCODE, _MAP_NAME):
        if column.lower() not in known:
            raise ValueError(
                f"{path} has no column {column} (setting barcode_map); "
                f"it has {', '.join(table.columns)}"
            )
    names: dict[str, str] = {}
    problems: list[str] = []
    rows = table.select(known[BARCODE.lower()], known[_MAP_NAME.lower()]).iter_rows()
    for line, (plate, name) in zip(lines, rows, strict=True):
        if plate is None or name is None:
            problems.append(f"line {line} names no {'plate' if plate is None else 'plate map'}")
        elif names.setdefault(plate, name) != name:
            problems.append(f"plate {plate} has two plate maps: {names[plate]} and {name}")
    if problems:
        raise_problems(path, problems)
    return names


def _find_map(folder: Path, name: str) -> Path | None:
    # The published files are .txt (tab-separated), and the table names them without a suffix.
    paths = [folder / (name + suffix) for suffix in _SUFFIXES]
    return next((path for path in paths if path.is_file()), None)


def _first(names: Sequence[str] | dict[str, str]) -> str:
    shown = ", ".join(list(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
