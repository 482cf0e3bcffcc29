"""Finds rows of a map by what people type: names, genes, compounds, guides and wells."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

MAX_COMPLETIONS = 50_000
"""Texts that a browser completes: of more, wells are found but not completed."""
_LABELS = ("gene", "compound", "guide", "perturbation")


class Found(NamedTuple):
    """What a text stands for."""

    row: int
    """Row of the map."""
    kind: str
    """`name`, or the label that the text is: gene, compound, guide, perturbation or well."""


@dataclass(frozen=True)
class SearchIndex:
    """All texts that stand for a row of a map."""

    names: list[str]
    found: Mapping[str, Found]
    """What each text stands for. Names of rows come before labels of their wells."""
    _lower: Mapping[str, str]

    @classmethod
    def build(cls, names: list[str], wells: pl.DataFrame | None) -> "SearchIndex":
        """Index the names of a map and the labels of its wells.

        `wells` has the columns name (a row of the map, or null), plate and well, and any of gene,
        compound, guide and perturbation. A label of wells in two rows stands for the first row.
        """
        found = {name: Found(row, "name") for row, name in enumerate(names)}
        if wells is not None:
            rows = pl.DataFrame({"name": names}).with_row_index("row")
            named = wells.join(rows, on="name", how="inner", maintain_order="left")
            for label in (*(name for name in _LABELS if name in named.columns), "well"):
                text = pl.concat_str("plate", "well", separator="/") if label == "well" else label
                pairs = named.select(text, "row").drop_nulls().unique(maintain_order=True)
                _add(found, label, pairs.iter_rows())
        lower: dict[str, str] = {}
        for text in found:
            lower.setdefault(text.casefold(), text)
        return cls(names, MappingProxyType(found), MappingProxyType(lower))

    @property
    def completions(self) -> list[str]:
        """Texts to offer, sorted: all, or without wells if there are many."""
        if len(self.found) <= MAX_COMPLETIONS:
            return sorted(self.found, key=str.casefold)
        offered = (text for text, found in self.found.items() if found.kind != "well")
        return sorted(offered, key=str.casefold)

    def look_up(self, text: str) -> Found | None:
        """Return what a text stands for, in any case of letters; None if nothing."""
        text = text.strip()
        known = text if text in self.found else self._lower.get(text.casefold())
        return None if known is None else self.found[known]

    def resemble(self, text: str, count: int = 3) -> list[str]:
        """Return known texts that are spelled alike."""
        close = difflib.get_close_matches(text.strip().casefold(), self._lower, n=count)
        return [self._lower[each] for each in close]


def _add(found: dict[str, Found], label: str, pairs: Iterable[tuple[str, int]]) -> None:
    for text, row in pairs:
        if text:
            found.setdefault(text, Found(row, label))
