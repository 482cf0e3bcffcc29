"""Selects rows of a table with a condition: `where = "focus > 0.1 AND plate != 'P3'"`.

Conditions are written like those of SQL, in a small language of their own: columns, numbers, text
in single quotes, TRUE, FALSE, comparisons, AND, OR, NOT, IN (...), BETWEEN, LIKE, ILIKE, IS NULL,
+ - * / % and the functions in `FUNCTIONS`. sqlglot parses them, and only what is known here is
translated to polars: no query, file, network access, cast or aggregate.
"""

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from jaxtyping import Bool

if TYPE_CHECKING:
    from sqlglot.expressions.core import Expr

FUNCTIONS: dict[str, Callable[..., pl.Expr]] = {
    "abs": lambda value: value.abs(),
    "ceil": lambda value: value.ceil(),
    "coalesce": lambda *values: pl.coalesce(*values),
    "floor": lambda value: value.floor(),
    "length": lambda text: text.str.len_chars(),
    "lower": lambda text: text.str.to_lowercase(),
    "round": lambda value: value.round(),
    "sqrt": lambda value: value.sqrt(),
    "trim": lambda text: text.str.strip_chars(),
    "upper": lambda text: text.str.to_uppercase(),
}
"""The functions that a condition may use, by name."""
_OPERATORS: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "add": lambda one, other: one + other,
    "sub": lambda one, other: one - other,
    "mul": lambda one, other: one * other,
    "div": lambda one, other: one / other,
    "mod": lambda one, other: one % other,
    "eq": lambda one, other: one == other,
    "neq": lambda one, other: one != other,
    "gt": lambda one, other: one > other,
    "gte": lambda one, other: one >= other,
    "lt": lambda one, other: one < other,
    "lte": lambda one, other: one <= other,
}
MAX_LENGTH = 100_000
"""Characters of the longest condition: room for the names of all wells of many plates."""
_ANSWER = "where"
_LIKE_THIS = "write it like focus > 0.1 AND plate != 'P3'"


class _UnusableError(Exception):
    """Raised for a part of a condition that is not of the language; the text names it."""


def match_rows(table: pl.DataFrame, expression: str, source: str) -> Bool[np.ndarray, " n"]:
    """Return for every row whether a condition is true; null and NaN are missing: never true.

    Raises ValueError, naming `source`, if the condition cannot be parsed, has an unknown column or
    a part that is not of the language, is not true or false, or matches no row.
    """
    shown = f"where {shorten_condition(expression)!r}"
    try:
        condition = _read(expression, table.columns)
        # polars takes NaN for greater than any number.
        known = table.with_columns(pl.selectors.float().fill_nan(None))
        answer = known.with_columns(condition.alias(_ANSWER))[_ANSWER]
    except KeyError as error:
        raise ValueError(
            f"{shown}: {source} has no column {error.args[0]!r}; it has "
            f"{', '.join(table.columns)} (write text in single quotes)"
        ) from None
    except (_UnusableError, pl.exceptions.PolarsError) as error:
        raise ValueError(
            f"{shown} cannot be used for {source}: {str(error).splitlines()[0]}; {_LIKE_THIS}"
        ) from None
    if answer.dtype != pl.Boolean:
        raise ValueError(
            f"{shown} gives {answer.dtype}, not true or false: write a comparison, like focus > 0.1"
        )
    kept = answer.fill_null(False).to_numpy()
    if not kept.any():
        raise ValueError(f"{shown} matches no row of {source}")
    return kept


def shorten_condition(text: str) -> str:
    """Return a condition as it is shown: without blanks around it, and at most 200 characters."""
    text = text.strip()
    return text if len(text) <= 200 else text[:200] + "..."


def _read(text: str, columns: list[str]) -> pl.Expr:
    try:
        return _translate(_parse(text), columns)
    except RecursionError:
        raise _UnusableError("it is nested too deeply") from None


def _parse(text: str) -> "Expr":
    """Return the syntax tree of a condition."""
    import sqlglot  # 0.2 s, and most commands have no condition
    from sqlglot.errors import SqlglotError

    if len(text) > MAX_LENGTH:
        raise _UnusableError(f"it has {len(text)} characters, more than {MAX_LENGTH}")
    # It logs a warning for statements that it does not know, which are refused below.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        found = sqlglot.parse(text)
    except SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        first = details[0]
        if "highlight" not in first:
            raise _UnusableError("it cannot be read, like text without its second quote") from None
        raise _UnusableError(f"unexpected {first['highlight']!r}, {_place(first)}") from None
    if not found or found[0] is None:
        raise _UnusableError("it is empty")
    if len(found) > 1:
        raise _UnusableError("it has a semicolon, but it is one condition")
    return found[0]


def _place(error: dict[str, Any]) -> str:
    before = str(error.get("start_context") or "")
    return f"after {before.strip()!r}" if before.strip() else "at its beginning"


def _translate(node: "Expr", columns: list[str]) -> pl.Expr:
    """Return the polars expression of a part of a condition.

    Raises KeyError for an unknown column, and _UnusableError for what is not of the language.
    """
    parts = {name: value for name, value in node.args.items() if value not in (None, False, [])}
    names = set(parts)
    if node.key in ("and", "or"):
        # Long chains are as deep as they are long.
        members = [_translate(each, columns) for each in node.flatten(unnest=False)]
        return _join(_JOINED[node.key], members)
    if node.key in _OPERATORS and names <= {"this", "expression", "typed", "safe"}:
        return _OPERATORS[node.key](*_both(parts, columns))
    if node.key in _SPECIAL and names <= _SPECIAL[node.key][0]:
        return _SPECIAL[node.key][1](parts, columns)
    if node.key in FUNCTIONS and names <= {"this", "expressions"}:
        arguments = [parts["this"], *parts.get("expressions", [])]
        if node.key == "coalesce" or len(arguments) == 1:
            return FUNCTIONS[node.key](*(_translate(each, columns) for each in arguments))
    raise _UnusableError(
        f"{_shorten(node.sql())!r} is not allowed, only comparisons, AND, OR, NOT, IN, BETWEEN, "
        f"LIKE, IS NULL, + - * / % and {', '.join(FUNCTIONS)}"
    )


def _join(operator: Callable[[pl.Expr, pl.Expr], pl.Expr], members: list[pl.Expr]) -> pl.Expr:
    """Join conditions in halves, because polars' stack ends at a few thousand in a row."""
    if len(members) == 1:
        return members[0]
    half = len(members) // 2
    return operator(_join(operator, members[:half]), _join(operator, members[half:]))


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _both(parts: dict[str, Any], columns: list[str]) -> list[pl.Expr]:
    return [_translate(parts[name], columns) for name in ("this", "expression")]


def _column(parts: dict[str, Any], columns: list[str]) -> pl.Expr:
    name = parts["this"].name
    if name not in columns:
        raise KeyError(name)
    return pl.col(name)


def _literal(parts: dict[str, Any], columns: list[str]) -> pl.Expr:
    text = parts["this"]
    if parts.get("is_string"):
        return pl.lit(text)
    return pl.lit(int(text) if text.isdecimal() and len(text) < 19 else float(text))


def _in(parts: dict[str, Any], columns: list[str]) -> pl.Expr:
    value = _translate(parts["this"], columns)
    choices = [_translate(each, columns) for each in parts.get("expressions", [])]
    if not choices:
        raise _UnusableError("IN is followed by values in brackets, like ('P1', 'P2')")
    return _join(_JOINED["or"], [value == choice for choice in choices])


def _between(parts: dict[str, Any], columns: list[str]) -> pl.Expr:
    value, low, high = (_translate(parts[name], columns) for name in ("this", "low", "high"))
    return (value >= low) & (value <= high)


def _is(parts: dict[str, Any], columns: list[str]) -> pl.Expr:
    value, kind = _translate(parts["this"], columns), parts["expression"].key
    if kind == "null":
        return value.is_null()
    if kind == "boolean":
        return value.eq_missing(pl.lit(bool(parts["expression"].this)))
    raise _UnusableError("IS is followed by NULL, TRUE or FALSE")


def _like(parts: dict[str, Any], columns: list[str], flags: str = "s") -> pl.Expr:
    pattern = parts["expression"]
    if pattern.key != "literal" or not pattern.args.get("is_string"):
        raise _UnusableError("LIKE is followed by text, with % for any text and _ for a character")
    signs = {"%": ".*", "_": "."}
    regular = "".join(signs.get(sign, re.escape(sign)) for sign in str(pattern.this))
    found = _translate(parts["this"], columns).str.contains(f"(?{flags})^{regular}$")
    return ~found if parts.get("negate") else found


_JOINED: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "and": lambda one, other: one & other,
    "or": lambda one, other: one | other,
}
# Kind of node: the parts that it may have, and the function that translates it.
_SPECIAL: dict[str, tuple[set[str], Callable[[dict[str, Any], list[str]], pl.Expr]]] = {
    "column": ({"this"}, _column),
    "literal": ({"this", "is_string"}, _literal),
    "boolean": ({"this"}, lambda parts, columns: pl.lit(bool(parts.get("this")))),
    "null": (set(), lambda parts, columns: pl.lit(None)),
    "paren": ({"this"}, lambda parts, columns: _translate(parts["this"], columns)),
    "not": ({"this"}, lambda parts, columns: ~_translate(parts["this"], columns)),
    "neg": ({"this"}, lambda parts, columns: -_translate(parts["this"], columns)),
    "in": ({"this", "expressions"}, _in),
    "between": ({"this", "low", "high"}, _between),
    "is": ({"this", "expression"}, _is),
    "like": ({"this", "expression", "negate"}, _like),
    "ilike": (
        {"this", "expression", "negate"},
        lambda parts, columns: _like(parts, columns, "si"),
    ),
}
