"""Reads the CSV files that list what is known: potencies, mechanisms, other names of genes."""

from pathlib import Path

import polars as pl


def read_listed(path: Path, columns: tuple[str, ...], what: str) -> pl.DataFrame:
    """Return the columns of a CSV file as text, without blanks around it, null where it is empty.

    `what` the file lists is named in errors. Raises ValueError where the file is missing, cannot be
    read or lacks a column.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of {what}")
    try:
        table = pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} cannot be read as a CSV file: {reason} (expected as many fields in every line "
            "as in the first)"
        ) from None
    if missing := [name for name in columns if name not in table.columns]:
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}: a table of {what} has "
            f"{', '.join(columns)}"
        )
    return table.select(pl.col(columns).str.strip_chars().replace("", None))
