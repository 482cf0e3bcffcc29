"""Defines what a question of `ask` consists of: inputs, settings, tables and optionally a figure.

Each question is one module with its settings, its computation and, at its end, one `QUESTION`, from
which `ask.py` builds the command and the Python function.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.evaluation.baseline_inputs import (
    Baseline,
    Codes,
    open_baseline_map,
    open_baseline_wells,
)
from phenomae.evaluation.questions.table import QUESTIONS
from phenomae.evaluation.questions.unit_scores import UnitScores
from phenomae.maps.read import read_map
from phenomae.wells import read_wells

Tables = dict[str, pl.DataFrame]
"""Tables by file name."""


@dataclass(frozen=True)
class BaselineInput:
    """How baselines of an input are read."""

    form: str
    """NAME=PATH with an example, for messages."""
    help: str
    """What is given, for the help of the setting baseline."""
    open: Callable[[str, Path, Any, Path], Baseline]
    """open(name, path, value of the input, path of the input) checks that a baseline has the same
    wells or genes as the input."""


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
    baseline: BaselineInput | None = None
    """Reads baselines; None for inputs that questions with baselines do not have."""


@dataclass(frozen=True)
class Score:
    """The score of a question, by which these features are compared with those of baselines."""

    column: str
    """Column of the printed table that has the score."""
    units: Callable[[Tables, Any], dict[tuple[str, ...], UnitScores]]
    """units(tables, settings) returns the values of each row of the printed table per unit
    (compound, gene, complex), by the row's values in the columns `keys`. The last one is that of
    the line on what was learned."""
    keys: tuple[str, ...] = ()
    """Columns of the printed table that tell its rows apart; none if it has one row."""
    drop: tuple[str, ...] = ()
    """Columns of the printed table that baselines.csv leaves out."""


@dataclass(frozen=True)
class Figure:
    """The figure that a question adds to its tables."""

    name: str
    """File name in the folder figures, without suffix."""
    draw: Callable[..., Any] | str
    """draw(tables, *values of the inputs, settings) returns a Drawing, or None for no figure.

    Or the string "module:function", because the package `evaluation` may not import `reporting`,
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
    averaged: Callable[[pl.DataFrame, Any, Path], Iterable[Codes]] = lambda *inputs: ()
    """averaged(table of the wells, settings, path for messages) returns codes of the wells whose
    mean must not be 0, because its cosines are computed (`baseline_inputs.Averaged`); nothing if
    there are none, or the inputs are maps."""
    score: Score | None = None
    """What baselines are compared by; None for questions that take no baselines. They are compared
    with the first input, and the settings have a `seed`."""


def takes_wells(help: str = "Folder of wells, usually corrected.") -> Input:
    """Return an `Input` that reads a folder of wells."""
    return Input("wells", help, read_wells, baseline_wells(lambda wells, path: wells.table))


def baseline_wells(table: Callable[[Any, Path], pl.DataFrame]) -> BaselineInput:
    """Return how baselines of an input of wells are read.

    table(value of the input, its path) returns the table of the wells.
    """
    return BaselineInput(
        "NAME=WELLS, like spectra=spectra-wells",
        "NAME=WELLS: other features of the same wells",
        lambda name, path, value, source: open_baseline_wells(
            name, path, table(value, source), source
        ),
    )


def takes_map(name: str, help: str) -> Input:
    """Return an `Input` that reads a map."""
    form = "NAME=MAP, like spectra=spectra.h5ad"
    of_genes = BaselineInput(form, "NAME=MAP: another map of the same genes", open_baseline_map)
    return Input(name, help, read_map, of_genes)


def load_object(path: str) -> Any:
    """Import the module of "module:name" and return its attribute."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def load_question(name: str) -> Question:
    """Return the question that is registered under a name; raises KeyError for other names."""
    # Questions are registered as strings, so that `ask signal` does not import all questions.
    return load_object(QUESTIONS[name][0])
