"""The plate map: reads which perturbation each well received."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import polars as pl

from phenomae.control_words import NEGATIVE
from phenomae.images.fields import raise_problems
from phenomae.images.platemap.barcodes import BARCODE, find_maps, read_barcoded_maps
from phenomae.images.platemap.columns import (
    JUMP_CONTROLS,
    find_columns,
    join_columns,
    read_controls,
    read_numbers,
    read_wells,
    setting_of,
)
from phenomae.images.platemap.metadata import join_metadata
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.paths import PathLike
from phenomae.progress import count_of, info
from phenomae.records import PLATE_MAP_COLUMNS
from phenomae.text_tables import read_lines, read_table
from phenomae.tidy_text import empty_cells, tidy_text
from phenomae.whole_files import hash_json, sha256_of

PLATE_MAP = "plate_map.csv"
"""The plate map that is found beside the images without being named."""


def find_plate_map(raw: PathLike, settings: PlateMapSettings) -> Path | None:
    """Return the path of the plate map or barcode table; None if there is none.

    Raises ValueError if a setting names one that does not exist.
    """
    places = map_folders(Path(raw))
    if (named := find_named_map(settings, places[0])) is not None:
        return named
    found = (place / PLATE_MAP for place in places)
    return next((path for path in found if path.exists()), None)


def map_folders(raw: Path) -> list[Path]:
    """Return where a plate map may lie: in a folder, beside a file, and beside an OME-Zarr plate.

    Relative paths of settings may be relative to the first.
    """
    folder = raw if raw.is_dir() else raw.parent
    return [folder, folder.parent] if folder.suffix == ".zarr" else [folder]


def find_named_map(settings: PlateMapSettings, folder: Path) -> Path | None:
    """Return the path of the plate map or barcode table that the settings name, or None.

    Relative paths may also be relative to `folder`. Raises ValueError if there is no such file.
    """
    if settings.barcode_map is not None:
        return _find(folder, Path(settings.barcode_map), "barcode map")
    if settings.plate_map is None:
        return None
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
    return parse_rows(path, table, origins, settings, plates, elsewhere)


def parse_rows(
    path: Path,
    table: pl.DataFrame,
    origins: Sequence[str],
    settings: PlateMapSettings,
    plates: Sequence[str],
    elsewhere: Collection[str] = (),
    *,
    kept: Collection[str] = (),
    varying: Collection[str] = (),
) -> pl.DataFrame:
    """Do as `read_plate_map` for the rows of a table, all of text, that were read already.

    `origins` gives file and line of each row, for errors. `kept` are columns that the caller uses
    as well. `varying` are columns whose values differ within a well: ValueError if one is used.
    """
    chosen = {name: getattr(settings, setting_of(name)) for name in PLATE_MAP_COLUMNS}
    defaults = {name: getattr(PlateMapSettings(), setting_of(name)) for name in PLATE_MAP_COLUMNS}
    if settings.barcode_map is not None:
        chosen["plate"] = BARCODE
    sources = find_columns(path, table, chosen, defaults, elsewhere)
    for name, columns in sources.items():
        if several := [column for column in columns if column in varying]:
            raise ValueError(
                f"{path}: the column {several[0]!r} has several values within a well, so it cannot "
                f"be its {name} (setting {setting_of(name)})"
            )
    _log_unused(path, [name for name in table.columns if name not in kept], sources)
    well = read_wells(path, table, sources.pop("well"), origins, settings.plate_size)
    columns = {name: join_columns(table, names) for name, names in sources.items()} | {"well": well}
    if "plate" not in columns:
        columns["plate"] = _only_plate(path, settings, plates, len(table))
    if missing := columns["plate"].null_count():
        raise ValueError(f"{path}: no plate in {missing} of {len(table)} rows")
    if "concentration_um" in columns:
        columns["concentration_um"] = read_numbers(path, columns["concentration_um"])
    columns["control"] = _read_controls(path, columns.get("control"), sources, settings, table)
    empty = pl.Series([None] * len(table), dtype=pl.String)
    if "perturbation" not in columns:
        columns["perturbation"] = _name_perturbations(columns, empty)
    wells = pl.DataFrame(
        {name: columns.get(name, empty).cast(kind) for name, kind in PLATE_MAP_COLUMNS.items()}
    ).unique(maintain_order=True)  # tables with a row for each site say the same several times
    _check_duplicates(path, wells)
    return wells


def hash_sources(path: Path, settings: PlateMapSettings, plates: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of each file that `read_plate_map` reads, by the setting that names it.

    Several plate maps have one hash, of all their hashes.
    """
    sources = {}
    if settings.metadata is not None:
        sources["metadata"] = sha256_of(find_metadata(path, settings.metadata))
    if settings.barcode_map is None:
        return {"plate_map": sha256_of(path), **sources}
    maps = find_maps(path, _find_map_folder(path, settings), plates)
    hashes = {plate: sha256_of(file) for plate, file in maps.items()}
    return {"barcode_map": sha256_of(path), "plate_map": hash_json(hashes), **sources}


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
        table, origins = read_barcoded_maps(path, _find_map_folder(path, settings), plates)
    return tidy_rows(path, table, settings), origins


def tidy_rows(path: Path, table: pl.DataFrame, settings: PlateMapSettings) -> pl.DataFrame:
    """Return the rows of a table of text with null for empty words, joined to the metadata."""
    table = _empty_words(path, tidy_text(table, str(path)), settings)
    if settings.metadata is None:
        return table
    beside = find_metadata(path, settings.metadata)
    metadata = _empty_words(beside, tidy_text(read_table(beside), str(beside)), settings)
    return join_metadata(path, table, beside, metadata, settings.metadata_column)


def find_metadata(path: Path, name: PathLike) -> Path:
    """Return the table of the setting `metadata`, which may be relative to the folder of `path`."""
    return _find(path.parent, Path(name), "metadata")


def _empty_words(path: Path, table: pl.DataFrame, settings: PlateMapSettings) -> pl.DataFrame:
    labels = {label.strip() for label in (settings.control_label or "").split(",")}
    words = [word for word in map(str.strip, settings.empty_words.split(",")) if word not in labels]
    return empty_cells(table, words, str(path))


def _find(folder: Path, name: Path, noun: str) -> Path:
    # First as typed in a shell; then relative to RAW, because recipes are used from any folder.
    for path in (name, folder / name):
        if path.is_file():
            return path
        if path.is_dir():
            raise ValueError(f"{path} is a folder: expected a file ({noun})")
    raise ValueError(f"{name}: there is no such {noun}, nor in {folder}")


def _find_map_folder(barcodes: Path, settings: PlateMapSettings) -> Path:
    name = None if settings.plate_map is None else Path(settings.plate_map)
    beside = barcodes.parent / (name or "platemap")
    for folder in (name, beside):
        if folder is not None and folder.is_dir():
            return folder
    raise ValueError(f"{name or beside}: there is no such folder of plate maps (plate_map)")


def _log_unused(path: Path, names: Sequence[str], sources: dict[str, list[str]]) -> None:
    used = {column for columns in sources.values() for column in columns}
    if unused := [column for column in names if column not in used]:
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
    table: pl.DataFrame,
) -> pl.Series:
    """Return which wells are negative controls: none without a column of controls."""
    label, column, count = settings.control_label, settings.control_column, len(table)
    if texts is not None:
        column = ",".join(sources["control"])
        controls = read_controls(path, texts, column, label)
        if controls.all():
            found = ", ".join(repr(text or "") for text in texts.unique(maintain_order=True)[:3])
            info(
                f"{path}: all {count} wells are negative controls, because {column} is {found} in "
                "each: no well is treated (settings control_column and control_label)"
            )
        return controls
    if label is not None:
        raise ValueError(
            f"{path} has no column {column!r} (setting control_column), "
            f"which should contain control_label {label!r}{_columns_with(table, label)}"
        )
    info(f"{path} has no column {column!r}: no well is a negative control{_other_words(table)}")
    return pl.Series([False] * count)


def _columns_with(table: pl.DataFrame, label: str) -> str:
    found = [name for name in table.columns if label in table[name]]
    return f"; {' and '.join(found)} has it" if found else ""


def _other_words(table: pl.DataFrame) -> str:
    """Return what columns in which JUMP marks controls have instead of its word."""
    for name in table.columns:
        if name.lower() in JUMP_CONTROLS:
            words = ", ".join(table[name].drop_nulls().unique(maintain_order=True)[:3])
            return (
                f"; {name} has {words or 'nothing'}, and not {NEGATIVE} (settings control_column "
                "and control_label choose others)"
            )
    return ""
