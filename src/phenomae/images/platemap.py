"""The plate map: what was done to each well, joined to the images by plate and well."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import polars as pl
from cyclopts import Parameter

from phenomae.images.fields import RawScreen, complain
from phenomae.images.tables import read_table
from phenomae.progress import say
from phenomae.records import WELL_COLUMNS, normalize_well

MAP_COLUMNS = {name: kind for name, kind in WELL_COLUMNS.items() if name != "sites"}
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@Parameter(name="*")
@dataclass(frozen=True)
class PlateMapSettings:
    """Where the plate map lies and what its columns are called.

    A column setting may name several columns, comma between: their values are joined by `_`
    (those of a well by nothing).
    """

    plate_map: Path | None = None
    """CSV or TSV, one row a well; a relative path may also count from RAW. Without it
    `plate_map.csv` beside the images is taken where there is one."""
    plate_column: str = "plate"
    """Column of the plate; may be missing where the images are of one plate."""
    well_column: str = "well"
    """Column of the well, or of its row and its column: `Row,Column`."""
    batch_column: str = "batch"
    """Column of the experimental batch."""
    perturbation_column: str = "perturbation"
    """Column of what was done; without it guide, else gene, else compound."""
    gene_column: str = "gene"
    """Column of the gene."""
    guide_column: str = "guide"
    """Column of the guide."""
    compound_column: str = "compound"
    """Column of the compound."""
    concentration_column: str = "concentration_um"
    """Column of the concentration, in micromolar."""
    control_column: str = "control"
    """Column that says which wells are negative controls: true or false, or see control_label."""
    control_label: str | None = None
    """What negative controls have in the control column, such as `DMSO`; several, comma between."""
    unmapped: Literal["error", "keep", "skip"] = "error"
    """Wells with images that the plate map does not name: an error, kept without perturbation, or
    left out."""
    unimaged: Literal["error", "skip"] = "error"
    """Wells of the plate map without images: an error, or passed over."""


def find_plate_map(raw: Path, plate_map: Path | None) -> Path | None:
    """Return where the plate map lies; raises ValueError where the one named is not there."""
    folder = raw if raw.is_dir() else raw.parent
    if plate_map is None:
        beside = folder / "plate_map.csv"
        return beside if beside.exists() else None
    for path in (plate_map, folder / plate_map):
        if path.is_file():
            return path
    raise ValueError(f"{plate_map}: there is no such plate map, nor in {folder}")


def read_plate_map(path: Path, settings: PlateMapSettings, plates: Sequence[str]) -> pl.DataFrame:
    """Read a plate map: `MAP_COLUMNS`, one row a well, whatever the file calls them.

    Raises ValueError where a column named by a setting is missing, a well comes twice, a value is
    not of its column's kind, or no well has the control label.
    """
    table = read_table(path)
    sources = _find_columns(path, table, settings)
    columns = {
        name: _join(table, names, separator="" if name == "well" else "_")
        for name, names in sources.items()
    }
    if "plate" not in columns:
        if len(plates) != 1:
            raise ValueError(
                f"{path} has no column {settings.plate_column!r} (setting plate_column), "
                f"but there are images of {len(plates)} plates"
            )
        columns["plate"] = pl.Series([plates[0]] * len(table), dtype=pl.String)
    columns["well"] = _read_wells(path, columns["well"])
    if columns["plate"].null_count():
        raise ValueError(f"{path}: {columns['plate'].null_count()} rows name no plate")
    _refuse_duplicates(path, columns["plate"], columns["well"])
    if "concentration_um" in columns:
        columns["concentration_um"] = _read_numbers(path, columns["concentration_um"])
    columns["control"] = _read_controls(path, columns.get("control"), settings, len(table))
    empty = pl.Series([None] * len(table), dtype=pl.String)
    if "perturbation" not in columns:
        given = [columns.get(name, empty) for name in ("guide", "gene", "compound")]
        columns["perturbation"] = pl.select(pl.coalesce(given)).to_series()
    return pl.DataFrame(
        {name: columns.get(name, empty).cast(kind) for name, kind in MAP_COLUMNS.items()}
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
    unimaged = sorted(mapped - set(imaged))
    if unimaged and settings.unimaged == "error":
        _refuse(path, unimaged, "is in the plate map but has no images", "--unimaged skip")
    if settings.unmapped != "skip":
        return screen
    fields = tuple(field for field in screen.fields if (field.plate, field.well) in mapped)
    if not fields:
        raise ValueError(f"{path} names none of the wells that have images")
    return RawScreen(screen.channels, fields)


def _find_columns(
    path: Path, table: pl.DataFrame, settings: PlateMapSettings
) -> dict[str, list[str]]:
    """Return the file's columns that each of ours is made of; those that it lacks are left out."""
    sources: dict[str, list[str]] = {}
    defaults = PlateMapSettings()
    for name in MAP_COLUMNS:
        setting = f"{name.removesuffix('_um')}_column"
        chosen: str = getattr(settings, setting)
        columns = [column.strip() for column in chosen.split(",")]
        missing = [column for column in columns if column not in table.columns]
        if not missing:
            sources[name] = columns
        elif name == "well" or chosen != getattr(defaults, setting):
            raise ValueError(
                f"{path} has no column {missing[0]!r} (setting {setting}); "
                f"it has {', '.join(table.columns)}"
            )
    used = {column for columns in sources.values() for column in columns}
    if unused := [column for column in table.columns if column not in used]:
        say(f"{path}: columns that are not used: {', '.join(unused)}")
    return sources


def _join(table: pl.DataFrame, columns: list[str], separator: str) -> pl.Series:
    """Return one column of text; a row that lacks all of its parts is null."""
    text = pl.concat_str(columns, separator=separator, ignore_nulls=True)
    given = pl.any_horizontal(pl.col(columns).is_not_null())
    return table.select(pl.when(given).then(text)).to_series()


def _read_wells(path: Path, wells: pl.Series) -> pl.Series:
    problems: list[str] = []
    names: list[str] = []
    for line, name in enumerate(wells, start=2):
        try:
            names.append(normalize_well(name or ""))
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    if problems:
        complain(path, problems)
    return pl.Series(names, dtype=pl.String)


def _refuse_duplicates(path: Path, plates: pl.Series, wells: pl.Series) -> None:
    keys = pl.DataFrame({"plate": plates, "well": wells})
    twice = keys.filter(keys.is_duplicated()).unique(maintain_order=True)
    if len(twice):
        complain(
            path, [f"plate {plate}, well {well} comes twice" for plate, well in twice.iter_rows()]
        )


def _read_numbers(path: Path, texts: pl.Series) -> pl.Series:
    numbers = texts.cast(pl.Float64, strict=False)
    wrong = texts.filter(numbers.is_null() & texts.is_not_null())
    if len(wrong):
        raise ValueError(f"{path}: the concentration {wrong[0]!r} is not a number")
    return numbers


def _read_controls(
    path: Path, texts: pl.Series | None, settings: PlateMapSettings, count: int
) -> pl.Series:
    """Return which wells are negative controls; where nothing says so, none is."""
    label = settings.control_label
    if texts is None:
        if label is not None:
            raise ValueError(
                f"{path} has no column {settings.control_column!r} (setting control_column), "
                f"where control_label {label!r} should stand"
            )
        say(f"{path} has no column {settings.control_column!r}: no well counts as a control")
        return pl.Series([False] * count)
    if label is not None:
        labels = [part.strip() for part in label.split(",")]
        if absent := [part for part in labels if part not in texts]:
            raise ValueError(
                f"{path}: no well has the control label {absent[0]!r} in {settings.control_column}"
            )
        return texts.is_in(labels).fill_null(False)
    values = [_TRUTH.get((text or "false").lower()) for text in texts]
    if None in values:
        wrong = texts[values.index(None)]
        raise ValueError(
            f"{path}: {settings.control_column} has {wrong!r}, which is neither true nor false: "
            "name the negative controls' label with control_label"
        )
    return pl.Series(values, dtype=pl.Boolean)


def _refuse(path: Path, wells: list[tuple[str, str]], what: str, remedy: str) -> NoReturn:
    problems = [f"plate {plate}, well {well} {what}" for plate, well in wells]
    complain(path, problems, f" ({remedy} allows it)")
