"""The columns of a plate map, whatever its file calls them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from phenomae.images.fields import complain
from phenomae.progress import info
from phenomae.records import normalize_well, parse_well

NEGATIVE = "negcon"
"""What JUMP calls a negative control."""

# How JUMP and pycytominer call these columns; what else they have means one thing here and another
# there (pert_iname is a gene or a compound), so that people must name it.
_JUMP = {
    "well": ("well_position", "metadata_well_position"),
    "perturbation": ("metadata_jcp2022", "metadata_broad_sample", "broad_sample"),
    "gene": ("metadata_symbol",),
}
_JUMP_CONTROLS = ("control_type", "metadata_control_type", "pert_type", "metadata_pert_type")
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def find_columns(
    path: Path, table: pl.DataFrame, chosen: Mapping[str, str], defaults: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the file's columns that each of ours is made of; those that it lacks are left out.

    `chosen` and `defaults` are what the settings say, by our names. A column that nobody chose is
    also known by its JUMP name. Raises ValueError where a column that was chosen is missing.
    """
    sources: dict[str, list[str]] = {}
    known: list[str] = []
    for name, text in chosen.items():
        columns = [column.strip() for column in text.split(",")]
        missing = [column for column in columns if column not in table.columns]
        if not missing:
            sources[name] = columns
        elif text == defaults[name] and (column := _recognise(path, name, table)) is not None:
            sources[name] = [column]
            known.append(f"{column} as {name}")
        elif name == "well" or text != defaults[name]:
            raise ValueError(
                f"{path} has no column {missing[0]!r} (setting {setting_of(name)}); "
                f"it has {', '.join(table.columns)}"
            )
    if known:
        info(f"{path}: taken {', '.join(known)}")
    return sources


def setting_of(name: str) -> str:
    """Return the setting that names a column of ours."""
    return f"{name.removesuffix('_um')}_column"


def _recognise(path: Path, name: str, table: pl.DataFrame) -> str | None:
    for wanted in (name, f"metadata_{name}", *_JUMP.get(name, ())):
        found = [column for column in table.columns if column.lower() == wanted]
        if len(found) > 1:
            raise ValueError(
                f"{path} has the columns {' and '.join(found)}: say which is the {name} "
                f"(setting {setting_of(name)})"
            )
        if found:
            return found[0]
    if name != "control":
        return None
    lower = {column.lower(): column for column in table.columns if NEGATIVE in table[column]}
    return next((lower[wanted] for wanted in _JUMP_CONTROLS if wanted in lower), None)


def join_columns(table: pl.DataFrame, columns: list[str]) -> pl.Series:
    """Return one column of text, parts joined by `_`; a row that lacks all of its parts is null."""
    text = pl.concat_str(columns, separator="_", ignore_nulls=True)
    given = pl.any_horizontal(pl.col(columns).is_not_null())
    return table.select(pl.when(given).then(text)).to_series()


def read_wells(
    path: Path, table: pl.DataFrame, columns: list[str], origins: Sequence[str], size: int | None
) -> pl.Series:
    """Return the wells' names, from one column or from that of the row and that of the column.

    `origins` says where each row of the table stands, `size` how many wells a plate has.
    """
    if len(columns) > 2:
        raise ValueError(f"well_column names {len(columns)} columns, expected Well or Row,Column")
    problems: list[str] = []
    names: list[str] = []
    for origin, cells in zip(origins, table.select(columns).iter_rows(), strict=True):
        texts = [cell or "" for cell in cells]
        try:
            if len(texts) == 1:
                names.append(normalize_well(texts[0], size))
            else:
                names.append(parse_well(texts[0], texts[1], size))
        except ValueError as error:
            problems.append(f"{origin}: {error}")
    if problems:
        numbered = table[columns[0]].str.contains(r"^[0-9]+$").any()
        complain(path, problems, " (setting plate_size)" if numbered and size is None else "")
    return pl.Series(names, dtype=pl.String)


def read_numbers(path: Path, texts: pl.Series) -> pl.Series:
    """Return concentrations as numbers; raises ValueError where one is none."""
    numbers = texts.cast(pl.Float64, strict=False)
    wrong = texts.filter(~numbers.is_finite().fill_null(False) & texts.is_not_null())
    if len(wrong):
        raise ValueError(f"{path}: the concentration {wrong[0]!r} is not a number")
    return numbers


def read_controls(path: Path, texts: pl.Series, column: str, label: str | None) -> pl.Series:
    """Return which wells are negative controls: those with a label, or else with true.

    Of several labels, comma between, an empty one stands for wells where nothing is written.
    """
    if label is None and column.lower() in _JUMP_CONTROLS:
        label = NEGATIVE
    if label is not None:
        labels = [part.strip() for part in label.split(",")]
        written = texts.fill_null("")
        if absent := [part for part in labels if part not in written]:
            raise ValueError(f"{path}: no well has the control label {absent[0]!r} in {column}")
        return written.is_in(labels)
    values = [_TRUTH.get((text or "false").lower()) for text in texts]
    if None in values:
        wrong = texts[values.index(None)]
        raise ValueError(
            f"{path}: {column} has {wrong!r}, which is neither true nor false: "
            "name the negative controls' label with control_label"
        )
    return pl.Series(values, dtype=pl.Boolean)
