"""Parses the steps of a chain as given on the command line: `sphering(epsilon=1e-6):plate`.

The parentheses with their settings and the batch column are optional. The settings are the
arguments of the class's `__init__`, so a new correction needs no parsing code.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter
from types import UnionType
from typing import Any

from phenomae import checks
from phenomae.correction.correction import Correction
from phenomae.correction.methods import load_method

_FORM = "NAME(setting=value, ...):COLUMN"
_STEP = re.compile(r"\s*([^():\s]*)\s*(?:\((.*?)\))?\s*(?::(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One correction of a chain."""

    correction: Correction
    """The correction with its parameters, not fitted."""
    batch: str | None
    """Batch column; None if all wells are one batch."""
    requested: str
    """The user's request for this step, for error messages."""

    @property
    def name(self) -> str:
        """Name of the step's method."""
        return self.correction.name


def parse_step(text: str, batch: str | None, requested: str) -> Step:
    """Return the step that `text` requests; `batch` is the default batch column.

    If `text` ends with a colon, the step has no batch column and all wells are one batch. Raises
    ValueError if the method or a parameter does not exist, or if a value is out of range; the
    message begins with `requested`.
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
    """Return a step; raises ValueError if the method does not accept these settings."""
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
            f"{name} moves batches onto each other, so it needs a batch column: "
            f"batch COLUMN, or {name}:COLUMN"
        )
    if batch is not None and not correction.uses_batches:
        raise ValueError(
            f"{name} {_together(correction)} and takes no batch column: "
            f"leave out batch, or write {name}: with a colon and no column beside other steps"
        )
    return Step(correction, batch, requested)


def _together(correction: Correction) -> str:
    if correction.fits_on == "all wells":
        return "uses the wells of all plates together"
    return "is fitted on the controls of all plates together"


def names_after(steps: Sequence[Step], names: Sequence[str] | None) -> list[str] | None:
    """Return the names of the features after fitted steps; None if they are only numbered.

    `names` are those before. A step that rotates features to principal axes leaves no names.
    """
    for step in steps:
        names = None if names is None else step.correction.output_names(names)
    return None if names is None else list(names)


def _parse_arguments(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the names and values in `setting=value, ...`; a bare word is a string."""
    try:
        # Python's parser reads numbers, quoted strings and None; only literals are evaluated, so a
        # setting cannot run code.
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        names = [item.arg for item in call.keywords]  # the name is None for **settings
        if call.args or not isinstance(call.func, ast.Name) or None in names:
            raise SyntaxError
        for item in call.keywords:
            value = item.value
            word = isinstance(value, ast.Name)
            yield str(item.arg), value.id if word else ast.literal_eval(value)
    except (SyntaxError, ValueError, AssertionError):
        raise ValueError(f"expected {_FORM}, but found ({text})") from None


def _convert(name: str, value: Any, parameter: Parameter) -> Any:
    """Return the value in the parameter's annotated type; raises ValueError for another type."""
    kind = parameter.annotation
    if kind is float and type(value) is int:
        return float(value)  # 1 and 1.0 must give the same hash of the settings
    if isinstance(kind, type | UnionType):
        # bool is a subclass of int in Python, but components=True is a mistake.
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        checks.require(fits, name, f"of type {getattr(kind, '__name__', kind)}", repr(value))
    return value
