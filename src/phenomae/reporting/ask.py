"""The functions `ask_signal`, `ask_complexes` and so on, one per registered question of `ask`.

The module builds a function from the table of questions when its name is looked up, so a new
question needs no line here. The functions are in this package because `evaluation` may not import
`reporting`, which draws their figures.
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


@cache  # every look-up of a name returns the same function object
def _build(name: str) -> Callable[..., Results]:
    return build_command(load_question(name), _draw)


def _draw(figure: Figure, folder: Path, tables: Tables, values: list[Any], settings: Any) -> None:
    """Draw the figure of a question and save it, unless `figure.draw` returns None."""
    # Imported here, because importing matplotlib takes .4 s, which `ask --help` should not.
    from phenomae.reporting.figures.style import house_style, save

    draw = load_object(figure.draw) if isinstance(figure.draw, str) else figure.draw
    with house_style():
        drawing = draw(tables, *values, settings)
        if drawing is not None:
            save(drawing, folder / "figures", figure.name)
