"""Steps of a chain as the command takes them: `sphering(epsilon=1e-6):plate`.

Everything in parentheses and the column are optional. The parameters are those of the class's
`__init__`, so a new correction needs no parsing of its own.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import Parameter
from types import UnionType
from typing import Any

from phenomae import checks
from phenomae.correction.correction import ControlCorrection, JointCorrection
from phenomae.correction.methods import load_method

_FORM = "NAME(setting=value, ...):COLUMN"
_STEP = re.compile(r"\s*([^():\s]*)\s*(?:\((.*?)\))?\s*(?::(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One correction of a chain."""

    correction: ControlCorrection | JointCorrection
    """With its parameters, not fitted."""
    batch: str | None
    """The column of its batches."""
    requested: str
    """How it was requested, for error messages."""

    @property
    def name(self) -> str:
        """The name of its method."""
        return self.correction.name


def parse_step(text: str, batch: str | None, requested: str) -> Step:
    """Return the step that `text` requests; `batch` is its column if it names none.

    A colon with nothing after it means no column: all wells are one batch. Raises ValueError,
    beginning with `requested`, if there is no such method, it has no such parameter, or a value is
    out of range.
    """
    try:
        match = _STEP.fullmatch(text)
        if match is None or not match[1]:
            raise ValueError(f"expected {_FORM}")
        name, arguments, column = match.groups()
        values = dict(_parse_arguments(arguments or ""))
        column = batch if column is None else column.strip() or None
        return make_step(name, values, column, requested)
    except ValueError as error:
        raise ValueError(f"{requested}: {error}") from None


def make_step(name: str, values: dict[str, Any], batch: str | None, requested: str) -> Step:
    """Return a step; raises ValueError if method and values do not go together."""
    method = load_method(name)
    known = method.parameters()
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"{name} has no setting {key!r}; it has {', '.join(known) or 'none'}")
        values[key] = _convert(key, value, known[key])
    correction = method(**values)
    correction.check_parameters()
    if batch is None and correction.needs_batches:
        raise ValueError(
            f"{name} moves batches onto each other, so it needs their column: "
            f"batch COLUMN, or {name}:COLUMN"
        )
    return Step(correction, batch, requested)


def _parse_arguments(text: str) -> Iterator[tuple[str, Any]]:
    """Yield names and values of `setting=value, ...`; a bare word is text."""
    try:
        # Python's own parser reads numbers, quotes and None; nothing but literals is evaluated.
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        names = [item.arg for item in call.keywords]  # None for **settings
        if call.args or not isinstance(call.func, ast.Name) or None in names:
            raise SyntaxError
        for item in call.keywords:
            value = item.value
            word = isinstance(value, ast.Name)
            yield str(item.arg), value.id if word else ast.literal_eval(value)
    except (SyntaxError, ValueError, AssertionError):
        raise ValueError(f"expected {_FORM}, and it has ({text})") from None


def _convert(name: str, value: Any, parameter: Parameter) -> Any:
    """Return a value of the annotated type; raises ValueError if it is of another type."""
    kind = parameter.annotation
    if kind is float and type(value) is int:
        return float(value)  # 1 and 1.0 are the same work, but their hashes would differ
    if isinstance(kind, type | UnionType):
        # True is an int to Python, but not to whoever writes components=True.
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        checks.require(fits, name, f"of type {getattr(kind, '__name__', kind)}", repr(value))
    return value
