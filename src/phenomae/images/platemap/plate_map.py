"""The plate map: what was done to each well, joined to the images by plate and well."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import polars as pl

from phenomae.images.fields import RawScreen, complain
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
from phenomae.images.platemap.text_tables import read_table
from phenomae.progress import info
from phenomae.records import PLATE_MAP_COLUMNS


def find_plate_map(raw: Path, settings: PlateMapSettings) -> Path | None:
    """Return where the plate map or the barcode table lies; None where there is none.

    Raises ValueError where the one named is not there.
    """
    folder = raw if raw.is_dir() else raw.parent
    if settings.barcode_map is not None:
        return _find(folder, settings.barcode_map, "barcode map")
    if settings.plate_map is None:
        beside = folder / "plate_map.csv"
        return beside if beside.exists() else None
    return _find(folder, settings.plate_map, "plate map")


def read_plate_map(path: Path, settings: PlateMapSettings, plates: Sequence[str]) -> pl.DataFrame:
    """Read what `find_plate_map` found: `PLATE_MAP_COLUMNS`, one row a well, by whatever names.

    Raises ValueError where a column named by a setting is missing, a well comes twice, a value is
    not of its column's kind, or no well has the control label.
    """
    if settings.barcode_map is None:
        table = read_table(path)
        origins = [f"line {line}" for line in range(2, len(table) + 2)]
    else:
        table, origins = read_barcoded_maps(path, _map_folder(path, settings.plate_map), plates)
    chosen = {name: getattr(settings, setting_of(name)) for name in PLATE_MAP_COLUMNS}
    defaults = {name: getattr(PlateMapSettings(), setting_of(name)) for name in PLATE_MAP_COLUMNS}
    if settings.barcode_map is not None:
        chosen["plate"] = BARCODE
    sources = find_columns(path, table, chosen, defaults)
    _tell_unused(path, table, sources)
    well = read_wells(path, table, sources.pop("well"), origins, settings.plate_size)
    columns = {name: join_columns(table, names) for name, names in sources.items()} | {"well": well}
    if "plate" not in columns:
        columns["plate"] = _only_plate(path, settings, plates, len(table))
    if columns["plate"].null_count():
        raise ValueError(f"{path}: {columns['plate'].null_count()} rows name no plate")
    _refuse_duplicates(path, columns["plate"], well)
    if "concentration_um" in columns:
        columns["concentration_um"] = read_numbers(path, columns["concentration_um"])
    columns["control"] = _read_controls(path, columns.get("control"), sources, settings, len(table))
    empty = pl.Series([None] * len(table), dtype=pl.String)
    if "perturbation" not in columns:
        given = [columns.get(name, empty) for name in ("guide", "gene", "compound")]
        columns["perturbation"] = pl.select(pl.coalesce(given)).to_series()
    return pl.DataFrame(
        {name: columns.get(name, empty).cast(kind) for name, kind in PLATE_MAP_COLUMNS.items()}
    )


def match_wells(
    screen: RawScreen, table: pl.DataFrame, path: Path, settings: PlateMapSettings
) -> RawScreen:
    """Return the screen's fields that the plate map allows.

    Raises ValueError where the wells of the plate map and of the images differ, unless
    `unmapped` and `unimaged` say that they may.
    """
    mapped = {*table.select("plate", "well").iter_rows()}
    imaged = dict.fromkeys((field.plate, field.well) for field in screen.fields)
    unmapped = [well for well in imaged if well not in mapped]
    if unmapped and settings.unmapped == "error":
        _refuse(path, unmapped, "has images but is not in the plate map", "--unmapped keep or skip")
    # A well whose fields are all bad was imaged none the less.
    seen = {*imaged, *((problem.plate, problem.well) for problem in screen.skipped)}
    unimaged = sorted(mapped - seen)
    if unimaged and settings.unimaged == "error":
        _refuse(path, unimaged, "is in the plate map but has no images", "--unimaged skip")
    if settings.unmapped != "skip":
        return screen
    fields = tuple(field for field in screen.fields if (field.plate, field.well) in mapped)
    if not fields:
        raise ValueError(f"{path} names none of the wells that have images")
    if left_out := len(screen.fields) - len(fields):
        info(f"{path}: left out {left_out} fields of wells that it does not name")
    return replace(screen, fields=fields)


def _find(folder: Path, named: Path, noun: str) -> Path:
    for path in (named, folder / named):
        if path.is_file():
            return path
        if path.is_dir():
            raise ValueError(f"{path} is a folder: name a file ({noun})")
    raise ValueError(f"{named}: there is no such {noun}, nor in {folder}")


def _map_folder(barcodes: Path, named: Path | None) -> Path:
    beside = barcodes.parent / (named or "platemap")
    for folder in (named, beside):
        if folder is not None and folder.is_dir():
            return folder
    raise ValueError(f"{named or beside}: there is no such folder of plate maps (plate_map)")


def _tell_unused(path: Path, table: pl.DataFrame, sources: dict[str, list[str]]) -> None:
    used = {column for columns in sources.values() for column in columns}
    if unused := [column for column in table.columns if column not in used]:
        info(f"{path}: columns that are not used: {', '.join(unused)}")


def _only_plate(
    path: Path, settings: PlateMapSettings, plates: Sequence[str], count: int
) -> pl.Series:
    """Return the plate of a map that names none."""
    if len(plates) != 1:
        raise ValueError(
            f"{path} has no column {settings.plate_column!r} (setting plate_column), "
            f"but there are images of {len(plates)} plates"
        )
    return pl.Series([plates[0]] * count, dtype=pl.String)


def _refuse_duplicates(path: Path, plates: pl.Series, wells: pl.Series) -> None:
    keys = pl.DataFrame({"plate": plates, "well": wells})
    twice = keys.filter(keys.is_duplicated()).unique(maintain_order=True)
    if len(twice):
        complain(
            path, [f"plate {plate}, well {well} comes twice" for plate, well in twice.iter_rows()]
        )


def _read_controls(
    path: Path,
    texts: pl.Series | None,
    sources: dict[str, list[str]],
    settings: PlateMapSettings,
    count: int,
) -> pl.Series:
    """Return which wells are negative controls; where nothing says so, none is."""
    label, column = settings.control_label, settings.control_column
    if texts is not None:
        return read_controls(path, texts, ",".join(sources["control"]), label)
    if label is not None:
        raise ValueError(
            f"{path} has no column {column!r} (setting control_column), "
            f"where control_label {label!r} should stand"
        )
    info(f"{path} has no column {column!r}: no well counts as a control")
    return pl.Series([False] * count)


def _refuse(path: Path, wells: list[tuple[str, str]], what: str, remedy: str) -> NoReturn:
    problems = [f"plate {plate}, well {well} {what}" for plate, well in wells]
    complain(path, problems, f" ({remedy} allows it)")
