"""Defines a section of the report; every section is one module with a `SECTION` at its end.

Texts of sections are plain text, which the page escapes, so sections contain no HTML.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.evidence.verdict import ABOVE, compare_with_chance
from phenomae.reporting.figures.style import Picture
from phenomae.reporting.words import fraction, p_value


@dataclass(frozen=True)
class Row:
    """One row of a table; the first cell is its heading."""

    cells: Sequence[str]
    emphasised: bool = False
    faint: bool = False
    note: str = ""
    """What is written in small letters beside the heading."""


@dataclass(frozen=True)
class Tile:
    """A card at the head of the page: one number in large digits, and what it shows."""

    heading: str
    value: str
    below: list[str]
    """Lines below the number: interval, chance, p-value."""
    verdict: str
    """What the number shows, in a few words."""
    good: bool = False
    """Whether the verdict is what one hopes for."""


def make_tile(heading: str, value: float, row: Mapping[str, Any]) -> Tile:
    """Return the card of a score; `row` has its chance, ci_low, ci_high and p, null if unknown."""
    interval, p = (row["ci_low"], row["ci_high"]), row["p"]
    verdict = compare_with_chance(row["chance"], interval, p)
    space = "\N{NO-BREAK SPACE}"
    ends = f"{space}to{space}".join(map(fraction, interval))
    below = [
        f"95{space}%{space}CI {ends}" if None not in interval else "no interval",
        f"chance {fraction(row['chance'])}",
        f"p {p_value(p)}" if p is not None else "no p-value",
    ]
    return Tile(heading, fraction(value), below, verdict, verdict == ABOVE)


@dataclass(frozen=True)
class Table:
    """A table of the page."""

    label: str
    """Title of the table for screen readers."""
    columns: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Row]]]
    """Heading and rows of each group of rows; an empty heading is not shown."""
    prose: Sequence[str] = ()
    """Columns of text, whose lines may be broken; those of numbers are never."""


@dataclass(frozen=True)
class Fact:
    """One line of a list of facts: what it is, and its value in words."""

    name: str
    value: str


@dataclass(frozen=True)
class Card:
    """One of several cards beside each other: a heading, lines of text, and pictures."""

    heading: str
    lines: Sequence[str]
    pictures: Sequence[Picture]
    labels: Sequence[str] = ()
    """Text below each picture; none for no text."""


def _nothing(evidence: Evidence) -> list:
    return []


@dataclass(frozen=True)
class Section:
    """One section of the page: a heading, a paragraph, and a figure, a table or both."""

    name: str
    """Anchor of the section on the page."""
    link: str
    """Text of the link to the section at the top of the page."""
    heading: str
    needs: Callable[[Evidence], bool]
    """Returns whether the report has the inputs of the section; if not, it is left out."""
    text: Callable[[Evidence], str]
    """Returns the paragraph below the heading."""
    tiles: Callable[[Evidence], list[Tile]] = _nothing
    """Returns cards for the head of the page."""
    draw: Callable[[Evidence, Path], Picture | None] | None = None
    """Writes the figure into a folder and returns it as a picture; None if there is none."""
    caption: Callable[[Evidence], str] = field(default=lambda evidence: "")
    """Returns the text below the figure."""
    table: Callable[[Evidence], Table | None] | None = None
    """Returns the table; None if there is none, either way."""
    notes: Callable[[Evidence], list[str]] = _nothing
    """Returns remarks below the table, one paragraph each."""
    facts: Callable[[Evidence], list[Fact]] = _nothing
    """Returns a list of names and values, below the paragraph."""
    cards: Callable[[Evidence, Path], list[tuple[str, list[Card]]]] | None = None
    """Writes pictures into a folder and returns groups of cards, each with a heading, below the
    table."""
    wide: bool = False
    """Whether the figure may be wider than the text."""


@dataclass(frozen=True)
class Part:
    """A section with the texts, picture and table that the page shows."""

    section: Section
    text: str
    tiles: list[Tile]
    picture: Picture | None
    caption: str
    table: Table | None
    notes: list[str]
    facts: list[Fact]
    cards: list[tuple[str, list[Card]]]


def make_part(section: Section, evidence: Evidence, folder: Path) -> Part:
    """Draw the figure of a section into `folder`, and return the section's content for the page."""
    picture = section.draw(evidence, folder) if section.draw else None
    table = section.table(evidence) if section.table else None
    return Part(
        section,
        section.text(evidence),
        section.tiles(evidence),
        picture,
        section.caption(evidence),
        table,
        section.notes(evidence),
        section.facts(evidence),
        section.cards(evidence, folder) if section.cards else [],
    )
