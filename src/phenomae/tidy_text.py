"""Text of tables that people made: blanks around it, forms of accents, words for empty cells."""

from collections.abc import Sequence

import polars as pl

from phenomae.progress import count_of, info

EMPTY_WORDS = "NA,N/A,#N/A,<NA>,NaN,nan,None,NULL,null,-"
"""Words that other programs write into empty cells, separated by commas."""
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


def empty_cells(
    table: pl.DataFrame, words: Sequence[str], source: str, remedy: str = " (setting empty_words)"
) -> pl.DataFrame:
    """Return a table of text with null for the words that stand for empty cells.

    How many there were is printed, with the name `source` and what to do about it.
    """
    is_word = pl.all().is_in([word for word in words if word])
    counts = {
        word: sum(int((column == word).sum()) for column in table.iter_columns()) for word in words
    }
    if taken := [f"{word} ({count_of(count, 'cell')})" for word, count in counts.items() if count]:
        info(f"{source}: taken as empty: {', '.join(taken)}{remedy}")
    return table.with_columns(pl.when(~is_word).then(pl.all()))
