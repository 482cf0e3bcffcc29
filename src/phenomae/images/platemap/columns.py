"""Finds and reads the columns of a plate map, whatever names its file has for them.

A column is found by its setting, by our name in any case, or by the name JUMP has for it.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import polars as pl

from phenomae.control_words import NEGATIVE, parse_controls
from phenomae.images.fields import raise_problems
from phenomae.progress import info
from phenomae.records import normalize_well, parse_well

# Names in JUMP and pycytominer with one meaning in all their data sets. Others differ between them
# (pert_iname is a gene or a compound), so they must be named by a setting.
_JUMP = {
    "well": ("well_position", "metadata_well_position"),
    "perturbation": ("metadata_jcp2022", "metadata_broad_sample", "broad_sample"),
    "gene": ("metadata_symbol",),
}
JUMP_CONTROLS = ("control_type", "metadata_control_type", "pert_type", "metadata_pert_type")


def find_columns(
    path: Path,
    table: pl.DataFrame,
    chosen: Mapping[str, str],
    defaults: Mapping[str, str],
    elsewhere: Collection[str] = (),
) -> dict[str, list[str]]:
    """Return the file's columns for each of our columns that it has.

    `chosen` and `defaults` are the values and the default values of the column settings, by our
    names. A column whose setting has its default is also found by its JUMP name, and so is one
    whose setting names a column of the raw layout's tables (`elsewhere`) and none here. Raises
    ValueError if a column that was set, or the well, is missing.
    """
    sources: dict[str, list[str]] = {}
    known: list[str] = []
    for name, text in chosen.items():
        columns = [column.strip() for column in text.split(",")]
        missing = [column for column in columns if column not in table.columns]
        if missing and setting_of(name) in elsewhere:
            text, columns = defaults[name], [defaults[name]]
            missing = [column for column in columns if column not in table.columns]
        if not missing:
            sources[name] = columns
        # Not for a column that was set: a misspelt name must not fall back to another column.
        elif text == defaults[name] and (column := _recognise(path, name, table)) is not None:
            sources[name] = [column]
            known.append(f"{column} as {name}")
        elif name == "well" or text != defaults[name]:
            raise ValueError(
                f"{path} has no column {missing[0]!r} (setting {setting_of(name)}); "
                f"it has {', '.join(table.columns)}"
            )
    if known:
        info(f"{path}: read {', '.join(known)}")
    return sources


def setting_of(name: str) -> str:
    """Return the name of the setting for one of our columns."""
    return f"{name.removesuffix('_um')}_column"


def _recognise(path: Path, name: str, table: pl.DataFrame) -> str | None:
    for candidate in (name, f"metadata_{name}", *_JUMP.get(name, ())):
        found = [column for column in table.columns if column.lower() == candidate]
        if len(found) > 1:
            raise ValueError(
                f"{path} has the columns {' and '.join(found)}: choose the {name} "
                f"with the setting {setting_of(name)}"
            )
        if found:
            return found[0]
    if name != "control":
        return None
    # Only with the label in it: in other data sets pert_type marks positive controls too.
    lower = {column.lower(): column for column in table.columns if NEGATIVE in table[column]}
    return next((lower[name] for name in JUMP_CONTROLS if name in lower), None)


def join_columns(table: pl.DataFrame, columns: list[str]) -> pl.Series:
    """Return columns joined by `_` as one; null in rows where all of them are null."""
    # concat_str makes an empty text of such a row, which would count as a perturbation.
    text = pl.concat_str(columns, separator="_", ignore_nulls=True)
    given = pl.any_horizontal(pl.col(columns).is_not_null())
    return table.select(pl.when(given).then(text)).to_series()


def read_wells(
    path: Path, table: pl.DataFrame, columns: list[str], origins: Sequence[str], size: int | None
) -> pl.Series:
    """Return the normalised well names, from one column or from a row and a column.

    `origins` gives file and line of each row of the table, for errors; `size` is the number of
    wells of a plate, if it is known. Raises ValueError if a name is not a well of such a plate.
    """
    problems: list[str] = []
    names: list[str] = []
    known: dict[tuple[str | None, ...], str] = {}  # plates have the same wells
    for origin, cells in zip(origins, table.select(columns).iter_rows(), strict=True):
        if cells not in known:
            texts = [cell or "" for cell in cells]
            try:
                if len(texts) == 1:
                    known[cells] = normalize_well(texts[0], size)
                else:
                    known[cells] = parse_well(texts[0], texts[1], size)
            except ValueError as error:
                problems.append(f"{origin}: {error}")
                continue
        names.append(known[cells])
    if problems:
        raise_problems(path, problems)
    return pl.Series(names, dtype=pl.String)


def read_numbers(path: Path, texts: pl.Series) -> pl.Series:
    """Return concentrations as numbers; raises ValueError if one is not a finite number."""
    numbers = texts.cast(pl.Float64, strict=False)
    wrong = texts.filter(~numbers.is_finite().fill_null(False) & texts.is_not_null())
    if len(wrong):
        raise ValueError(f"{path}: the concentration {wrong[0]!r} is not a number")
    return numbers


def read_controls(path: Path | str, texts: pl.Series, column: str, label: str | None) -> pl.Series:
    """Return which wells are negative controls: those with a label, or without one with true.

    `label` may be several, separated by commas; an empty one stands for empty cells. Raises
    ValueError if no well has a label, or if without a label a value is neither true nor false, nor
    a label of JUMP.
    """
    if label is None and column.lower() in JUMP_CONTROLS:
        label = NEGATIVE
    if label is not None:
        labels = [part.strip() for part in label.split(",")]
        written = texts.fill_null("")
        # A misspelt label would silently leave fewer controls, or none.
        if absent := [part for part in labels if part not in written]:
            raise ValueError(f"{path}: no well has the control label {absent[0]!r} in {column}")
        return written.is_in(labels)
    try:
        return parse_controls(texts)
    except ValueError as error:
        raise ValueError(
            f"{path}: {column} has {error}: set control_label to the label of negative controls"
        ) from None
