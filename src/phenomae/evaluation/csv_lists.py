"""Reads CSV files of prior knowledge: potencies, mechanisms, gene aliases.

Every column is read as text, because gene and compound names can look like numbers or dates.
"""

from pathlib import Path

import polars as pl


def read_csv_list(path: Path, columns: tuple[str, ...], content: str) -> pl.DataFrame:
    """Read columns of a CSV file as text, without surrounding whitespace; empty cells are null.

    `content` is what the file lists (aliases, for example), for error messages. Raises ValueError
    if the file is missing, cannot be parsed or lacks a column.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of {content}")
    try:
        table = pl.read_csv(path, infer_schema=False, glob=False)
    except pl.exceptions.PolarsError as error:
        raise ValueError(explain_csv_error(path, error)) from None
    if missing := [name for name in columns if name not in table.columns]:
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}: a table of {content} has "
            f"{', '.join(columns)}"
        )
    return table.select(pl.col(columns).str.strip_chars().replace("", None))


def explain_csv_error(path: Path, error: Exception) -> str:
    """Return the error message for a CSV file that polars cannot parse."""
    reason = str(error).splitlines()[0]  # later lines are advice on arguments of pl.read_csv
    return (
        f"{path} cannot be read as a CSV file: {reason} (expected as many fields in every line "
        "as in the first)"
    )
