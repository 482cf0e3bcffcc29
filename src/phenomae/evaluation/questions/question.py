"""Defines what a question of `ask` consists of: inputs, settings, tables and optionally a figure.

Each question is one module with its settings, its computation and, at its end, one `QUESTION`, from
which `ask.py` builds the command and the Python function.
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
"""Tables by file name."""


@dataclass(frozen=True)
class Input:
    """One input of a question: a positional argument with a path."""

    name: str
    """Name of the argument, and of the source under which its identity is recorded."""
    help: str
    """Help text of the argument."""
    read: Callable[[Path], Any]
    """Reads the input from a path. The result has an attribute `identity`: a string, or a dict of
    identities by source name."""


@dataclass(frozen=True)
class Figure:
    """The figure that a question adds to its tables."""

    name: str
    """File name in the folder figures, without suffix."""
    draw: Callable[..., Any] | str
    """draw(tables, *values of the inputs, settings) returns a Drawing, or None for no figure.

    Or the string "module:function", because the package `evaluation` may not import `explore`,
    which draws figures.
    """


@dataclass(frozen=True)
class Question:
    """One question of `ask`."""

    name: str
    """Name of the question: the command is `ask NAME`, the Python function `ask_NAME`."""
    help: str
    """Docstring of the function: a summary line, then the files that the question writes."""
    takes: tuple[Input, ...]
    """Inputs in the order of the positional arguments; the folder to write is the last argument."""
    settings: type
    """Dataclass of the settings."""
    tables: Callable[..., Tables]
    """tables(*values of the inputs, *their paths, settings) returns the tables to write."""
    printed: str
    """File name of the table that the command prints."""
    figure: Figure | None = None
    files: tuple[str, ...] = ()
    """Names of the settings that are paths of files, or folders of .txt and .csv files: they are
    recorded by content."""
    conclude: Callable[[pl.DataFrame], str | None] = lambda printed: None
    """conclude(printed table) returns a sentence to log, or None."""


def takes_wells(help: str = "Folder of wells, usually corrected.") -> Input:
    """Return an `Input` that reads a folder of wells."""
    return Input("wells", help, read_wells)


def takes_map(name: str, help: str) -> Input:
    """Return an `Input` that reads a map."""
    return Input(name, help, read_map)


def load_object(path: str) -> Any:
    """Import the module of "module:name" and return its attribute."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def load_question(name: str) -> Question:
    """Return the question that is registered under a name; raises KeyError for other names."""
    # Questions are registered as strings, so that `ask signal` does not import all questions.
    return load_object(QUESTIONS[name][0])
