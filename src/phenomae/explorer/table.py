"""A table on a page: sortable, readable by screen readers, and saved as CSV."""

from collections.abc import Sequence

import param
import polars as pl
from panel.custom import JSComponent

from phenomae.explorer.assets import read_asset


class Table(JSComponent):
    """Rows of text and numbers; cells of some columns may lead to rows of the map.

    Written here because a data grid of a library that was tried had roles without the children that
    they need, which axe-core counts as critical.
    """

    data = param.Dict(
        default={"columns": [], "rows": []},
        doc="columns: name, title and kind of each; rows: lists of values, None for missing ones",
    )
    label = param.String("", doc="Heading of the table")
    file = param.String("table.csv", doc="Name of the CSV file")
    order = param.String("", doc="Column that rows are sorted by, `-` before it: falling")
    limit = param.Integer(0, doc="Rows that are shown, of those that are saved; 0 for all")
    target = param.String("row", doc="Parameter of the address that a link sets")
    chosen = param.String("", doc="Text of the link that was clicked last")
    focused = param.Integer(0, doc="Number of times that the heading was given focus")

    _esm = read_asset("table.js")
    _stylesheets = [read_asset("table.css")]  # noqa: RUF012 (Panel declares it without ClassVar)

    def fill(self, table: pl.DataFrame, link: str | Sequence[str] = (), **titles: str) -> None:
        """Show a table of polars; `link` names the column, or columns, whose cells are links."""
        columns = [
            {"name": name, "title": titles.get(name, name.replace("_", " ")), "kind": kind}
            for name, kind in _kinds(table, [link] if isinstance(link, str) else link)
        ]
        finite = table.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))
        # One parameter, because a browser hears of each by itself.
        self.data = {"columns": columns, "rows": [list(row) for row in finite.iter_rows()]}


def _kinds(table: pl.DataFrame, links: Sequence[str]) -> list[tuple[str, str]]:
    numeric = {name for name, dtype in table.schema.items() if dtype.is_numeric()}
    return [
        (name, "link" if name in links else "number" if name in numeric else "text")
        for name in table.columns
    ]
