"""The functions of `ask`: `ask_signal`, `ask_complexes` and so on, one per registered question.

They are made from the table of questions when they are looked up, so a question that is registered
needs no line here. Their figures are drawn by this room, which `evaluation` may not import.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from phenomae.evaluation.questions.ask import build_command
from phenomae.evaluation.questions.question import Figure, Tables, load_object, load_question
from phenomae.evaluation.questions.table import QUESTIONS
from phenomae.evaluation.results import Results

_PREFIX = "ask_"


def __getattr__(name: str) -> Callable[..., Results]:
    question = name.removeprefix(_PREFIX)
    if not name.startswith(_PREFIX) or question not in QUESTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _build(question)


def __dir__() -> list[str]:
    return [*globals(), *(_PREFIX + name for name in QUESTIONS)]


@cache  # cyclopts and callers get the same function object at every look-up
def _build(name: str) -> Callable[..., Results]:
    return build_command(load_question(name), _draw)


def _draw(figure: Figure, folder: Path, tables: Tables, values: list[Any], settings: Any) -> None:
    """Save the figure of an answer, if it has one."""
    from phenomae.explore.figures.style import house_style, save  # matplotlib: .4 s to import

    draw = load_object(figure.draw) if isinstance(figure.draw, str) else figure.draw
    with house_style():
        drawing = draw(tables, *values, settings)
        if drawing is not None:
            save(drawing, folder / "figures", figure.name)
