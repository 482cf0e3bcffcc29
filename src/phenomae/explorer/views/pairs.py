"""The known pairs of one or all sources, found or missed, and the highest others."""

from dataclasses import dataclass
from typing import Any

import panel as pn
import polars as pl

from phenomae.evaluation.annotations import ALL_SOURCES
from phenomae.evaluation.known_pairs import MapPairs
from phenomae.explorer.inputs import NO_ANNOTATIONS
from phenomae.explorer.pair_tables import ALL, ENTITIES, FOUND, MISSED, TITLES, known_of, new_of
from phenomae.explorer.table import Table
from phenomae.explorer.view import WIDGETS, Session, View, follow_links, note

LIMIT = 200
"""Known pairs that are sent to the page at once."""
_FOUND = {"found and missed": ALL, "found": FOUND, "missed": MISSED}
_SCOPES = {"the searched name": "row", "all names": "map"}


def _build(session: Session) -> pn.viewable.Viewable:
    place = pn.Column(note("Comparing all pairs of the map ..."), sizing_mode="stretch_width")

    def show(pairs: Any) -> None:
        place[:] = _show(session, pairs)

    session.later(lambda: _compare(session), show)
    return place


def _compare(session: Session) -> MapPairs:
    pairs = session.inputs.pairs
    _ = pairs.of_all_sources  # of millions of pairs it takes a moment
    return pairs


def _show(session: Session, pairs: MapPairs) -> list[pn.viewable.Viewable]:
    state = session.state
    known = Table(sizing_mode="stretch_width", file="known-pairs.csv")
    new = Table(sizing_mode="stretch_width", file="new-pairs.csv")
    sources = [annotation.name for annotation in session.inputs.finder.annotations]
    every = [ALL_SOURCES] if len(sources) > 1 else []
    source = _Choice(session, "source", {name: name for name in (*every, *sources)})
    found, scope = _Choice(session, "found", _FOUND), _Choice(session, "scope", _SCOPES)
    of_row = scope.build("Pairs of")

    def update(*_: object) -> None:
        of_row.visible = bool(session.row)
        row = session.row if scope.value == "row" else ""
        if sources:
            _fill_known(known, pairs, source.value, found.value, row)
        _fill_new(new, pairs, source.value, row)

    state.param.watch(update, ["row", "source", "found", "scope"])
    follow_links(session, (known, new), known if sources else new)
    update()
    if not sources:
        return [note(NO_ANNOTATIONS), of_row, new]
    low, high = pairs.percentiles
    about = note(
        f"A pair is found if its cosine is among the lowest {100 * low:.3g} % or the highest "
        f"{100 * (1 - high):.3g} % of all pairs of the map, as in benchmark."
    )
    choices = pn.FlexBox(source.build("Source"), found.build("Known pairs"), of_row)
    return [_count(pairs), about, choices, known, new]


@dataclass(frozen=True)
class _Choice:
    """A parameter of the address that is chosen from a list."""

    session: Session
    parameter: str
    options: dict[str, str]

    @property
    def value(self) -> str:
        """The value that is chosen: the first if the address has none of the options."""
        chosen = getattr(self.session.state, self.parameter)
        values = list(self.options.values())
        return chosen if chosen in values else next(iter(values), "")

    def build(self, title: str) -> pn.widgets.Select:
        """Return the list; it follows the address, and changes it."""
        select = pn.widgets.Select(
            label=title, options=self.options, value=self.value, stylesheets=[WIDGETS]
        )
        state = self.session.state
        select.param.watch(lambda event: state.param.update(**{self.parameter: event.new}), "value")
        state.param.watch(lambda event: select.param.update(value=self.value), self.parameter)
        return select


def _count(pairs: MapPairs) -> Table:
    table = Table(sizing_mode="stretch_width", label="Known pairs per source", file="sources.csv")
    counts = pairs.counts()
    table.fill(pl.concat([counts, pairs.count_all()]) if len(counts) > 1 else counts)
    return table


def _fill_known(table: Table, pairs: MapPairs, source: str, found: str, row: str) -> None:
    shown = known_of(pairs, source, found=found, row=row)
    table.fill(shown.head(LIMIT), link=ENTITIES, **TITLES)
    # The label comes last: the browser hears of it by itself, and it names what is there then.
    words = "Known pairs" if found == ALL else f"Known pairs {found}"
    number = f"{len(shown):,}" if len(shown) else "none on the map"
    first = f", the first {LIMIT} by cosine" if len(shown) > LIMIT else ""
    table.label = f"{words} ({source}{f', {row}' if row else ''}): {number}{first}"


def _fill_new(table: Table, pairs: MapPairs, source: str, row: str) -> None:
    shown = new_of(pairs, source, row=row)
    if not source:
        shown = shown.drop("above")
    table.fill(shown, link=ENTITIES, above="share of known pairs below", **TITLES)
    of_row = f", those of {row}: {len(shown) or 'none'}" if row else ""
    what = "that no source has" if source else "of the map"
    table.label = f"The {len(pairs.new)} highest pairs {what}{of_row}"


VIEW = View("pairs", "Pairs", _build)
