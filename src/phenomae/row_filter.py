"""Selects rows of a table with an SQL expression: `where = "focus > 0.1 AND plate != 'P3'"`.

polars parses the SQL, so that no query language of our own has to be documented.
"""

import numpy as np
import polars as pl
from jaxtyping import Bool

_ANSWER = "where"


def match_rows(table: pl.DataFrame, expression: str, source: str) -> Bool[np.ndarray, " n"]:
    """Return for every row whether the expression is true; null and NaN are missing: never true.

    Columns are written by name and text in single quotes, as polars reads SQL. Raises ValueError,
    naming `source`, if the expression cannot be parsed, has an unknown column, is not Boolean, or
    matches no row.
    """
    shown = f"where {expression!r}"
    try:
        condition = pl.sql_expr(expression)
        if missing := [name for name in condition.meta.root_names() if name not in table.columns]:
            raise ValueError(
                f"{shown}: {source} has no column {missing[0]!r}; it has "
                f"{', '.join(table.columns)} (write text in single quotes)"
            )
        # polars takes NaN for greater than any number.
        known = table.with_columns(pl.selectors.float().fill_nan(None))
        answer = known.with_columns(condition.alias(_ANSWER))[_ANSWER]
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"{shown} cannot be used for {source}: {str(error).splitlines()[0]}; write it like "
            "focus > 0.1 AND plate != 'P3'"
        ) from None
    if answer.dtype != pl.Boolean:
        raise ValueError(
            f"{shown} gives {answer.dtype}, not true or false: write a comparison, like focus > 0.1"
        )
    kept = answer.fill_null(False).to_numpy()
    if not kept.any():
        raise ValueError(f"{shown} matches no row of {source}")
    return kept
