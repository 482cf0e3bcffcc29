"""Two maps side by side: the nearest names on each, among the names that both have."""

from typing import Any

import panel as pn
import polars as pl

from phenomae.evaluation.neighbors.overlap import NeighborOverlap
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.other_map import SharedNames
from phenomae.explorer.table import Table
from phenomae.explorer.view import Session, View, follow_links, note, paragraph

_TITLES = {"other_rank": "rank on the other", "both": "on both lists"}
_LACKS = "This needs another map with the same names: give it with --compare."


def _build(session: Session) -> pn.viewable.Viewable:
    state, shared = session.state, session.inputs.other
    assert shared is not None
    tables = [Table(sizing_mode="stretch_width", file=f"map-{1 + side}.csv") for side in range(2)]
    beside = pn.FlexBox(*tables, gap="0 1.5rem", sizing_mode="stretch_width", stylesheets=[_BESIDE])
    whole = note(f"Comparing the neighbors of {len(shared.names):,} names on both maps ...")
    hint = note("")
    computed: list[NeighborOverlap] = []

    def update(*_: object) -> None:
        row = shared.find(session.row)
        hint.object = paragraph(_hint(session, shared, row, computed))
        beside.visible = row is not None
        if row is None:
            return
        found = shared.nearest(row, session.inputs.finder.k)
        for table, which, path, nearest in zip(
            tables, ("this", "the other"), (session.inputs.path, shared.path), found, strict=True
        ):
            both = pl.when("both").then(pl.lit("yes")).otherwise(pl.lit("")).alias("both")
            table.fill(nearest.with_columns(both), link="neighbor", **_TITLES)
            table.label = f"Nearest to {session.row} on {which} map ({path.name})"

    def show(overlap: Any) -> None:
        computed.append(overlap)
        whole.object = paragraph(_describe(overlap))
        update()

    follow_links(session, tables, tables[0])
    state.param.watch(update, "row")
    update()
    session.later(lambda: shared.overlap, show)
    return pn.Column(whole, hint, beside, sizing_mode="stretch_width")


def _hint(
    session: Session, shared: SharedNames, row: int | None, computed: list[NeighborOverlap]
) -> str:
    """Return the sentence on the searched name."""
    if not session.row:
        return "Search for a name: the nearest on both maps are shown here."
    if row is None:
        return f"{shared.path} has no name {session.row}."
    if not computed:
        return ""
    own = computed[0].jaccard[row]
    lower = (computed[0].jaccard < own).mean()
    return (
        f"The overlap of {session.row} is {own:.3g}, higher than of {100 * lower:.0f} % of "
        "the names."
    )


def _describe(overlap: NeighborOverlap) -> str:
    return (
        f"{len(overlap.jaccard):,} names are on both maps. The {overlap.k} nearest of a name on "
        f"one map and on the other overlap by {overlap.mean:.3g} on average (Jaccard index: number "
        f"of names in both lists over that in either); random lists would by {overlap.chance:.2g}."
    )


def _lacks(inputs: Inputs) -> str | None:
    return _LACKS if inputs.other is None else None


_BESIDE = ".bk-panel-models-esm-ReactiveESM { flex: 1 1 22rem; }"
VIEW = View("maps", "Maps", _build, _lacks)
