"""The parts of a page share a session; a view is one part, in a module of its own."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from typing import TypeVar

import panel as pn
import param

from phenomae.explorer.assets import read_asset
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.state import VIEWS, State
from phenomae.explorer.table import Table

Result = TypeVar("Result")


@dataclass(frozen=True)
class Session:
    """What one open page has: its state, and the inputs that all pages share."""

    inputs: Inputs
    state: State
    pool: ThreadPoolExecutor
    """Threads for what takes longer than a moment, shared by all pages."""

    @property
    def row(self) -> str:
        """Name of the row that was searched for; empty if none was, or it is not on the map.

        An address may have a guide or a well, or the name in other letters.
        """
        found = self.inputs.search.look_up(self.state.row)
        return "" if found is None else self.inputs.names[found.row]

    def later(self, work: Callable[[], Result], show: Callable[[Result], object]) -> None:
        """Run `work` in a thread, and `show` its result on the page, if it is still open."""
        document = pn.state.curdoc
        if document is None:  # outside a server
            show(work())
            return

        def answer(done: Future[Result]) -> None:
            def show_it() -> None:
                try:
                    show(done.result())
                except (ValueError, OSError) as error:  # a file that disappeared, for example
                    self.state.problem = str(error)
                except Exception:
                    self.state.problem = "This failed: the terminal of explore has the reason."
                    raise

            document.add_next_tick_callback(show_it)

        def begin() -> None:
            self.pool.submit(work).add_done_callback(answer)

        # What is known at once is sent first: the thread would take the processor from it.
        document.add_timeout_callback(begin, _MOMENT_MS)


_MOMENT_MS = 120


def follow_links(session: Session, tables: Iterable[Table], answer: Table | None) -> None:
    """Search for a name whose link is clicked in one of the tables, and move focus to the answer.

    The row that had focus is replaced with its table: the focus would be lost. `answer` is the
    table that shows the new name first, None if the tables stay.
    """

    def search(event: param.parameterized.Event) -> None:
        if not event.new:
            return
        session.state.row = event.new
        if answer is not None:
            answer.focused += 1

    for table in tables:
        table.param.watch(search, "chosen")


def keep_order(session: Session, table: Table, parameter: str) -> None:
    """Keep the column and direction that a table is sorted by in a parameter of the address."""
    state = session.state
    table.order = getattr(state, parameter)
    table.param.watch(lambda event: state.param.update(**{parameter: event.new}), "order")
    state.param.watch(lambda event: table.param.update(order=event.new), parameter)


def note(text: str) -> pn.pane.HTML:
    """Return a place with a paragraph of plain text."""
    return pn.pane.HTML(paragraph(text), stylesheets=[_NOTE], sizing_mode="stretch_width", margin=0)


def paragraph(text: str) -> str:
    """Return the HTML of a paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


WIDGETS = read_asset("widgets.css")
"""Style of the widgets of Panel, which do not know of dark mode."""
_NOTE = "p { margin: 0 0 .5rem; color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }"


@dataclass(frozen=True)
class View:
    """One view of the page."""

    name: str
    title: str
    build: Callable[[Session], pn.viewable.Viewable]
    lacks: Callable[[Inputs], str | None] = field(default=lambda inputs: None)
    """Returns a sentence that says which input the view needs and has not; None if it has all."""


def load_views() -> list[View]:
    """Return all views."""
    return [import_module(f"phenomae.explorer.views.{name}").VIEW for name in VIEWS]
