"""The condition that leaves bad fields out, in the language of `--where`."""

from collections.abc import Iterable, Sequence

import polars as pl


def leave_out(bad: pl.DataFrame, fields: pl.DataFrame, where: str | None = None) -> str:
    """Return a condition that is true for the rows of `fields` that are not in `bad`.

    Both tables have the columns plate, well and site. Wells all of whose fields are bad are named
    as wells. With `where`, the condition is also false where `where` is. `TRUE` leaves nothing out.
    """
    parts = [f"({where})"] if where else []
    for (plate,), rows in bad.partition_by("plate", as_dict=True, maintain_order=True).items():
        inside = fields.filter(pl.col("plate") == plate)
        names = list(_name(rows, inside))
        listed = names[0] if len(names) == 1 else f"({' OR '.join(names)})"
        parts.append(f"NOT (plate = {_quote(plate)} AND {listed})")
    return " AND ".join(parts) or "TRUE"


def _name(bad: pl.DataFrame, fields: pl.DataFrame) -> Iterable[str]:
    """Yield conditions that together name the bad fields of a plate, in few words."""
    counts = fields.group_by("well").len()
    full = bad.group_by("well").len().join(counts, on=["well", "len"])["well"].sort().to_list()
    if full:
        yield _is_in("well", map(_quote, full))
    single = bad.filter(~pl.col("well").is_in(full)).sort("site", "well")
    for (site,), rows in single.partition_by("site", as_dict=True, maintain_order=True).items():
        yield f"site = {site} AND {_is_in('well', map(_quote, rows['well']))}"


def _is_in(column: str, values: Iterable[str]) -> str:
    listed: Sequence[str] = list(values)
    return f"{column} = {listed[0]}" if len(listed) == 1 else f"{column} IN ({', '.join(listed)})"


def _quote(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"
