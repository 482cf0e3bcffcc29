"""The LoadData CSV of CellProfiler and JUMP: one row per field, columns for each channel.

The most general layout, because every row gives plate, well, site and paths explicitly. Other
tables with such columns, as data sets publish them, are read in the same way.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from phenomae.images.fields import Listing, Problem, RawFile
from phenomae.images.layouts.index_files import find_indices
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.loaddata_columns import (
    LoadDataColumns,
    find_columns,
    has_illumination,
    may_name_images,
    names_images,
)
from phenomae.images.layouts.loaddata_rows import LoadDataRows
from phenomae.images.settings import LayoutSettings
from phenomae.images.stacks import group_by_channel, has_stacks
from phenomae.progress import info
from phenomae.text_tables import read_columns, read_lines

# JUMP publishes the same table in several forms; the first of these that exists is read.
_FORMS = (".csv", ".csv.gz", ".parquet")
_NAME = re.compile(r".*load_?data.*(\.csv|\.csv\.gz|\.parquet)")
_TABLE = re.compile(r"[^.].*\.(?:csv|csv\.gz|tsv|txt|parquet)")


def find_loaddata(raw: Path) -> list[Path]:
    """Return the LoadData CSVs of `raw`: itself, those in it, or else those anywhere below it.

    In `raw` itself, a table of any name is one if its columns name images and wells.
    """
    if raw.is_file():
        known = _NAME.fullmatch(raw.name.lower()) or may_name_images(read_columns(raw))
        return [raw] if known else []
    files = [path for path in sorted(raw.iterdir()) if path.is_file()]
    tables = [path for path in files if _TABLE.fullmatch(path.name.lower())]
    beside = [path for path in tables if _NAME.fullmatch(path.name.lower())]
    # Folders below are searched only without a CSV in RAW itself, which covers them already.
    return (
        beside
        or [path for path in tables if names_images(read_columns(path))]
        or find_indices(raw, lambda name: _NAME.fullmatch(name) is not None)
    )


def list_loaddata(raw: Path, csvs: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images that LoadData CSVs name.

    A relative PathName is relative to the folder of its CSV. If PathName is a path of another
    machine, `settings.images` is the folder that holds the files now: the longest tail of PathName
    that exists below it is used.

    Raises ValueError if a CSV cannot be read or lacks a required column. A row without plate, well,
    site or images becomes a problem.
    """
    chosen = _choose_forms(csvs)
    tables = {csv: read_lines(csv) for csv in chosen}
    if settings.illumination == "divide":
        corrected = {csv.parent for csv in chosen if has_illumination(tables[csv][0].columns)}
        # JUMP's load_data.csv lists the same images as load_data_with_illum.csv beside it, but
        # without their illumination functions: read together, every image would be there twice.
        tables = {
            csv: (table, lines)
            for csv, (table, lines) in tables.items()
            if csv.parent not in corrected or has_illumination(table.columns)
        }
    files: list[RawFile] = []
    problems: list[Problem] = []
    sizes: dict[str, set[float]] = {}
    used: set[str] = set()
    for csv, (table, lines) in tables.items():
        columns = find_columns(csv, table.columns, settings)
        used |= columns.used_settings
        reader = LoadDataRows(csv, columns, settings, paged=_has_pages(table, columns))
        for line, row in zip(lines, table.iter_rows(named=True), strict=True):
            reader.read(line, row)
        _report(csv, columns, reader)
        files += _choose_first_pages(reader.files, columns, settings)
        problems += reader.problems
        for plate, found in reader.pixel_sizes_um.items():
            sizes.setdefault(plate, set()).update(found)
    return Listing(
        number_imagings(files),
        # A plate whose rows disagree was imaged at two magnifications and has no one pixel size.
        pixel_sizes_um={plate: found.pop() for plate, found in sizes.items() if len(found) == 1},
        ignored={"LoadData tables that exist in another form": len(csvs) - len(chosen)}
        if len(chosen) < len(csvs)
        else {},
        problems=problems,
        used_settings=frozenset(used),
    )


def number_imagings(files: Sequence[RawFile]) -> list[RawFile]:
    """Return the files, each once, with how many rows before it name its channel of the field."""
    counts: Counter[tuple[str, str, int, str, int, str]] = Counter()
    numbered: list[RawFile] = []
    for file in dict.fromkeys(files):  # JUMP lists the same files in two CSVs: not an imaging
        key = (file.plate, file.well, file.site, file.channel, file.plane, file.acquisition)
        numbered.append(replace(file, imaging=str(counts[key])))
        counts[key] += 1
    return numbered


def _has_pages(table: pl.DataFrame, columns: LoadDataColumns) -> bool:
    """Return whether frames are pages of files with several: CellProfiler also writes 0 for one."""
    frames = {image.frame for image in columns.channels.values()} - {None}
    return any((table[frame].drop_nulls() != "0").any() for frame in frames if frame)


def _choose_first_pages(
    files: list[RawFile], columns: LoadDataColumns, settings: LayoutSettings
) -> list[RawFile]:
    """Return the files of a table whose frames are all 0, with page 0 of those with several.

    Of the channels without frames, and if the setting `pages` says what pages are, all are read.
    """
    framed = [
        file
        for file in files
        if columns.channels[file.channel].frame is not None and file.place.page is None
    ]
    if settings.pages != "auto" or not any(map(has_stacks, group_by_channel(framed))):
        return files
    first = {file: replace(file, place=replace(file.place, page=0)) for file in framed}
    return [first.get(file, file) for file in files]


def _report(csv: Path, columns: LoadDataColumns, reader: LoadDataRows) -> None:
    if columns.others:
        info(f"{csv}: ignored the images of {', '.join(columns.others)}, which are not originals")
    if reader.highest_row > 1:
        info(f"{csv} has no column of sites: the rows of a well are its sites, in their order")


def _choose_forms(csvs: Sequence[Path]) -> list[Path]:
    """Return each table in one form: load_data.csv rather than load_data.csv.gz."""
    chosen: dict[tuple[Path, str], tuple[int, Path]] = {}
    for csv in csvs:
        match = _NAME.fullmatch(csv.name.lower())
        form = match[1] if match else ""
        key = csv.parent, csv.name.lower().removesuffix(form)
        rank = _FORMS.index(form) if form else 0
        chosen[key] = min(chosen.get(key, (rank, csv)), (rank, csv))
    return [csv for _, csv in chosen.values()]


LAYOUT = Layout(
    "loaddata", "load_data*.csv or a table with FileName_ columns", find_loaddata, list_loaddata
)
