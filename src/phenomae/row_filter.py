"""Chooses rows of a table by an SQL expression: `--where "focus > 0.1 AND plate != 'P3'"`."""

import numpy as np
import polars as pl
from jaxtyping import Bool

_ANSWER = "where"


def match_rows(table: pl.DataFrame, expression: str, source: str) -> Bool[np.ndarray, " n"]:
    """Say of every row whether the expression holds; where it gives null, it does not.

    Columns go by their names and text stands in single quotes, as polars reads SQL. Raises
    ValueError, naming `source`, where the expression cannot be read, has a column that is not
    there, is neither true nor false, or holds of no row.
    """
    asked = f"where {expression!r}"
    try:
        wanted = pl.sql_expr(expression)
        if missing := [name for name in wanted.meta.root_names() if name not in table.columns]:
            raise ValueError(
                f"{asked}: {source} has no column {missing[0]!r}; it has "
                f"{', '.join(table.columns)} (text stands in single quotes)"
            )
        answer = table.with_columns(wanted.alias(_ANSWER))[_ANSWER]
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"{asked} does not do for {source}: {str(error).splitlines()[0]}; write it like "
            "focus > 0.1 AND plate != 'P3'"
        ) from None
    if answer.dtype != pl.Boolean:
        raise ValueError(
            f"{asked} gives {answer.dtype} and not true or false: compare it with something, like "
            "focus > 0.1"
        )
    kept = answer.fill_null(False).to_numpy()
    if not kept.any():
        raise ValueError(f"{asked} leaves nothing of {source}: it holds of no row")
    return kept
