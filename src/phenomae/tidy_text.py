"""Text of tables that people made: no blanks around it, and one form of each accent."""

import polars as pl

from phenomae.progress import info

_CONTROL_CHARACTER = r"[\x00-\x1f\x7f-\x9f]"


def tidy_text(table: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return the table with its text in Unicode's form NFC and without blanks around it.

    Text that is then empty is null. Columns whose text changed are printed. Raises ValueError,
    naming `source`, for a control character, which would end text, or change a terminal or picture.
    """
    tidy = pl.col(pl.String).str.normalize("NFC").str.strip_chars()
    tidied = table.with_columns(pl.when(tidy.str.len_chars() > 0).then(tidy))
    for column in tidied.select(pl.col(pl.String)).iter_columns():
        wrong = column.filter(column.str.contains(_CONTROL_CHARACTER).fill_null(False))
        if len(wrong):
            raise ValueError(
                f"{source}: the column {column.name!r} has {wrong[0]!r}, with a control character: "
                "take it out"
            )
        before = table[column.name]
        changed = before.filter((before != column).fill_null(False)).unique(maintain_order=True)
        if len(changed):
            info(
                f"{source}: {len(changed)} names of {column.name} were written without blanks "
                f"around them, accents composed; the first: {changed[0]!r}"
            )
    return tidied
