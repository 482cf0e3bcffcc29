"""Reads CSV files of prior knowledge as text: potencies, mechanisms, aliases of genes.

Everything is read as text, because gene and compound names can look like numbers or dates.
"""

from pathlib import Path

import polars as pl


def read_csv_list(path: Path, columns: tuple[str, ...], content: str) -> pl.DataFrame:
    """Read the given columns as text, without surrounding blanks; empty cells are null.

    `content` names what the file lists, in errors. Raises ValueError if the file is missing, cannot
    be parsed or lacks a column.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of {content}")
    try:
        table = pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise ValueError(explain_csv_error(path, error)) from None
    if missing := [name for name in columns if name not in table.columns]:
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}: a table of {content} has "
            f"{', '.join(columns)}"
        )
    return table.select(pl.col(columns).str.strip_chars().replace("", None))


def explain_csv_error(path: Path, error: Exception) -> str:
    """Return the sentence for a CSV file that polars cannot parse."""
    reason = str(error).splitlines()[0]  # the rest is advice about arguments of pl.read_csv
    return (
        f"{path} cannot be read as a CSV file: {reason} (expected as many fields in every line "
        "as in the first)"
    )
