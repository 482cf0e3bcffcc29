"""The rows of the map that are nearest to the one that was searched for, and the farthest."""

import re

import numpy as np
import panel as pn
import polars as pl

from phenomae.evaluation.neighbors.finder import EFFECTS, SIDES, describe_row
from phenomae.evaluation.neighbors.partners import list_partners
from phenomae.explorer.table import Table
from phenomae.explorer.view import Session, View, follow_links, keep_order, note

_HINT = "Search for a name, or click a point of the layout."
MAX_PARTNERS = 20
"""Known partners that are shown of a name; the saved table has all."""


def _build(session: Session) -> pn.viewable.Viewable:
    tables = {side: Table(sizing_mode="stretch_width") for side in SIDES}
    known = Table(sizing_mode="stretch_width", limit=MAX_PARTNERS)
    hint = note(_HINT)
    state, finder = session.state, session.inputs.finder

    def show(row: int, table: pl.DataFrame) -> None:
        name = session.inputs.names[row]
        if session.row != name:  # another was chosen while p-values were computed
            return
        for side, shown in tables.items():
            part = table.filter(side=side)
            preposition = "to" if side == SIDES[0] else "from"
            label = f"{side.capitalize()} {preposition} {name}{describe_row(part)}"
            own = [column for column in EFFECTS if column in part.columns]
            renamed = {f"neighbor_{column}": column for column in own}
            part = part.drop("name", "side", *own).rename(renamed)
            shown.param.update(label=label, file=f"{_as_file(name)}-{side}.csv")
            shown.fill(part, link="neighbor", fdr="FDR")
        if finder.annotations:
            _fill_partners(known, name, list_partners(finder, row, table), finder.k)

    def add_p(row: int) -> pl.DataFrame | None:
        if session.row != session.inputs.names[row]:  # another was searched for meanwhile
            return None
        return finder.list_neighbors(np.array([row]))

    def update(*_: object) -> None:
        found = session.inputs.search.look_up(state.row)
        hint.visible = found is None
        for table in tables.values():
            table.visible = found is not None
        known.visible = found is not None and bool(finder.annotations)
        if found is None:
            return
        row = found.row
        show(row, _without_p(session, row))
        session.later(lambda: add_p(row), lambda table: table is not None and show(row, table))

    for side, table in {**tables, "known": known}.items():
        keep_order(session, table, f"sort_{side}")
    follow_links(session, (*tables.values(), known), tables[SIDES[0]])
    state.param.watch(update, "row")
    update()
    near, far = tables.values()
    about = note(_explain(session))
    return pn.Column(hint, near, known, far, about, sizing_mode="stretch_width")


def _fill_partners(table: Table, name: str, partners: pl.DataFrame, k: int) -> None:
    near = (partners["rank"] <= k).sum()
    shown = partners.rename({"known": "sources"}).with_columns(pl.col("listed").fill_null("no"))
    table.file = f"{_as_file(name)}-known-partners.csv"
    table.fill(shown, link="partner", fdr="FDR", rank="rank of all names", listed="listed here")
    number = f"{len(partners):,}, {near} among the {k} nearest" if len(partners) else "none"
    first = f"; the nearest {MAX_PARTNERS} are shown" if len(partners) > MAX_PARTNERS else ""
    table.label = f"Known partners of {name} on the map: {number}{first}"


def _as_file(name: str) -> str:
    """Return a name without characters that files may not have."""
    return re.sub(r"[^\w.-]+", "_", name)[:60]


def _explain(session: Session) -> str:
    finder = session.inputs.finder
    of_what = "random names" if finder.wells is None else "averages of control wells"
    text = (
        f"p: the share of {finder.draws:,} {of_what} with a neighbor of this rank that is as near, "
        "1 added to both counts. FDR (Benjamini and Hochberg): of the pairs listed here; tables of "
        "all names and exported sites have it of all their pairs."
    )
    if finder.wells is not None:
        text += (
            " Consistency: the mean cosine of a name's wells with each other; where it is near 0, "
            "do not rely on its neighbors."
        )
    if finder.wells is not None and finder.wells.have_guides:
        text += (
            " Guide agreement: the mean cosine between the mean profiles of a name's guides, empty "
            "with fewer than two; where it is low, only some of the guides make the name near."
        )
    return text


def _without_p(session: Session, row: int) -> pl.DataFrame:
    """Return the neighbors with the columns that take longer empty."""
    names = np.array(session.inputs.names, dtype=object)
    parts = []
    for side, sign, (ids, cosines) in zip(
        SIDES, (1, -1), session.inputs.neighbors(row), strict=True
    ):
        columns = {
            "name": names[row],
            "side": side,
            "rank": np.arange(1, len(ids[0]) + 1, dtype=np.int32),
            "neighbor": pl.Series(names[ids[0]], dtype=pl.String),
            "cosine": sign * cosines[0],
        }
        parts.append(pl.DataFrame(columns))
    empty = pl.lit(None, dtype=pl.Float64)
    return pl.concat(parts).with_columns(p=empty, fdr=empty, known=pl.lit(None, dtype=pl.String))


VIEW = View("neighbors", "Neighbors", _build)
