"""The LoadData CSV of CellProfiler and JUMP: one row a field, two columns a channel."""

import re
from pathlib import Path, PurePosixPath

import polars as pl

from phenomae.images.fields import RawFile, complain, parse_site, walk_files
from phenomae.images.tables import read_table
from phenomae.records import normalize_well

_NAME = re.compile(r".*load_?data.*\.csv", re.IGNORECASE)
_FILE, _PATH = "FileName_Orig", "PathName_Orig"


def find_loaddata(raw: Path) -> list[Path]:
    """Return the LoadData CSVs of `raw`: itself, those in it, or else those anywhere below it."""
    if raw.is_file():
        return [raw] if raw.suffix.lower() == ".csv" else []
    beside = sorted(path for path in raw.iterdir() if _NAME.fullmatch(path.name))
    return beside or [path for path in walk_files(raw) if _NAME.fullmatch(path.name)]


def list_loaddata(csvs: list[Path], images: Path | None) -> list[RawFile]:
    """List the files that LoadData CSVs name.

    A relative PathName counts from its CSV's folder. `images` is where the files lie now, if
    PathName speaks of another machine: the longest tail of PathName that exists below it counts.

    Raises ValueError where a CSV lacks the columns of LoadData, or a row its plate, well or site.
    """
    files: list[RawFile] = []
    for csv in csvs:
        table = read_table(csv)
        channels = [name.removeprefix(_FILE) for name in table.columns if name.startswith(_FILE)]
        wanted = ["Metadata_Plate", "Metadata_Well", *(_PATH + name for name in channels)]
        if not channels or set(wanted) - set(table.columns):
            missing = [name for name in wanted if name not in table.columns] or [_FILE + "..."]
            raise ValueError(f"{csv} is no LoadData CSV: it has no column {missing[0]}")
        files += _read_rows(csv, table, channels, images)
    return files


def _read_rows(
    csv: Path, table: pl.DataFrame, channels: list[str], images: Path | None
) -> list[RawFile]:
    files: list[RawFile] = []
    problems: list[str] = []
    folders: dict[str, Path] = {}
    for number, row in enumerate(table.iter_rows(named=True), start=2):
        try:
            plate = row["Metadata_Plate"] or ""
            well = normalize_well(row["Metadata_Well"] or "")
            site = parse_site(row.get("Metadata_Site") or "1")
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        for channel in channels:
            name, folder = row[_FILE + channel], row[_PATH + channel] or ""
            if name is None:
                continue  # told by gather_fields: this site lacks the channel
            if folder not in folders:
                folders[folder] = _find_folder(csv, folder, images)
            files.append(RawFile(plate, well, site, channel, folders[folder] / name))
    if problems:
        complain(csv, problems)
    return files


def _find_folder(csv: Path, folder: str, images: Path | None) -> Path:
    """Return the folder a PathName means here."""
    if images is None:
        return csv.parent / folder
    parts = PurePosixPath(folder.replace("\\", "/")).parts
    tails = [images.joinpath(*parts[start:]) for start in range(1, len(parts) + 1)]
    if not PurePosixPath(folder).is_absolute():
        tails.insert(0, images / folder)
    return next((tail for tail in tails if tail.is_dir()), images)
