"""Words that mark negative controls: true and false, or the labels of JUMP."""

import polars as pl

from phenomae.records import drop_zero_fraction

NEGATIVE = "negcon"
"""JUMP's label of negative controls; poscon_cp, poscon_orf, ... are positive controls."""
_POSITIVE = "poscon"
_TREATED = "trt"
_WORDS = {
    **dict.fromkeys(("true", "1", "yes", NEGATIVE), True),
    **dict.fromkeys(("false", "0", "no", _TREATED), False),
}


def is_control(word: str) -> bool | None:
    """Return whether a word marks a negative control; None for a word of another meaning."""
    plain = drop_zero_fraction(word.strip().lower())
    return False if plain.startswith(_POSITIVE) else _WORDS.get(plain)


def parse_controls(words: pl.Series) -> pl.Series:
    """Return which wells are negative controls; wells without a word are none.

    Raises ValueError, naming the word, for one of another meaning.
    """
    values = [is_control(word or "false") for word in words]
    if None in values:
        wrong = words[values.index(None)]
        raise ValueError(f"{wrong!r}, which is neither true nor false, nor negcon, poscon or trt")
    return pl.Series(words.name, values, dtype=pl.Boolean)


def has_labels(words: pl.Series) -> bool:
    """Return whether a column has labels of JUMP, whose empty cells are treated wells."""
    labels = words.drop_nulls().str.to_lowercase()
    return bool(labels.str.contains(f"^({NEGATIVE}|{_TREATED}|{_POSITIVE}.*)$").any())
