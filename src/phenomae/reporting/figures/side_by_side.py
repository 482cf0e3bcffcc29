"""Figures that compare maps: recall per source, and recall across percentiles."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from phenomae.evaluation.recall.recall import Percentiles
from phenomae.reporting.figures.style import COLOURS, GREY, PAGE_INCHES, Drawing, legend_above
from phenomae.reporting.words import shorten, tails

_ROW_INCHES = 0.24
# With more maps than colours, marks and lines distinguish those of one colour.
_MARKS = "osD^"
_DASHES = ("-", "--", ":", "-.")
_SPREAD = 0.7  # height of a source's dots, as a fraction of the distance between two sources


def draw_recalls(recall: pl.DataFrame, percentiles: Percentiles) -> Drawing:
    """Draw one row per source, with the recall and the confidence interval of each map."""
    sources = recall["source"].unique(maintain_order=True).to_list()
    maps = recall["map"].unique(maintain_order=True).to_list()
    height = 1.0 + _ROW_INCHES * len(sources) * (len(maps) + 0.8)
    figure = Figure(figsize=(PAGE_INCHES, height), layout="constrained")
    ax = figure.subplots()
    ax.axvline(recall["chance"][0], color=GREY, lw=1.2, ls=(0, (4, 3)), label="chance")
    for index, name in enumerate(maps):
        rows = recall.filter(pl.col("map") == name)
        # Dots of the maps are shifted within the row of a source, so that intervals do not overlap.
        shift = _SPREAD * ((index + 0.5) / len(maps) - 0.5)
        places = [sources.index(source) + shift for source in rows["source"]]
        low, high = rows["recall"] - rows["ci_low"], rows["ci_high"] - rows["recall"]
        ax.errorbar(
            rows["recall"],
            places,
            # Clipped, because matplotlib refuses negative error bars (see flops_curves.py).
            xerr=[low.clip(0), high.clip(0)],
            fmt=_MARKS[index // len(COLOURS) % len(_MARKS)],
            ms=6,
            lw=1.6,
            capsize=2,
            color=COLOURS[index % len(COLOURS)],
            label=shorten(name),
        )
    ax.set_xlim(0, None)
    ax.set_xlabel(f"recall, {tails(*percentiles)}")
    ax.set_yticks(range(len(sources)), [shorten(source) for source in sources])
    ax.set_ylim(len(sources) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    legend_above(figure, ax)
    values = "; ".join(
        f"{row['map']}, {row['source']}: {row['recall']:.3f}" for row in recall.rows(named=True)
    )
    return Drawing(figure, f"Recall of known pairs by source and map. {values}.")


def draw_curves(curve: pl.DataFrame) -> Drawing:
    """Draw recall over the fraction of all pairs in the tails, per source, one line per map."""
    sources = curve["source"].unique(maintain_order=True).to_list()
    maps = curve["map"].unique(maintain_order=True).to_list()
    columns = min(3, len(sources))
    rows = -(-len(sources) // columns)
    side = PAGE_INCHES / max(columns, 2)
    figure = Figure(figsize=(PAGE_INCHES, 0.5 + rows * side), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax, source in zip(axes.flat, sources, strict=False):
        for index, name in enumerate(maps):
            line = curve.filter(pl.col("source") == source, pl.col("map") == name).sort("chance")
            ax.plot(
                # Empty tails recall nothing, so every curve starts at the origin.
                [0, *line["chance"]],
                [0, *line["recall"]],
                color=COLOURS[index % len(COLOURS)],
                lw=1.6,
                ls=_DASHES[index // len(COLOURS) % len(_DASHES)],
                label=shorten(name),
            )
        ax.plot([0, 1], [0, 1], color=GREY, lw=1.2, ls=(0, (4, 3)), label="chance")
        ax.set(xlim=(0, 1), ylim=(0, 1), title=shorten(source), xticks=(0, 0.5, 1))
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid()
    for ax in axes.flat[len(sources) :]:
        ax.set_axis_off()
    figure.supxlabel("fraction of all pairs in the tails", fontsize=9)
    figure.supylabel("recall", fontsize=9)
    legend_above(figure, axes[0, 0])
    return Drawing(figure, f"Recall across percentiles of {', '.join(sources)}, one line per map.")
