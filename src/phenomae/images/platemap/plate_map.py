"""The plate map: which perturbation each well received, joined to images by plate and well.

Wells that do not match are errors by default: they mostly mean that the plate map is the wrong one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import polars as pl

from phenomae.images.fields import RawPlates, raise_problems
from phenomae.images.platemap.barcodes import BARCODE, read_barcoded_maps
from phenomae.images.platemap.columns import (
    find_columns,
    join_columns,
    read_controls,
    read_numbers,
    read_wells,
    setting_of,
)
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.paths import PathLike
from phenomae.progress import count_of, info
from phenomae.records import PLATE_MAP_COLUMNS
from phenomae.text_tables import read_lines
from phenomae.tidy_text import tidy_text


def find_plate_map(raw: PathLike, settings: PlateMapSettings) -> Path | None:
    """Return the path of the plate map or barcode table; None if there is none.

    Raises ValueError if a setting names one that does not exist.
    """
    raw = Path(raw)
    folder = raw if raw.is_dir() else raw.parent
    if settings.barcode_map is not None:
        return _find(folder, Path(settings.barcode_map), "barcode map")
    if settings.plate_map is None:
        beside = folder / "plate_map.csv"
        return beside if beside.exists() else None
    return _find(folder, Path(settings.plate_map), "plate map")


def read_plate_map(
    path: PathLike,
    settings: PlateMapSettings,
    plates: Sequence[str],
    elsewhere: Collection[str] = (),
) -> pl.DataFrame:
    """Read a plate map or barcode table.

    Parameters
    ----------
    path
        What `find_plate_map` returned.
    settings
        Names of columns, and the label of controls.
    plates
        Plates with images; exactly one if the plate map has no column of plates.
    elsewhere
        Column settings that name columns of the raw layout's tables, and maybe none of this one.

    Returns
    -------
        One row per well with the columns `PLATE_MAP_COLUMNS`. A column that the file lacks is
        null; without a column of perturbations they are the guide, else gene, else compound.

    Raises
    ------
    ValueError
        If a column that was set is missing, a well is listed twice, a value is invalid, or no well
        has the control label.
    """
    path = Path(path)
    table, origins = _read_rows(path, settings, plates)
    chosen = {name: getattr(settings, setting_of(name)) for name in PLATE_MAP_COLUMNS}
    defaults = {name: getattr(PlateMapSettings(), setting_of(name)) for name in PLATE_MAP_COLUMNS}
    if settings.barcode_map is not None:
        chosen["plate"] = BARCODE
    sources = find_columns(path, table, chosen, defaults, elsewhere)
    _log_unused(path, table, sources)
    well = read_wells(path, table, sources.pop("well"), origins, settings.plate_size)
    columns = {name: join_columns(table, names) for name, names in sources.items()} | {"well": well}
    if "plate" not in columns:
        columns["plate"] = _only_plate(path, settings, plates, len(table))
    if missing := columns["plate"].null_count():
        raise ValueError(f"{path}: no plate in {missing} of {len(table)} rows")
    if "concentration_um" in columns:
        columns["concentration_um"] = read_numbers(path, columns["concentration_um"])
    columns["control"] = _read_controls(path, columns.get("control"), sources, settings, len(table))
    empty = pl.Series([None] * len(table), dtype=pl.String)
    if "perturbation" not in columns:
        columns["perturbation"] = _name_perturbations(columns, empty)
    wells = pl.DataFrame(
        {name: columns.get(name, empty).cast(kind) for name, kind in PLATE_MAP_COLUMNS.items()}
    ).unique(maintain_order=True)  # tables with a row for each site say the same several times
    _check_duplicates(path, wells)
    return wells


def _name_perturbations(columns: Mapping[str, pl.Series], empty: pl.Series) -> pl.Series:
    # The guide goes first: two guides of a gene are two perturbations.
    parts = [columns.get(name, empty) for name in ("guide", "gene", "compound")]
    return pl.select(pl.coalesce(parts)).to_series()


def _read_rows(
    path: Path, settings: PlateMapSettings, plates: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """Return the rows of a plate map, or of all those of a barcode table, and where each is."""
    if settings.barcode_map is None:
        table, lines = read_lines(path)
        origins = [f"line {line}" for line in lines]
    else:
        folder = None if settings.plate_map is None else Path(settings.plate_map)
        table, origins = read_barcoded_maps(path, _map_folder(path, folder), plates)
    return _empty_words(path, tidy_text(table, str(path)), settings), origins


def _empty_words(path: Path, table: pl.DataFrame, settings: PlateMapSettings) -> pl.DataFrame:
    """Return the table with null for the words that stand for empty cells, which are printed."""
    labels = {label.strip() for label in (settings.control_label or "").split(",")}
    words = [word for word in map(str.strip, settings.empty_words.split(",")) if word not in labels]
    is_word = pl.all().is_in([word for word in words if word])
    counts = {
        word: sum(int((column == word).sum()) for column in table.iter_columns()) for word in words
    }
    if taken := [f"{word} ({count_of(count, 'cell')})" for word, count in counts.items() if count]:
        info(f"{path}: taken as empty: {', '.join(taken)} (setting empty_words)")
    return table.with_columns(pl.when(~is_word).then(pl.all()))


def match_wells(
    plates: RawPlates, table: pl.DataFrame, path: Path, settings: PlateMapSettings
) -> RawPlates:
    """Compare the wells of images and plate map; with `unmapped = skip` leave fields out.

    Raises ValueError, naming `path`, if the wells of plate map and images differ, unless the
    settings `unmapped` and `unimaged` allow it.
    """
    mapped = {*table.select("plate", "well").iter_rows()}
    imaged = dict.fromkeys((field.plate, field.well) for field in plates.fields)
    unmapped = [well for well in imaged if well not in mapped]
    if unmapped and settings.unmapped == "error":
        _raise_unmatched(
            path, unmapped, "has images but is not in the plate map", "unmapped = keep or skip"
        )
    # A well whose fields are all bad was imaged nevertheless: its files are the problem.
    seen = {*imaged, *((problem.plate, problem.well) for problem in plates.skipped)}
    unimaged = sorted(mapped - seen)
    if unimaged and settings.unimaged == "error":
        _raise_unmatched(path, unimaged, "is in the plate map but has no images", "unimaged = skip")
    if settings.unmapped != "skip":
        return plates
    fields = tuple(field for field in plates.fields if (field.plate, field.well) in mapped)
    if not fields:
        raise ValueError(f"{path} names none of the wells that have images")
    if left_out := len(plates.fields) - len(fields):
        info(f"{path}: left out {count_of(left_out, 'field')} of wells that it does not name")
    return replace(plates, fields=fields)


def _find(folder: Path, name: Path, noun: str) -> Path:
    # First as typed in a shell; then relative to RAW, because recipes are used from any folder.
    for path in (name, folder / name):
        if path.is_file():
            return path
        if path.is_dir():
            raise ValueError(f"{path} is a folder: expected a file ({noun})")
    raise ValueError(f"{name}: there is no such {noun}, nor in {folder}")


def _map_folder(barcodes: Path, name: Path | None) -> Path:
    beside = barcodes.parent / (name or "platemap")
    for folder in (name, beside):
        if folder is not None and folder.is_dir():
            return folder
    raise ValueError(f"{name or beside}: there is no such folder of plate maps (plate_map)")


def _log_unused(path: Path, table: pl.DataFrame, sources: dict[str, list[str]]) -> None:
    used = {column for columns in sources.values() for column in columns}
    if unused := [column for column in table.columns if column not in used]:
        info(f"{path}: unused columns: {', '.join(unused)}")


def _only_plate(
    path: Path, settings: PlateMapSettings, plates: Sequence[str], count: int
) -> pl.Series:
    """Return the column of plates for a plate map without one."""
    if len(plates) != 1:
        raise ValueError(
            f"{path} has no column {settings.plate_column!r} (setting plate_column), "
            f"but there are images of {count_of(len(plates), 'plate')}"
        )
    return pl.Series([plates[0]] * count, dtype=pl.String)


def _check_duplicates(path: Path, wells: pl.DataFrame) -> None:
    keys = wells.select("plate", "well")
    twice = keys.filter(keys.is_duplicated()).unique(maintain_order=True)
    if len(twice):
        raise_problems(
            path,
            [
                f"plate {plate}, well {well} is listed twice, with different values"
                for plate, well in twice.iter_rows()
            ],
        )


def _read_controls(
    path: Path,
    texts: pl.Series | None,
    sources: dict[str, list[str]],
    settings: PlateMapSettings,
    count: int,
) -> pl.Series:
    """Return which wells are negative controls: none without a column of controls."""
    label, column = settings.control_label, settings.control_column
    if texts is not None:
        return read_controls(path, texts, ",".join(sources["control"]), label)
    if label is not None:
        raise ValueError(
            f"{path} has no column {column!r} (setting control_column), "
            f"which should contain control_label {label!r}"
        )
    info(f"{path} has no column {column!r}: no well is a negative control")
    return pl.Series([False] * count)


def _raise_unmatched(path: Path, wells: list[tuple[str, str]], what: str, remedy: str) -> NoReturn:
    problems = [f"plate {plate}, well {well} {what}" for plate, well in wells]
    raise_problems(path, problems, f" (setting {remedy} allows it)")
