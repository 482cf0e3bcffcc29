"""The answers of a static site as JSON: neighbors and known pairs, in files of a few hundred kB.

Rows and sources have numbers, which are all that the names of files are made from, and names stand
in one file only.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from phenomae.evaluation.known_pairs import SIDES, MapPairs
from phenomae.evaluation.neighbors.finder import EFFECTS
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.pair_tables import MISSED
from phenomae.explorer.site_layout import WIDTH, draw_points, scale_points

ROWS = 100
"""Names of the map in a file."""
PAIRS = 1000
"""Known pairs in a file."""
RESULTS = (SIDES[1], MISSED, SIDES[0])
"""Results of known pairs, in the order of their cosines, the highest first."""
_COSINE_DIGITS, _P_DIGITS = 6, 4  # after the point, and significant

Pictures = dict[int, tuple[int, int | None]]
"""Rows of the map with the field that shows each, and the control field beside it."""


class SiteData:
    """The files of the answers, by their paths in the site."""

    def __init__(self, inputs: Inputs, pictures: Pictures) -> None:
        self._inputs, self._pictures = inputs, pictures
        self._number = {name: row for row, name in enumerate(inputs.names)}

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of each file."""
        yield "data/names.json", _encode(self._names())
        yield from self._layout()
        yield "data/new.json", _encode(self._new())
        yield from self._of_rows()
        for source in range(len(self.sources)):
            yield from self._of_source(source)

    @property
    def sources(self) -> list[str]:
        return [annotation.name for annotation in self._inputs.finder.annotations]

    @property
    def _pairs(self) -> MapPairs:
        return self._inputs.pairs

    @cached_property
    def _known(self) -> pl.DataFrame:
        """The known pairs by numbers: source, first, second, cosine, percentile, result."""
        known = self._pairs.known
        results = {side: number for number, side in enumerate(RESULTS)}
        source = {name: number for number, name in enumerate(self.sources)}
        # Sorted before they are rounded: found and missed pairs may be as close as that.
        return known.sort("cosine", descending=True, maintain_order=True).select(
            source=pl.col("source").replace_strict(source, return_dtype=pl.Int64),
            first=self._to_number("entity1"),
            second=self._to_number("entity2"),
            cosine=pl.col("cosine").round(_COSINE_DIGITS),
            percentile=pl.col("percentile").round(_COSINE_DIGITS),
            result=pl.col("side").fill_null(MISSED).replace_strict(results, return_dtype=pl.Int64),
        )

    def _to_number(self, column: str) -> pl.Expr:
        return pl.col(column).replace_strict(self._number, return_dtype=pl.Int64)

    @cached_property
    def _neighbors(self) -> pl.DataFrame:
        finder = self._inputs.finder
        table = finder.list_neighbors(np.arange(len(finder.names)))
        return table.with_columns(
            row=self._to_number("name"),
            other=self._to_number("neighbor"),
            cosine=pl.col("cosine").round(_COSINE_DIGITS),
            p=pl.col("p").round_sig_figs(_P_DIGITS),
            fdr=pl.col("fdr").round_sig_figs(_P_DIGITS),
        )

    def _names(self) -> dict[str, Any]:
        inputs = self._inputs
        labels = {
            text: found.row
            for text in inputs.search.completions
            if (found := inputs.search.found[text]).kind != "name"
        }
        first = self._neighbors.unique("row", keep="first").sort("row")
        effects = [name for name in EFFECTS if name in first.columns]
        low, high = self._pairs.percentiles
        return {
            "names": inputs.names,
            "labels": labels,
            "effects": {
                name: first[name].cast(pl.Float64).round_sig_figs(_P_DIGITS).to_list()
                for name in effects
            },
            "rows": ROWS,
            "pairs": PAIRS,
            "results": RESULTS,
            "percentiles": [low, high],
            "sources": [
                [self.sources[source], *self._count(source)] for source in range(len(self.sources))
            ],
        }

    def _layout(self) -> Iterator[tuple[str, bytes]]:
        layout = self._inputs.layout
        places, height = scale_points(layout.points)
        title = f"{self._inputs.path.name}: {layout.description}"
        yield "layout.svg", draw_points(places, height, title)
        sizes = {"width": WIDTH, "height": height}
        yield "data/layout.json", _encode({**sizes, "points": places.tolist()})

    def _count(self, source: int) -> list[int]:
        """Return how many pairs of a source have each of the `RESULTS`."""
        results = self._known.filter(source=source)["result"]
        return [int((results == number).sum()) for number in range(len(RESULTS))]

    def _new(self) -> dict[str, Any]:
        new = self._pairs.new.select(
            first=self._to_number("entity1"),
            second=self._to_number("entity2"),
            cosine=pl.col("cosine").round(_COSINE_DIGITS),
        )
        return {"pairs": [list(row) for row in new.iter_rows()]}

    def _of_rows(self) -> Iterator[tuple[str, bytes]]:
        """Yield the neighbors, known pairs and pictures of each name, `ROWS` names a file."""
        mirrored = self._known.rename({"first": "second", "second": "first"})
        columns = ["source", "second", "cosine", "percentile", "result"]
        both = pl.concat([self._known, mirrored.select(self._known.columns)])
        both = both.sort(
            "first", "source", "cosine", descending=[False, False, True], maintain_order=True
        )
        for start in range(0, len(self._number), ROWS):
            some = range(start, min(start + ROWS, len(self._number)))
            inside = pl.col("row").is_between(some.start, some.stop - 1)
            near = self._neighbors.filter(inside).partition_by("row", "side", as_dict=True)
            inside = pl.col("first").is_between(some.start, some.stop - 1)
            pairs = both.filter(inside).partition_by("first", as_dict=True)
            rows = [
                {
                    **{
                        side: _to_lists(part, ["other", "cosine", "p", "fdr", "known"])
                        for (of, side), part in near.items()
                        if of == row
                    },
                    "pairs": _to_lists(pairs[row,], columns) if (row,) in pairs else [],
                    "pictures": self._describe(row),
                }
                for row in some
            ]
            yield f"data/rows-{start // ROWS:04d}.json", _encode({"rows": rows})

    def _describe(self, row: int) -> list[list[Any]]:
        """Return path and description of the picture of a name, and of that of its control."""
        cells = self._inputs.on_map.cells
        if cells is None or row not in self._pictures:
            return []
        shown = [field for field in self._pictures[row] if field is not None]
        return [[path_of_picture(field), cells.describe(field)] for field in shown]

    def _of_source(self, source: int) -> Iterator[tuple[str, bytes]]:
        """Yield the known pairs of a source, the highest cosine first, `PAIRS` a file."""
        own = self._known.filter(source=source).drop("source")
        # The page finds the pairs of each result by their numbers, as they follow each other.
        assert own["result"].is_sorted()
        for start in range(0, len(own), PAIRS):
            part = own.slice(start, PAIRS)
            path = f"data/pairs-{source:02d}-{start // PAIRS:04d}.json"
            yield path, _encode({"pairs": _to_lists(part, part.columns)})


def path_of_picture(field: int) -> str:
    """Return the path in the site of the picture of a field of the store."""
    return f"pictures/{field // 1000:03d}/{field}.jpg"


def _to_lists(table: pl.DataFrame, columns: list[str]) -> list[list[Any]]:
    return [list(row) for row in table.select(columns).iter_rows()]


def _encode(value: dict[str, Any]) -> bytes:
    """Return compact JSON in ASCII, which no server sends in a wrong encoding."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
