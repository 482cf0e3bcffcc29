"""Reads CSV and TSV as text, so that plate 0042 keeps its zeros."""

from collections import Counter
from pathlib import Path

import polars as pl


def read_table(path: Path) -> pl.DataFrame:
    """Return a CSV (or `.tsv`, `.txt`: tab-separated) as stripped text; empty cells are null.

    Raises ValueError where the file is missing, empty or no table, or has a column twice.
    """
    separator = "\t" if path.suffix.lower() in (".tsv", ".txt") else ","
    try:
        table = pl.read_csv(path, separator=separator, infer_schema=False)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except pl.exceptions.NoDataError:
        raise ValueError(f"{path} is empty") from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is not a table that can be read: {reason}") from None
    counts = Counter(name.strip() for name in table.columns)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"{path} has the column {twice[0]!r} twice, apart from spaces: rename one")
    table = table.rename({name: name.strip() for name in table.columns})
    if table.is_empty():
        raise ValueError(f"{path} has a header but no row")
    text = pl.all().str.strip_chars()
    return table.select(pl.when(text.str.len_chars() > 0).then(text))
