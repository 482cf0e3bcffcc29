"""Barcode tables of JUMP and pycytominer: which plate has which plate map."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from phenomae.images.fields import complain
from phenomae.images.platemap.text_tables import read_table
from phenomae.progress import info

BARCODE = "Assay_Plate_Barcode"
_MAP_NAME = "Plate_Map_Name"
_SUFFIXES = ("", ".txt", ".tsv", ".csv", ".txt.gz", ".tsv.gz", ".csv.gz", ".parquet")


def read_barcoded_maps(
    path: Path, folder: Path, plates: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """Return the maps of `plates` as one table, and where each of its rows stands.

    `path` is the barcode table, the maps lie in `folder`. The table has the plate in the column
    `BARCODE`; plates without images are left out, for such a table is of a whole batch.

    Raises ValueError where the table has not its columns, a plate has two maps, no plate has
    images, or a map is missing.
    """
    names = _read_barcodes(path)
    kept = {plate: name for plate, name in names.items() if plate in set(plates)}
    if not kept:
        raise ValueError(
            f"{path} names none of the plates that have images: it has {_first(names)}, "
            f"the images are of {_first(plates)}"
        )
    if len(kept) < len(names):
        info(f"{path}: {len(names) - len(kept)} of {len(names)} plates have no images here")
    files = {name: _find_map(folder, name) for name in sorted(set(kept.values()))}
    missing = [f"there is no plate map {folder / name}.txt" for name, at in files.items() if not at]
    if missing:
        complain(path, missing, " (setting plate_map names their folder)")
    tables = {name: read_table(at) for name, at in files.items() if at is not None}
    parts = [
        tables[name].with_columns(pl.lit(plate).alias(BARCODE)) for plate, name in kept.items()
    ]
    origins = [
        f"{files[name]}, line {line}"
        for name in kept.values()
        for line in range(2, len(tables[name]) + 2)
    ]
    return pl.concat(parts, how="diagonal"), origins


def _read_barcodes(path: Path) -> dict[str, str]:
    """Return the name of each plate's map."""
    table = read_table(path)
    known = {column.lower().removeprefix("metadata_"): column for column in table.columns}
    for wanted in (BARCODE, _MAP_NAME):
        if wanted.lower() not in known:
            raise ValueError(
                f"{path} has no column {wanted} (setting barcode_map); "
                f"it has {', '.join(table.columns)}"
            )
    names: dict[str, str] = {}
    problems: list[str] = []
    rows = table.select(known[BARCODE.lower()], known[_MAP_NAME.lower()]).iter_rows()
    for line, (plate, name) in enumerate(rows, start=2):
        if plate is None or name is None:
            problems.append(f"line {line} names no {'plate' if plate is None else 'plate map'}")
        elif names.setdefault(plate, name) != name:
            problems.append(f"plate {plate} has two plate maps: {names[plate]} and {name}")
    if problems:
        complain(path, problems)
    return names


def _find_map(folder: Path, name: str) -> Path | None:
    paths = [folder / (name + suffix) for suffix in _SUFFIXES]
    return next((path for path in paths if path.is_file()), None)


def _first(names: Sequence[str] | dict[str, str]) -> str:
    shown = ", ".join(list(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
