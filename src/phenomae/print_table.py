"""Prints tables on standard output, aligned and with few digits; the CSVs keep all of them."""

from pathlib import Path

import polars as pl

_AS_WRITTEN = ("low", "high", "chance")  # fractions that the user gave, like 0.05


def show(table: pl.DataFrame) -> None:
    """Print a table: text left-aligned, numbers right-aligned, null as a dash."""
    columns = {name: [_word(value, name) for value in table[name]] for name in table.columns}
    widths = [max(map(len, [name, *words])) for name, words in columns.items()]
    are_words = [kind == pl.String for kind in table.dtypes]
    for row in (table.columns, *zip(*columns.values(), strict=True)):
        cells = [
            cell.ljust(width) if is_word else cell.rjust(width)
            for cell, width, is_word in zip(row, widths, are_words, strict=True)
        ]
        print("  ".join(cells).rstrip())


def read_written(path: Path) -> pl.DataFrame:
    """Read back a table that a command wrote; raises ValueError if it is missing or damaged."""
    try:
        table = pl.read_csv(path, glob=False)
    except (pl.exceptions.PolarsError, FileNotFoundError):
        table = pl.DataFrame()
    if table.is_empty():
        raise ValueError(f"{path} is missing or damaged: make it again with overwrite")
    return table


def _word(value: object, name: str) -> str:
    if not isinstance(value, float):
        return "-" if value is None else f"{value}"
    if name in _AS_WRITTEN:
        return f"{value:.4g}"
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.3e}"
