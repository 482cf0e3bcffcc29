"""What a section of the report is: one value, `SECTION`, at the end of its module.

Texts are plain and escaped by the page, so a section knows nothing of HTML.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phenomae.explore.evidence.evidence import Evidence
from phenomae.explore.figures.style import Picture


@dataclass(frozen=True)
class Row:
    """One row of a table; the first cell is its heading."""

    cells: Sequence[str]
    emphasised: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the page."""

    label: str
    """For screen readers."""
    columns: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Row]]]
    """Heading and rows of each part; an empty heading is not shown."""


def _nothing(evidence: Evidence) -> list[str]:
    return []


@dataclass(frozen=True)
class Section:
    """One section of the page: a heading, a paragraph, and a figure, a table or both."""

    name: str
    """Its anchor on the page."""
    link: str
    """Its name in the list of sections at the top."""
    heading: str
    needs: Callable[[Evidence], bool]
    """Returns whether there is anything to show; if not, the section is left out."""
    text: Callable[[Evidence], str]
    """Returns the paragraph below the heading."""
    draw: Callable[[Evidence, Path], Picture] | None = None
    """Writes the figure into a folder and returns it as a picture."""
    caption: Callable[[Evidence], str] = field(default=lambda evidence: "")
    """Returns the text below the figure."""
    table: Callable[[Evidence], Table] | None = None
    notes: Callable[[Evidence], list[str]] = _nothing
    """Returns remarks below the table, one paragraph each."""
    wide: bool = False
    """Whether the figure may be wider than the text."""


@dataclass(frozen=True)
class Part:
    """A section with everything that the page shows of it."""

    section: Section
    text: str
    picture: Picture | None
    caption: str
    table: Table | None
    notes: list[str]


def make_part(section: Section, evidence: Evidence, folder: Path) -> Part:
    """Draw a section's figure into `folder` and return what the page shows of the section."""
    picture = section.draw(evidence, folder) if section.draw else None
    table = section.table(evidence) if section.table else None
    text, caption = section.text(evidence), section.caption(evidence)
    return Part(section, text, picture, caption, table, section.notes(evidence))
