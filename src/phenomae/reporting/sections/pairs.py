"""Section: the nearest pairs of the map, known and new, with cells of both beside controls."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phenomae.reporting.evidence.cells import Cells
from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.evidence.on_map import NEAREST_PAIRS
from phenomae.reporting.figures.style import Picture, save_photograph
from phenomae.reporting.sections.section import Card, Row, Section, Table
from phenomae.reporting.words import fraction

SIDE = 160
"""Pixels of a store that a picture shows."""
_KNOWN = "The nearest known pairs"
_NEW = "The nearest pairs that are in no source"
_ALL = "The nearest pairs"
_GENES = "genes that lie beside each other on a chromosome, guides that hit both, or "
Pair = dict[str, Any]


def _groups(evidence: Evidence) -> dict[str, list[Pair]]:
    """Return the pairs by the heading of their group."""
    pairs = evidence.map.pairs
    if not evidence.map.annotations:
        return {_ALL: pairs.new.rows(named=True)}
    groups = {_KNOWN: pairs.highest(NEAREST_PAIRS), _NEW: pairs.new}
    return {heading: its.rows(named=True) for heading, its in groups.items() if len(its)}


def _text(evidence: Evidence) -> str:
    of_both = ", of known pairs and of those that no source has" if evidence.map.annotations else ""
    text = (
        f"The {NEAREST_PAIRS} pairs of the map with the highest cosines{of_both}. A high cosine is "
        f"no proof of a common mechanism: {_GENES if evidence.noun == 'gene' else ''}wells in the "
        "same place can look alike, too."
    )
    if evidence.map.cells is None:
        return text
    by_profile = evidence.map.wells is not None
    well = "whose profile is most like the consensus profile" if by_profile else "of the store"
    control = "the control well nearest to the mean of the controls" if by_profile else "the first"
    return (
        f"{text} A picture shows the center of a field, {SIDE} pixels wide or all of it: at the "
        f"left the {'' if by_profile else 'first '}well of each {evidence.noun} {well}, at the "
        f"right {control}{'' if by_profile else ' control well'} of the same plate, in the same "
        "contrast."
    )


def _table(evidence: Evidence) -> Table:
    groups = _groups(evidence)
    several = len(groups) > 1
    rows = [
        (heading if several else "", [_row(pair, has_sources=several) for pair in pairs])
        for heading, pairs in groups.items()
    ]
    return Table("Nearest pairs", ["pair", "cosine", *(["sources"] if several else [])], rows)


def _name(pair: Pair) -> str:
    return f"{pair['entity1']} – {pair['entity2']}"


def _row(pair: Pair, has_sources: bool) -> Row:
    sources = [pair.get("sources", "")] if has_sources else []
    return Row([_name(pair), fraction(pair["cosine"]), *sources])


def _cards(evidence: Evidence, folder: Path) -> list[tuple[str, list[Card]]]:
    cells = evidence.map.cells
    if cells is None:
        return []
    drawing = _Photographer(cells, folder)
    return [
        (heading, [drawing.draw(pair) for pair in pairs])
        for heading, pairs in _groups(evidence).items()
    ]


@dataclass
class _Photographer:
    """Draws the cells of pairs; a field that is in several cards is written once."""

    cells: Cells
    folder: Path
    drawn: dict[int, Picture] = field(default_factory=dict)

    def draw(self, pair: Pair) -> Card:
        pictures: list[Picture] = []
        labels: list[str] = []
        missing: list[str] = []
        for name in (pair["entity1"], pair["entity2"]):
            found = self.cells.of(name)
            if not found:
                missing.append(f"The store has no field of {name}.")
                continue
            shown = [(name, found[0].field), ("control", found[0].control)]
            for what, place in shown:
                if place is not None:
                    pictures.append(self._picture(place, what))
                    labels.append(f"{what}, {self.cells.describe(place)}")
        cosine = f"cosine {fraction(pair['cosine'])}"
        sources = [pair["sources"]] if "sources" in pair else []
        return Card(_name(pair), [", ".join([cosine, *sources]), *missing], pictures, labels)

    def _picture(self, place: int, what: str) -> Picture:
        if place not in self.drawn:
            alt = f"Cells of {what}, {self.cells.describe(place)}, all channels in their colors."
            pixels = self.cells.draw(place, SIDE)
            self.drawn[place] = save_photograph(pixels, self.folder, f"cells_{place}", alt)
        return self.drawn[place]


SECTION = Section(
    "pairs",
    link="Nearest pairs",
    heading="Nearest pairs",
    needs=lambda evidence: evidence.on_map is not None and evidence.on_map.has_company,
    text=_text,
    table=lambda evidence: None if evidence.map.cells is not None else _table(evidence),
    cards=_cards,
    wide=True,
)
