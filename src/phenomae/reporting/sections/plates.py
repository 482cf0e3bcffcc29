"""Section: each plate by row and column: number of cells, focus, and distance to the controls."""

from pathlib import Path

import numpy as np
import polars as pl

from phenomae.quality.flags import robust_z
from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.evidence.plate_views import PlateViews
from phenomae.reporting.figures.plate_view import NAMES, Limits, draw_view
from phenomae.reporting.figures.style import save
from phenomae.reporting.sections.section import Card, Row, Section, Table
from phenomae.reporting.words import count
from phenomae.whole_files import whole_file

FILE = "wells.csv"
MAX_PLATES = 12
"""Plates that are shown; of more, those that are most unlike the others."""


def _views(evidence: Evidence) -> PlateViews:
    assert evidence.map.plates is not None
    return evidence.map.plates


def choose_plates(views: PlateViews, max_plates: int = MAX_PLATES) -> list[str]:
    """Return up to `max_plates` plates in their order: those with medians most unlike the others.

    That is the largest of a plate's robust z-scores (median and median absolute deviation) of its
    median number of cells, focus and distance. They are those with outlying plates first, so that a
    page of many plates shows what may be wrong.
    """
    summary = views.summary()
    if len(summary) <= max_plates:
        return views.plates
    scores = np.zeros(len(summary))
    for measure in views.measured:
        values = summary[measure].cast(pl.Float64).fill_null(np.nan).to_numpy()
        scores = np.fmax(scores, np.abs(robust_z(values)))
    chosen = np.sort(np.argsort(-scores, kind="stable")[:max_plates])
    return summary["plate"][chosen].to_list()


def _text(evidence: Evidence) -> str:
    views = _views(evidence)
    many = len(views.plates) > MAX_PLATES
    which = (
        f" Shown are the {MAX_PLATES} of {count(len(views.plates))} plates whose medians are most "
        "unlike the others."
        if many
        else ""
    )
    meanings = {
        "foreground": f"Cells: the share of {views.counted}, which grows with the number of cells "
        "and their size.",
        "focus": "Focus: sharpness relative to the median of the plate.",
        "distance": "Distance: of the profile of a well to the mean of the controls of "
        "its plate, where 1 is a typical control.",
    }
    explained = " ".join(meanings[name] for name in views.measured)
    return (
        f"The wells of each plate by row and column; dots are controls. {explained} Rows, columns "
        f"or corners that stand out are effects of the plate.{which}"
    )


def _table(evidence: Evidence) -> Table:
    views = _views(evidence)
    shown = set(choose_plates(views))
    rows = [
        Row(
            [
                row["plate"],
                count(row["wells"]),
                count(row["controls"]),
                *("–" if row[name] is None else f"{row[name]:.3f}" for name in views.measured),
            ]
        )
        for row in views.summary().iter_rows(named=True)
        if row["plate"] in shown
    ]
    columns = ["plate", "wells", "controls", *(f"{NAMES[name]}, median" for name in views.measured)]
    return Table("Plates", columns, [("", rows)])


def _cards(evidence: Evidence, folder: Path) -> list[tuple[str, list[Card]]]:
    views = _views(evidence)
    with whole_file(folder / FILE) as partial:
        views.wells.drop("row", "column").write_csv(partial)
    limits = Limits.of(views)
    cards = []
    for number, plate in enumerate(choose_plates(views), start=1):
        # Numbered, because names of plates may differ in upper and lower case only.
        picture = save(draw_view(views, plate, limits), folder, f"plate_{number:02d}")
        cards.append(Card(plate, [], [picture]))
    return [("", cards)]


def _ends(evidence: Evidence) -> str:
    ends = Limits.of(_views(evidence)).of_measures.items()
    listed = [f"{NAMES[measure]} {low:.3g} to {high:.3g}" for measure, (low, high) in ends]
    return (
        "Colours are the same on all plates, from blue at the 2nd percentile of all wells to "
        "yellow at the 98th: "
        f"{', '.join(listed)}."
    )


SECTION = Section(
    "plates",
    link="Plates",
    heading="Plates",
    needs=lambda evidence: (
        evidence.on_map is not None
        and evidence.on_map.plates is not None
        and bool(evidence.on_map.plates.measured)
    ),
    text=_text,
    table=_table,
    cards=_cards,
    notes=lambda evidence: [
        f"Distances in the table are those of wells that are no controls. {_ends(evidence)} The "
        f"file figures/{FILE} lists all wells."
    ],
    wide=True,
)
