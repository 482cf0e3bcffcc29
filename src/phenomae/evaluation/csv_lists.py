"""Reads tables of prior knowledge: potencies, mechanisms, gene aliases.

Every column is read as text, because gene and compound names can look like numbers or dates.
"""

from pathlib import Path

import polars as pl

from phenomae.text_tables import read_table


def read_csv_list(path: Path, columns: tuple[str, ...], content: str) -> pl.DataFrame:
    """Read columns of a table as text, without surrounding whitespace; empty cells are null.

    `content` is what the file lists (aliases, for example), for error messages. Raises ValueError
    if the file is missing, cannot be parsed or lacks a column.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of {content}")
    table = read_table(path)
    if missing := [name for name in columns if name not in table.columns]:
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}: a table of {content} has "
            f"{', '.join(columns)}"
        )
    return table.select(columns)
