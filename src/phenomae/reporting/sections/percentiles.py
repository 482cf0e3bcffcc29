"""Section: recall across percentiles, over the fraction of all pairs in the tails."""

from pathlib import Path

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.figures.curves import draw_curve
from phenomae.reporting.figures.style import Picture, save
from phenomae.reporting.sections.section import Section


def _draw(evidence: Evidence, folder: Path) -> Picture:
    return save(draw_curve(evidence.measured), folder, "curve")


SECTION = Section(
    "percentiles",
    link="Across percentiles",
    heading="Recall across percentiles",
    needs=lambda evidence: evidence.results is not None,
    text=lambda evidence: (
        "Recall rises with the fraction of all pairs that the tails contain. For a good map the "
        "line rises steeply at the left, where the tails contain only the most extreme cosines; "
        "the dashed diagonal is the expected recall of a random map."
    ),
    draw=_draw,
    caption=lambda evidence: (
        "The tails range from the lowest 1 % and the highest 1 % of all cosines to 50 % and 50 %, "
        "which is all pairs. The vertical line marks the first percentile pair of the figure above."
    ),
)
