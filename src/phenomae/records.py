"""The nouns of a screen: plate, well, site, channel, perturbation; column names and their checks.

Axis letters in shapes, everywhere: `b` crops, `c` channels, `h w` pixels, `p` patches,
`d` features, `n` wells, `g` perturbations; inside a network also `t` tokens (class token, then
patches), `e` heads, `k` the pixels of a patch in all its channels.
"""

import re
from collections.abc import Mapping

import polars as pl

# What a plate map says of a well, in the order every table keeps. A column that does not apply is
# there all the same, empty and of its own type, so that tables of different screens can be stacked.
WELL_COLUMNS: dict[str, pl.DataType] = {
    "plate": pl.String(),
    "well": pl.String(),
    "sites": pl.Int32(),
    "batch": pl.String(),
    "perturbation": pl.String(),
    "gene": pl.String(),
    "guide": pl.String(),
    "compound": pl.String(),
    "concentration_um": pl.Float64(),
    "control": pl.Boolean(),
}

# One row a field in a store's fields.parquet: the well's columns (without `sites`), then where the
# field lies and how its intensities become 0..1: (pixel - window_low) / (window_high - window_low).
FIELD_COLUMNS: dict[str, pl.DataType] = {
    "plate": pl.String(),
    "well": pl.String(),
    "site": pl.Int32(),
    **{name: kind for name, kind in WELL_COLUMNS.items() if name not in ("plate", "well", "sites")},
    "path": pl.String(),
    "height": pl.Int32(),
    "width": pl.Int32(),
    "window_low": pl.List(pl.Float64()),
    "window_high": pl.List(pl.Float64()),
    "checksum": pl.String(),
}

_WELL = re.compile(r"([A-Z]{1,2})0*([1-9][0-9]?)")


def normalize_well(name: str) -> str:
    """Return a well's name as phenomae writes it: row letters, then two digits (`a1` -> `A01`).

    Raises ValueError where `name` is not row letters and a column number.
    """
    match = _WELL.fullmatch(name.strip().upper())
    if match is None:
        raise ValueError(f"{name!r} is not a well: expected row letters and a column, like B07")
    return f"{match[1]}{int(match[2]):02d}"


def split_well(name: str) -> tuple[str, str]:
    """Return the row and the column of a normalised well name: `B07` -> `("B", "07")`."""
    row = name.rstrip("0123456789")
    return row, name[len(row) :]


def feature_names(count: int) -> list[str]:
    """Return `feature_0000`, `feature_0001`, ...: the columns that hold an embedding."""
    return [f"feature_{index:04d}" for index in range(count)]


def check_name(value: str, noun: str) -> str:
    """Return `value` where it can name a file (a plate does); raises ValueError where it cannot."""
    if not value or value != value.strip() or re.search(r'[/\\\x00-\x1f<>:"|?*]', value):
        raise ValueError(
            f"{value!r} cannot be the name of a {noun}: it would not do as a file name"
        )
    if value.startswith("."):
        raise ValueError(f"{value!r} cannot be the name of a {noun}: it begins with a dot")
    return value


def cast_columns(
    table: pl.DataFrame, kinds: Mapping[str, pl.DataType], source: str
) -> pl.DataFrame:
    """Return the columns `kinds` of a table, in that order, each of its type.

    Raises ValueError, naming `source` and the column, where the values are not of that type.
    """
    columns: list[pl.Series] = []
    for name, kind in kinds.items():
        try:
            columns.append(table[name].cast(kind))
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"{source}: the column {name!r} is {table[name].dtype}, not {kind}: {reason}"
            ) from None
    return pl.DataFrame(columns)
