"""Dot plot of a map beside its baselines: recall, and paired differences, with intervals."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phenomae.evaluation.recall.baselines import THESE
from phenomae.reporting.evidence.baselines import Comparison, Entry, with_missing
from phenomae.reporting.figures.style import COLOURS, GREY, INK, PAGE_INCHES, Drawing
from phenomae.reporting.words import shorten

_ROW_INCHES = 0.24
_PAPER = {"fc": "white", "ec": "none", "pad": 1.5}  # covers the line of chance behind words


def draw_baselines(
    comparisons: Sequence[Comparison], missing: Mapping[str, list[str]], chance: float
) -> Drawing:
    """Draw one row per map, in blocks of sources: recall at the left, difference at the right.

    The first block has a row for each of the `missing` kinds.
    """
    places: list[tuple[float, Entry | str]] = []
    headings: list[tuple[float, str]] = []
    top = 0.0
    for number, part in enumerate(comparisons):
        rows = with_missing(part, missing if number == 0 else {})
        headings.append((top - 0.9, part.source))
        places += [(top + row, entry) for row, entry in enumerate(rows)]
        # One row is left free for the name of the next source.
        top += len(rows) + 1
    bottom = places[-1][0]
    height = 0.55 + _ROW_INCHES * (bottom + 2)
    figure = Figure(figsize=(PAGE_INCHES, height), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    left.axvline(chance, color=GREY, lw=1.2, ls=(0, (4, 3)))
    right.axvline(0, color=GREY, lw=1.2)
    for place, entry in places:
        _draw_row(left, right, place, entry)
    for place, source in headings if len(comparisons) > 1 else []:
        left.text(0, place, shorten(source, 60), fontweight="bold", va="center", bbox=_PAPER)
    above = 1.3 if len(comparisons) > 1 else 0.7
    left.set_ylim(bottom + 0.7, -above)
    _label(left, right, [entry for _, entry in places], [place for place, _ in places])
    return Drawing(figure, _in_words(comparisons))


def _draw_row(left: Axes, right: Axes, place: float, entry: Entry | str) -> None:
    if isinstance(entry, str):
        words = {"color": GREY, "va": "center", "fontstyle": "italic", "bbox": _PAPER}
        left.text(0, place, "missing", **words)
        return
    colour = COLOURS[0] if not entry.kind else INK
    _draw_mark(left, place, entry.recall, entry.interval, colour)
    if entry.difference is not None:
        _draw_mark(right, place, entry.difference, entry.difference_interval, colour)


def _draw_mark(
    ax: Axes, place: float, value: float, interval: tuple[float, float] | None, colour: str
) -> None:
    # Hollow without an interval, so that it does not look like an interval of zero width.
    ax.plot(value, place, "o", ms=5.5, color=colour, mfc=colour if interval else "white", zorder=3)
    if interval:
        ax.plot(interval, (place, place), "|-", color=colour, lw=1.4, ms=5)


def _label(left: Axes, right: Axes, rows: Sequence[Entry | str], places: Sequence[float]) -> None:
    """Label the rows and the axes."""
    names = [row if isinstance(row, str) else shorten(row.name) for row in rows]
    left.set_yticks(places, names)
    left.set_xlim(0, None)
    left.set_xlabel("recall")
    right.set_xlabel("difference")
    for ax in (left, right):
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x")


def _in_words(comparisons: Sequence[Comparison]) -> str:
    parts = [
        f"{part.source}: " + ", ".join(f"{entry.name} {entry.recall:.3f}" for entry in part.entries)
        for part in comparisons
    ]
    return f"Recall of {THESE} and of baselines, with differences. {'; '.join(parts)}."
