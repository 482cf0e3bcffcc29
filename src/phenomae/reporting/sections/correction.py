"""Section: what the correction changed: batch mixing and replicates, before and after."""

from pathlib import Path
from typing import Any

from phenomae.correction.diagnose import BATCH, NEAREST, OTHERS, POSITIONS, REPLICATES
from phenomae.reporting.evidence.corrections import Corrections
from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.figures.before_after import draw_before_after
from phenomae.reporting.figures.style import Picture, save
from phenomae.reporting.sections.section import Row, Section, Table
from phenomae.reporting.words import count, fraction, signed, with_interval

_SHOWN = (BATCH, NEAREST, REPLICATES, OTHERS, *POSITIONS.values())


def _corrections(evidence: Evidence) -> Corrections:
    assert evidence.map.corrections is not None
    return evidence.map.corrections


def _text(evidence: Evidence) -> str:
    found = _corrections(evidence)
    verdict = "" if found.verdict is None else f" V{found.verdict[1:]}."
    return (
        f"Correction: {found.words}.{verdict} kNN accuracy is the share of wells whose batch (or "
        "row, or column) their five nearest wells predict: it should fall to chance. Replicate "
        "retrieval is the share of wells whose nearest well on another plate is a replicate: it "
        "should rise."
    )


def _draw(evidence: Evidence, folder: Path) -> Picture | None:
    states = evidence.map.states
    return None if states is None else save(draw_before_after(states), folder, "correction")


def _caption(evidence: Evidence) -> str:
    states = evidence.map.states
    if states is None:
        return ""
    histograms = (
        " Below: cosines of pairs of wells on different plates, of replicates and of other "
        "perturbations; the further apart the two are, the better."
        if states.before.replicates is not None
        else ""
    )
    return (
        f"Above: {count(len(states.plates))} wells on the first two principal components of the "
        "profiles, centred on the controls and of length 1; one colour per plate. Plates that are "
        f"apart are batch effects.{histograms}"
    )


def _table(evidence: Evidence) -> Table | None:
    diagnosis = _corrections(evidence).diagnosis
    if diagnosis is None:
        return None
    rows = [
        _row(row)
        for row in diagnosis.iter_rows(named=True)
        if row["measure"] in _SHOWN and row["after"] is not None
    ]
    interval = "(95 % CI)".replace(" ", "\N{NO-BREAK SPACE}")
    columns = ["measure", "wells", "before", "after", "chance", f"difference {interval}", "change"]
    return Table("Before and after correction", columns, [("", rows)])


def _row(row: dict[str, Any]) -> Row:
    difference = ""
    if row["difference"] is not None:
        difference = with_interval(signed(row["difference"]), (row["low"], row["high"]))
    name = row["measure"]
    if name == BATCH:
        name = f"kNN {row['column']} accuracy"
    return Row(
        [
            name,
            f"{count(row['n'])} {row['wells']}",
            fraction(row["before"]),
            fraction(row["after"]),
            fraction(row["chance"]),
            difference,
            row["change"] or "",
        ]
    )


def _notes(evidence: Evidence) -> list[str]:
    notes = list(_corrections(evidence).warnings)
    if evidence.map.states is None:
        notes.append(
            "The wells before the correction were not found beside these: name their folder with "
            "--among to see both."
        )
    return notes


def _is_corrected(evidence: Evidence) -> bool:
    on_map = evidence.on_map
    if on_map is None or on_map.corrections is None:
        return False
    return on_map.corrections.diagnosis is not None or on_map.corrections.before is not None


SECTION = Section(
    "correction",
    link="Correction",
    heading="Before and after correction",
    needs=_is_corrected,
    text=_text,
    draw=_draw,
    caption=_caption,
    table=_table,
    notes=_notes,
)
