"""Dot plot of the recall of every source, with chance and null distribution."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phenomae.evaluation.recall.baselines import SHUFFLED, THESE
from phenomae.reporting.evidence.results import BenchmarkTables, at
from phenomae.reporting.figures.style import COLOURS, GREY, PAGE_INCHES, Drawing, legend_above
from phenomae.reporting.words import shorten, tails

_ROW_INCHES = 0.4


def draw_recall(results: BenchmarkTables) -> Drawing:
    """Draw one panel per percentile pair, one row per source."""
    panels, sources = results.percentiles, results.main["source"].to_list()
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    height = rows * (0.9 + _ROW_INCHES * len(sources)) + 0.4
    figure = Figure(figsize=(PAGE_INCHES, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    # strict=False: for three percentile pairs, for example, the grid has four panels.
    for ax, percentiles in zip(axes.flat, panels, strict=False):
        _draw_panel(ax, at(results.recall, percentiles), results.shuffles, results.has_intervals)
        ax.set_title(tails(*percentiles).capitalize())
    for ax in axes.flat[: len(panels)]:
        ax.set_xlim(0, 1.1 * ax.dataLim.x1)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    axes[0, 0].set_yticks(range(len(sources)), [shorten(source) for source in sources])
    # Reversed, so that the first source is at the top; -0.7 leaves room for its number.
    axes[0, 0].set_ylim(len(sources) - 0.5, -0.7)
    legend_above(figure, axes[0, 0], handletextpad=0.4)
    return Drawing(figure, _in_words(results))


def _draw_panel(ax: Axes, table: pl.DataFrame, shuffles: int, intervals: bool) -> None:
    places, recalls, chance = range(len(table)), table["recall"], table["chance"][0]
    ax.axvline(chance, color=GREY, lw=1.2, ls=(0, (4, 3)), label="chance")
    ax.hlines(places, chance, recalls, color=COLOURS[0], lw=2, alpha=0.3)
    ax.plot(recalls, places, "o", color=COLOURS[0], ms=8, zorder=4, label=THESE)
    if intervals:
        reach = [recalls - table["ci_low"], table["ci_high"] - recalls]
        whiskers = {"fmt": "none", "ecolor": COLOURS[0], "capsize": 3, "lw": 1.2, "zorder": 4}
        # Clipped, because matplotlib refuses negative error bars (see flops_curves.py).
        ax.errorbar(recalls, places, xerr=[part.clip(0) for part in reach], **whiskers)
    for place, recall in zip(places, recalls, strict=True):
        above = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
        ax.annotate(f"{recall:.3f}", (recall, place), fontweight="bold", **above)
    if shuffles:
        spread = table["sd"].fill_null(0)
        name = f"{SHUFFLED}, mean ± sd" if shuffles > 1 else SHUFFLED
        bars = {"fmt": "|", "ms": 9, "capsize": 3, "lw": 2, "color": "#3b4554", "zorder": 3}
        ax.errorbar(table["mean"], places, xerr=spread, label=name, **bars)
    ax.set_xlabel("recall")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")


def _in_words(results: BenchmarkTables) -> str:
    parts = [
        f"{source} {recall:.3f}"
        for source, recall in results.main.select("source", "recall").iter_rows()
    ]
    chance = f"chance {results.main['chance'][0]:.3g}"
    return f"Recall by source, with {chance}: {', '.join(parts)}."
