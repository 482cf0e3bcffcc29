"""The figure of `ask enrichment`: odds ratios of pairs and of genes, by source, beside chance."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from phenomae.evaluation.questions.question import Tables
from phenomae.evaluation.recall.baselines import THESE
from phenomae.reporting.figures.style import COLOURS, GREY, PAGE_INCHES, Drawing
from phenomae.reporting.words import shorten

_ROW_INCHES = 0.4
_CHANCE = {"color": GREY, "lw": 1.4, "label": "chance"}


def draw_answer(tables: Tables, *_: Any) -> Drawing:
    """Draw enriched.csv."""
    return draw_enrichment(tables["enriched.csv"])


def draw_enrichment(table: pl.DataFrame) -> Drawing:
    """Draw one row per source and fraction: odds ratios of all pairs, and of genes."""
    figure = Figure(figsize=(PAGE_INCHES, 1.2 + _ROW_INCHES * len(table)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(table))
    _draw_pairs(left, table)
    right.scatter(table["gene_chance"], places, marker="|", s=160, **_CHANCE)
    right.plot(table["gene_odds_ratio"], places, "o", color=COLOURS[0], ms=7)
    for ax, title in ((left, "All pairs"), (right, "Genes, geometric mean")):
        ax.set(xscale="log", xlabel="odds ratio")
        ax.set_title(title)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x")
    several = table["top"].n_unique() > 1
    names = [
        f"{shorten(source)}, {100 * top:g} %" if several else shorten(source)
        for source, top in table.select("source", "top").iter_rows()
    ]
    left.set_yticks(places, names)
    # Reversed, so that the first source is at the top.
    left.set_ylim(len(table) - 0.5, -0.5)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return Drawing(figure, _in_words(table))


def _draw_pairs(ax: Axes, table: pl.DataFrame) -> None:
    ax.axvline(1, ls=(0, (4, 3)), **_CHANCE)
    # A logarithmic axis has no place for 0 and infinity.
    shown = pl.col("odds_ratio", "ci_low", "ci_high")
    table = table.with_columns(pl.when(shown.is_finite() & (shown > 0)).then(shown))
    odds = table["odds_ratio"]
    # Without an interval the bar has no length. Clipped, because matplotlib refuses negative ones.
    ends = [odds - table["ci_low"], table["ci_high"] - odds]
    reach = [end.fill_null(0.0).clip(0) for end in ends]
    bars = {"fmt": "o", "ms": 7, "capsize": 3, "lw": 1.4, "color": COLOURS[0]}
    ax.errorbar(odds, range(len(table)), xerr=reach, label=THESE, **bars)


def _in_words(table: pl.DataFrame) -> str:
    parts = [
        f"{source} {odds:.3g} of all pairs, {of_genes:.3g} of genes (chance {chance:.3g})"
        for source, odds, of_genes, chance in table.select(
            "source", "odds_ratio", "gene_odds_ratio", "gene_chance"
        ).iter_rows()
    ]
    return f"Odds ratios of known pairs among the most similar, by source: {'; '.join(parts)}."
