"""Lists the plates of an RxRx data set: images in EXPERIMENT/Plate1, described by metadata.

The plates of every experiment are numbered from 1, so a plate is called EXPERIMENT_Plate1.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from phenomae.images.fields import Listing, Problem, RawFile, raise_problems
from phenomae.images.layouts.rxrx_images import PlateFolders
from phenomae.images.layouts.rxrx_metadata import Metadata, Plate, Row
from phenomae.images.settings import LayoutSettings
from phenomae.records import PLATE_MAP_COLUMNS

_OF_SITES = ("plate", "well", "site", "site_id", "address")


def list_plates(csv: Path, metadata: Metadata, settings: LayoutSettings) -> Listing:
    """List the images `images/EXPERIMENT/Plate1/B02_s1_w1.png` of the rows of the metadata.

    The folder `images` may be missing, and `settings.images` may name another one. Rows of plates
    without a folder are ignored. The batch of a well is its experiment. A row that is invalid or
    has no image becomes a problem.

    Raises ValueError if the table lacks a column or contradicts itself about a well, or if there is
    no folder of a plate, or one with images that WILDS packed.
    """
    table, lines = metadata.read(csv)
    folders = PlateFolders(csv, settings)
    rows: list[Row] = []
    problems: list[Problem] = []
    elsewhere = 0
    for line, cells in zip(lines, table.iter_rows(named=True), strict=True):
        try:
            plate = metadata.read_plate(cells)
            if folders.has(plate):
                rows.append(metadata.read_row(line, plate, cells))
            else:
                elsewhere += 1  # not kept: RxRx3 has 2.2 million rows and 83 TB of images
        except ValueError as error:
            problems.append(Problem(f"{csv}, line {line}: {error}"))
    folders.check(csv)
    files, without = _list_files(rows, folders)
    wells = _choose_wells(csv, rows, files)
    noun = "sites" if metadata.site else "wells"
    ignored = {
        f"{noun} of plates without a folder": elsewhere,
        f"images that {csv.name} does not name": _count_others(rows, folders),
    }
    return Listing(
        # By length first, so that w10 would come after w2.
        sorted(files, key=lambda file: (len(file.channel), file.channel)),
        wells=pl.DataFrame(list(map(_plate_map_row, wells)), schema=PLATE_MAP_COLUMNS),
        own_columns=pl.DataFrame(list(_own_columns(wells, table.columns))),
        ignored={what: count for what, count in ignored.items() if count},
        problems=[*problems, *without],
    )


def _list_files(rows: Sequence[Row], folders: PlateFolders) -> tuple[list[RawFile], list[Problem]]:
    """Return the files of the rows, and a problem per row without any."""
    files: dict[RawFile, None] = {}  # a row may be there twice
    problems: list[Problem] = []
    for row in rows:
        images = folders.found[row.plate].choose(row)
        files |= dict.fromkeys(images)
        if not images:
            site = "" if row.site is None else f", site {row.site}"
            what = f"{folders.home / row.plate.folder} has no image of well {row.well}{site}"
            problems.append(Problem(what, row.plate.name, row.well, row.site))
    return list(files), problems


def _count_others(rows: Sequence[Row], folders: PlateFolders) -> int:
    """Return the number of images that no row is about."""
    by_plate: dict[Plate, list[Row]] = defaultdict(list)
    for row in rows:
        by_plate[row.plate].append(row)
    return sum(images.count_others(by_plate[plate]) for plate, images in folders.found.items())


def _choose_wells(csv: Path, rows: Sequence[Row], files: Sequence[RawFile]) -> list[Row]:
    """Return one row for each well that has images; raises ValueError if two rows of one differ."""
    wells: dict[tuple[str, str], Row] = {}
    problems: list[str] = []
    for row in rows:
        first = wells.setdefault((row.plate.name, row.well), row)
        if first.treatment != row.treatment:
            problems.append(
                f"line {row.line}: plate {row.plate.name}, well {row.well} has "
                f"{row.treatment.words}, but {first.treatment.words} in line {first.line}"
            )
    if problems:
        raise_problems(csv, problems)
    imaged = {(file.plate, file.well) for file in files}
    return [row for key, row in wells.items() if key in imaged]


def _plate_map_row(row: Row) -> dict[str, object]:
    return {
        "plate": row.plate.name,
        "well": row.well,
        "batch": row.plate.experiment,
        **row.treatment.labels,
        "control": row.treatment.control,
    }


def _own_columns(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[pl.Series]:
    yield pl.Series("plate", [row.plate.name for row in rows], dtype=pl.String)
    yield pl.Series("well", [row.well for row in rows], dtype=pl.String)
    for name in columns:
        if name not in _OF_SITES:
            yield pl.Series(name, [row.cells[name] for row in rows], dtype=pl.String)
