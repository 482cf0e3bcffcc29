"""What a question of `ask` consists of: inputs, settings, tables and perhaps a figure.

One module per question holds its settings, its computation and, at its end, one `QUESTION`;
`ask.py` makes the command and the Python function from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.evaluation.questions.table import QUESTIONS
from phenomae.maps.read import read_map
from phenomae.wells import read_wells

Tables = dict[str, pl.DataFrame]
"""File name -> table."""


@dataclass(frozen=True)
class Input:
    """One positional argument of a question."""

    name: str
    """Of the argument; its identity is recorded under this name too."""
    help: str
    read: Callable[[Path], Any]
    """Reads the input. The result has an `identity`: a string, or a dict if it has several."""


@dataclass(frozen=True)
class Figure:
    """The figure of a question."""

    name: str
    """File name in the folder figures, without suffix."""
    draw: Callable[..., Any] | str
    """draw(tables, *values of the inputs, settings) returns a Drawing, or None for no figure.

    Or "module:function": this room may not import `explore`, where figures are drawn.
    """


@dataclass(frozen=True)
class Question:
    """One question of `ask`."""

    name: str
    """The command is `ask NAME`, the Python function `ask_NAME`."""
    help: str
    """The docstring of the function: a summary line, then what is written."""
    takes: tuple[Input, ...]
    """The positional arguments, in order; the folder to write follows them."""
    settings: type
    """Settings dataclass."""
    tables: Callable[..., Tables]
    """tables(*values of the inputs, *their paths, settings) returns the tables to write."""
    printed: str
    """The table that the command prints."""
    figure: Figure | None = None
    files: tuple[str, ...] = ()
    """Settings that name a file: its content is recorded, not its path."""
    conclude: Callable[[pl.DataFrame], str | None] = lambda printed: None
    """conclude(printed table) returns a sentence to log, or None."""


def takes_wells(help: str = "Folder of wells, usually corrected.") -> Input:
    """Return the input of a question about wells."""
    return Input("wells", help, read_wells)


def takes_map(name: str, help: str) -> Input:
    """Return the input of a question about a map."""
    return Input(name, help, read_map)


def load_object(path: str) -> Any:
    """Return what "module:name" stands for."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def load_question(name: str) -> Question:
    """Return the question that is registered under a name; raises KeyError if none is."""
    # By string, so that `ask signal` does not import the modules of all other questions.
    return load_object(QUESTIONS[name][0])
