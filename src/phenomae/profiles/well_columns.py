"""Finds plate, well and labels of the rows of profile tables, with the readers of plate maps.

A profile table that brings its labels along is a plate map with features: its metadata columns are
read like those of a plate map, by the same settings. With `plate_map` the labels come from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.images.layouts.rxrx3_wells import COLUMNS as RXRX3
from phenomae.images.layouts.rxrx3_wells import name_plate, parse_wells
from phenomae.images.platemap.columns import (
    find_columns,
    join_columns,
    read_wells,
    setting_of,
)
from phenomae.images.platemap.labels import Labels, read_labels, replace_labels
from phenomae.images.platemap.own_controls import are_chosen, read_chosen
from phenomae.images.platemap.plate_map import parse_rows, tidy_rows
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.parquet_tables import as_text
from phenomae.profiles.columns import is_identifier
from phenomae.profiles.well_numbers import extra_metadata, read_numbers_of_wells
from phenomae.progress import silenced
from phenomae.records import LABEL_COLUMNS, METADATA, WELL_COLUMNS, normalize_well, split_well

_EFAAR = {"treatment": "perturbation", "concentration": "concentration_um"}
_WELL_ID = "well_id"
_WELL = ["plate", "well"]


@dataclass(frozen=True)
class LabelledWells:
    """The wells of profile tables, and the well of each row."""

    table: pl.DataFrame
    """One row per well, sorted by plate and place: plate, well, labels, numbers, `Metadata_...`."""
    well: Int[np.ndarray, " n"]
    """The row of `table` for each row of the tables; -1 for rows that are left out."""
    labels: Labels | None
    """The plate map, if the settings name one."""


def label_wells(path: Path, rows: pl.DataFrame, settings: PlateMapSettings) -> LabelledWells:
    """Return the wells of the rows of profile tables, whose metadata are the columns of `rows`.

    `path` is named in messages. Raises ValueError if plate or well of a row is not found, or as the
    readers of plate maps do.
    """
    rows = _drop_objects(_name_as_ours(rows))
    has_map = settings.plate_map is not None or settings.barcode_map is not None
    keys = _find_keys(path, rows, settings)
    first, place = _first_rows(rows, keys)
    varying = [
        name for name in rows.columns if name not in keys and _varies(rows[name], first, place)
    ]
    raw = rows[first]
    text = pl.DataFrame([as_text(column) for column in raw.iter_columns()])
    # With a plate map, the metadata belong to it.
    own = replace(settings, metadata=None, metadata_column=None) if has_map else settings
    text = tidy_rows(path, text, own)
    raw = raw.with_columns(text.select(name for name in text.columns if name not in raw.columns))
    origins = [f"row {row + 1}" for row in first.tolist()]
    named = raw.with_columns(_locate(path, text, origins, settings))
    if has_map:
        table, labels = _read_map(text, named, settings)
    else:
        table, labels = _parse(path, text, named, origins, settings, varying), None
    table = _sort(_add_metadata(path, table, named, varying))
    numbers = table.select(_WELL).with_row_index("number")
    of_raw = named.select(_WELL).join(numbers, on=_WELL, how="left", maintain_order="left")
    number = of_raw["number"].cast(pl.Int64).fill_null(-1).to_numpy()
    return LabelledWells(table, number[place], labels)


def named_columns(settings: PlateMapSettings) -> set[str]:
    """Return the columns that the settings name."""
    chosen = [
        getattr(settings, each.name) for each in fields(settings) if each.name.endswith("_column")
    ]
    return {name.strip() for names in chosen if names for name in names.split(",")}


def _read_map(
    text: pl.DataFrame, named: pl.DataFrame, settings: PlateMapSettings
) -> tuple[pl.DataFrame, Labels]:
    """Return the wells that are kept, with the labels of the plate map, and the plate map."""
    found = {name for name in _WELL if _is_in(getattr(settings, setting_of(name)), text)}
    labels = read_labels(settings, named["plate"].to_list(), set(map(setting_of, found)))
    assert labels is not None
    bare = named.select(_WELL).unique(maintain_order=True)
    empty = [pl.lit(None, kind).alias(name) for name, kind in LABEL_COLUMNS.items()]
    table, kept = replace_labels(bare.with_columns(empty), labels, "profiles")
    return table.filter(kept), labels


def _add_metadata(
    path: Path, table: pl.DataFrame, named: pl.DataFrame, varying: Sequence[str]
) -> pl.DataFrame:
    """Return the wells with the numbers and the columns `Metadata_...` of their first rows."""
    first = named.unique(_WELL, keep="first", maintain_order=True)
    parts = [
        first.select(_WELL),
        read_numbers_of_wells(path, first, varying),
        extra_metadata(first, varying),
    ]
    beside = pl.concat(parts, how="horizontal")
    return table.join(beside, on=_WELL, how="left", maintain_order="left")


def _name_as_ours(rows: pl.DataFrame) -> pl.DataFrame:
    """Return metadata with the names of a plate map for those of the EFAAR benchmark."""
    if "perturbation" in rows.columns and _EFAAR.keys() <= {*rows.columns}:
        # There, a control is called `control` among the perturbations, which are genes otherwise.
        rows = rows.drop("perturbation").rename(_EFAAR)
    return rows


def _drop_objects(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(name for name in rows.columns if not is_identifier(name))


def _is_rxrx3(rows: pl.DataFrame) -> bool:
    return set(RXRX3) <= {*rows.columns}


def _find_keys(path: Path, rows: pl.DataFrame, settings: PlateMapSettings) -> list[str]:
    """Return the columns that together name a well."""
    if _is_rxrx3(rows):
        return ["experiment_name", "plate", "address"]
    if _WELL_ID in rows.columns and settings.metadata is not None:
        return [_WELL_ID]  # plate and well are in the metadata
    text = rows.head(0).cast(pl.String)
    with silenced():  # the same is printed when the columns are read
        sources = _find_places(path, text, settings)
    return [*dict.fromkeys([*sources.get("plate", []), *sources["well"]])]


def _find_places(
    path: Path, text: pl.DataFrame, settings: PlateMapSettings
) -> dict[str, list[str]]:
    """Return the columns of plate and well; raises ValueError if one is missing."""
    chosen = {"plate": settings.plate_column, "well": settings.well_column}
    defaults = {"plate": PlateMapSettings().plate_column, "well": PlateMapSettings().well_column}
    if settings.plate_map is not None or settings.barcode_map is not None:
        # A name that is not here is that of the plate map's column.
        elsewhere = [
            setting_of(name) for name, columns in chosen.items() if not _is_in(columns, text)
        ]
    else:
        elsewhere = []
    sources = find_columns(path, text, chosen, defaults, elsewhere)
    if "plate" not in sources:
        raise ValueError(
            f"{path} has no column of plates (setting plate_column); it has "
            f"{', '.join(text.columns)}"
        )
    return sources


def _is_in(columns: str, text: pl.DataFrame) -> bool:
    return all(column.strip() in text.columns for column in columns.split(","))


def _locate(
    path: Path, text: pl.DataFrame, origins: Sequence[str], settings: PlateMapSettings
) -> list[pl.Series]:
    """Return plate and well of rows of text, under our names."""
    if _is_rxrx3(text):
        lacking = text.filter(pl.any_horizontal(pl.col("experiment_name", "plate").is_null()))
        if len(lacking):
            first = lacking.row(0, named=True).get(_WELL_ID, "an empty row")
            raise ValueError(
                f"{path}: experiment_name and plate of {len(lacking)} of {len(text)} wells are "
                f"not known, such as {first}: metadata must have a row for each well_id"
            )
        plates = [name_plate(*pair) for pair in text.select("experiment_name", "plate").iter_rows()]
        wells = [normalize_well(address or "") for address in text["address"]]
        return [pl.Series("plate", plates), pl.Series("well", wells)]
    with silenced():
        sources = _find_places(path, text, settings)
    plate = join_columns(text, sources["plate"]).alias("plate")
    if plate.has_nulls():
        raise ValueError(f"{path}: no plate in {plate.null_count()} of {len(plate)} wells")
    well = read_wells(path, text, sources["well"], origins, settings.plate_size)
    return [plate, well.alias("well")]


def _parse(
    path: Path,
    text: pl.DataFrame,
    named: pl.DataFrame,
    origins: Sequence[str],
    settings: PlateMapSettings,
    varying: Sequence[str],
) -> pl.DataFrame:
    """Return the wells with the labels that the profile tables have themselves."""
    if _is_rxrx3(text):
        return _parse_rxrx3(path, text, named, settings)
    plates = named["plate"].unique().to_list()
    kept = [name for name in text.columns if name.startswith(METADATA) or name in WELL_COLUMNS]
    return parse_rows(path, text, origins, settings, plates, kept=kept, varying=varying)


def _parse_rxrx3(
    path: Path, text: pl.DataFrame, named: pl.DataFrame, settings: PlateMapSettings
) -> pl.DataFrame:
    """Return the wells of RxRx3's columns, with the controls that the settings choose."""
    default = PlateMapSettings()
    fixed = [setting_of(name) for name in (*_WELL, *LABEL_COLUMNS) if name != "control"]
    for name in fixed:
        if getattr(settings, name) != getattr(default, name):
            raise ValueError(
                f"{path} has the columns of RxRx3, which have fixed meanings: leave out {name}"
            )
    wells = parse_wells(path, text)
    if not are_chosen(settings):
        return wells
    chosen = read_chosen(path, text, settings)
    controls = named.select(_WELL).with_columns(control=chosen).unique(_WELL, keep="first")
    return wells.drop("control").join(controls, on=_WELL, how="left", maintain_order="left")


def _first_rows(
    rows: pl.DataFrame, keys: Sequence[str]
) -> tuple[Int[np.ndarray, " w"], Int[np.ndarray, " n"]]:
    """Return the first row of each well, and the place of each row's well among them."""
    numbered = rows.select(keys).with_row_index("row")
    first = numbered.unique(keys, keep="first", maintain_order=True)
    if len(first) == len(rows):
        return np.arange(len(rows)), np.arange(len(rows))
    places = first.drop("row").with_row_index("place")
    found = numbered.join(
        places, on=list(keys), how="left", nulls_equal=True, maintain_order="left"
    )
    return first["row"].to_numpy(), found["place"].to_numpy()


def _varies(column: pl.Series, first: Int[np.ndarray, " w"], place: Int[np.ndarray, " n"]) -> bool:
    """Return whether a column has several values within a well."""
    if len(first) == len(column):
        return False
    return not column.equals(column.gather(first).gather(place))


def _sort(table: pl.DataFrame) -> pl.DataFrame:
    """Return wells sorted by plate, then row (Z before AA) and column."""
    places: Mapping[str, tuple[str, str]] = {name: split_well(name) for name in set(table["well"])}
    row = [places[name][0] for name in table["well"]]
    column = [int(places[name][1]) for name in table["well"]]
    order = pl.DataFrame({"plate": table["plate"], "row": row, "column": column})
    return table[
        order.select(
            pl.arg_sort_by("plate", pl.col("row").str.len_chars(), "row", "column")
        ).to_series()
    ]
