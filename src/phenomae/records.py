"""The vocabulary of a screen: plate, well, site, channel, perturbation; table columns and checks.

Axis letters in shapes, everywhere: `b` crops, `c` channels, `h w` pixels, `p` patches,
`d` features, `n` wells, `g` perturbations; inside a network also `t` tokens (class token, then
patches), `e` heads, `k` the pixels of a patch in all its channels.
"""

import csv
import re
from collections.abc import Mapping

import polars as pl

# What was done to a well: its labels. Columns that do not apply to a screen are null and of their
# fixed type, so that tables of different screens can be concatenated.
LABEL_COLUMNS: dict[str, pl.DataType] = {
    "batch": pl.String(),
    "perturbation": pl.String(),
    "gene": pl.String(),
    "guide": pl.String(),
    "compound": pl.String(),
    "concentration_um": pl.Float64(),
    "control": pl.Boolean(),
}

# Image quality of a field: the focus of its worst channel relative to the plate's median; of the
# other measures, the highest of its channels.
_QUALITY: dict[str, pl.DataType] = {
    "focus": pl.Float64(),
    "saturation": pl.Float64(),
    "foreground": pl.Float64(),
}

# The columns of a plate map.
PLATE_MAP_COLUMNS = {"plate": pl.String(), "well": pl.String(), **LABEL_COLUMNS}

# One row per well, in the column order of every table of wells. `sites` is the number of fields;
# quality is the mean over them, null if the wells do not come from a store.
WELL_COLUMNS: dict[str, pl.DataType] = {
    "plate": pl.String(),
    "well": pl.String(),
    "sites": pl.Int32(),
    **LABEL_COLUMNS,
    **_QUALITY,
}

# Columns of a plate map or a table of profiles that have no meaning here begin with this prefix, as
# in pycytominer; wells keep them after the columns above.
METADATA = "Metadata_"

# One row per field in a store's fields.parquet: treatment of its well, path, the window that scales
# intensities to 0..1 ((pixel - window_low) / (window_high - window_low)), and image quality.
FIELD_COLUMNS: dict[str, pl.DataType] = {
    "plate": pl.String(),
    "well": pl.String(),
    "site": pl.Int32(),
    **LABEL_COLUMNS,
    "path": pl.String(),
    "height": pl.Int32(),
    "width": pl.Int32(),
    "window_low": pl.List(pl.Float64()),
    "window_high": pl.List(pl.Float64()),
    "checksum": pl.String(),
    **_QUALITY,
    "channel_focus": pl.List(pl.Float64()),
    "channel_saturation": pl.List(pl.Float64()),
    "channel_foreground": pl.List(pl.Float64()),
    "percentile_1": pl.List(pl.Float64()),
    "percentile_50": pl.List(pl.Float64()),
    "percentile_99": pl.List(pl.Float64()),
}

# Rows and columns of a plate, by its number of wells.
PLATE_SHAPES = {
    6: (2, 3),
    12: (3, 4),
    24: (4, 6),
    48: (6, 8),
    96: (8, 12),
    384: (16, 24),
    1536: (32, 48),
}

_COUNT = r"0*[1-9][0-9]?"
# A01, a1, A-01, A:1; and 01-A-01, which has the number of the well in front.
_LETTERED = re.compile(rf"(?:[0-9]{{1,4}}-(?=[A-Za-z]+-))?([A-Za-z]{{1,2}})[-_: ]?({_COUNT})")
_NUMBERED = re.compile(rf"[Rr]({_COUNT})[-_: ]?[Cc]({_COUNT})")  # r01c01


def normalize_well(name: str, plate_size: int | None = None) -> str:
    """Return a well's name as phenomae writes it: row letters, then two digits (`a1` -> `A01`).

    Accepts `A1`, `a01`, `A-01`, `A:1`, `01-A-01`, `r01c01` and, if `plate_size` (the number of
    wells of the plate) is given, a number alone, which counts wells row by row from 1.

    Raises ValueError if `name` is none of these, or not a well of a plate of that size.
    """
    text = drop_zero_fraction(name.strip())
    if match := _NUMBERED.fullmatch(text) or _LETTERED.fullmatch(text):
        return parse_well(match[1], match[2], plate_size)
    if re.fullmatch(r"[0-9]{1,6}", text) is None:
        raise ValueError(f"{name!r} is not a well: expected row letters and a column, like B07")
    if plate_size is None:
        raise ValueError(
            f"{name!r} is not a well: a number alone counts wells row by row, "
            "which needs the size of the plate (setting plate_size)"
        )
    if not 1 <= int(text) <= plate_size:
        raise ValueError(f"{name!r} is not a well of a plate of {plate_size}")
    row, column = divmod(int(text) - 1, PLATE_SHAPES[plate_size][1])
    return f"{row_letters(row)}{column + 1:02d}"


def parse_well(row: str, column: str, plate_size: int | None = None) -> str:
    """Return the name of the well in a row (letters, or a number from 1) and a column (a number).

    Raises ValueError if they are neither, or not on a plate of `plate_size` wells.
    """
    row, column = (drop_zero_fraction(text.strip()) for text in (row, column))
    if re.fullmatch(_COUNT, row):
        row = row_letters(int(row) - 1)
    if not re.fullmatch(r"[A-Za-z]{1,2}", row) or not re.fullmatch(_COUNT, column):
        raise ValueError(
            f"row {row!r} and column {column!r} are not a well: expected letters or a number, "
            "and a number"
        )
    return _check_well(f"{row.upper()}{int(column):02d}", plate_size)


def drop_zero_fraction(text: str) -> str:
    """Return `1.0` as `1`: programs write a column of integers with empty cells so."""
    match = re.fullmatch(r"([0-9]+)\.0+", text)
    return match[1] if match else text


def row_letters(row: int) -> str:
    """Return the letters of a row, counted from 0: A to Z, then AA."""
    return chr(65 + row) if row < 26 else chr(64 + row // 26) + chr(65 + row % 26)


def _check_well(well: str, plate_size: int | None) -> str:
    if plate_size is None:
        return well
    rows, columns = PLATE_SHAPES[plate_size]
    row, column = split_well(well)
    last = row_letters(rows - 1)
    if (len(row), row) > (len(last), last) or int(column) > columns:
        raise ValueError(
            f"{well!r} is not a well of a plate of {plate_size}, whose last is {last}{columns:02d}"
        )
    return well


def split_well(name: str) -> tuple[str, str]:
    """Return the row and the column of a normalised well name: `B07` -> `("B", "07")`."""
    row = name.rstrip("0123456789")
    return row, name[len(row) :]


def well_place(name: str) -> tuple[int, int]:
    """Return row and column of a normalised well name, counted from 0: `B07` -> `(1, 6)`."""
    letters, column = split_well(name)
    row = 0
    for letter in letters:
        row = 26 * row + ord(letter) - 64
    return row - 1, int(column) - 1


def plate_shape(rows: int, columns: int) -> tuple[int, int]:
    """Return rows and columns of the smallest usual plate with so many; these, if there is none."""
    fitting = [shape for shape in PLATE_SHAPES.values() if rows <= shape[0] and columns <= shape[1]]
    return min(fitting, default=(rows, columns))


def feature_names(count: int) -> list[str]:
    """Return `feature_0000`, `feature_0001`, ...: the names of feature columns."""
    return [f"feature_{index:04d}" for index in range(count)]


def check_name(value: str, noun: str) -> str:
    """Return `value` if it can be a file name, as a plate's name must; else raise ValueError."""
    if not value or value != value.strip() or re.search(r'[/\\\x00-\x1f<>:"|?*]', value):
        raise ValueError(f"{value!r} cannot be the name of a {noun}: it cannot be a file name")
    if value.startswith("."):
        raise ValueError(f"{value!r} cannot be the name of a {noun}: it begins with a dot")
    return value


def cast_columns(
    table: pl.DataFrame, kinds: Mapping[str, pl.DataType], source: str
) -> pl.DataFrame:
    """Return the columns `kinds` of a table, in that order, cast to their types.

    Raises ValueError, naming `source` and the column, if values cannot be cast.
    """
    if list(table.schema.items()) == list(kinds.items()):
        return table  # because casting hundreds of features one by one takes half of a plate's time
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


def find_twice(table: pl.DataFrame) -> tuple[str, str] | None:
    """Return plate and well of the first well that has two rows; None if there is none."""
    twice = table.filter(table.select("plate", "well").is_duplicated())
    return (twice["plate"][0], twice["well"][0]) if len(twice) else None


def drop_nan(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with null for NaN in float64 columns, where both mean missing.

    Features are float32 and keep their NaN, which is an error of what computed them.
    """
    return table.with_columns(pl.col(pl.Float64).fill_nan(None))


def choose_channels(text: str, names: list[str], source: str) -> dict[str, str]:
    """Return the channels that `text` (`DNA,ER` or `1=DNA,2=ER`) selects, in order: name -> label.

    Names with a comma are written in double quotes. Empty text keeps all `names`. Raises
    ValueError, naming `source`, for unknown or repeated channels.
    """
    if not text.strip():
        return {name: name for name in names}
    (items,) = csv.reader([" ".join(text.split())], skipinitialspace=True)
    pairs = [item.partition("=") for item in items]
    labels = {name.strip(): (label if equals else name).strip() for name, equals, label in pairs}
    kept = set(labels.values())
    if min(len(labels), len(kept)) < len(pairs) or "" in {*labels, *kept}:
        raise ValueError(
            f"channels repeats a name or has an empty one: {text!r}; expected DNA,ER or 1=DNA"
        )
    if missing := [name for name in labels if name not in names]:
        raise ValueError(
            f"{source} has no channel {missing[0]!r} (setting channels); it has {', '.join(names)}"
        )
    return labels
