"""Figure of known pairs by percentile: how far from a flat histogram each source is."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from phenomae.evaluation.known_pairs import MapPairs
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.reporting.figures.style import COLOURS, GREY, PAGE_INCHES, PALE, Drawing
from phenomae.reporting.words import shorten

MAX_SOURCES = 9
_BINS = 20
_COLUMNS = 3


def draw_percentiles(pairs: MapPairs) -> Drawing:
    """Draw a histogram of the percentiles of the known pairs of each source, `MAX_SOURCES` at most.

    Bins that are wholly in a tail are coloured as found: similar pairs and opposite pairs.
    """
    sources = pairs.known["source"].unique(maintain_order=True).to_list()[:MAX_SOURCES]
    columns = min(_COLUMNS, len(sources))
    rows = -(-len(sources) // columns)
    figure = Figure(figsize=(PAGE_INCHES, 0.5 + 1.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for ax, source in zip(axes.flat, sources, strict=False):
        values = pairs.known.filter(source=source)["percentile"].to_numpy()
        _draw_source(ax, values, pairs.percentiles)
        ax.set_title(shorten(source))
    for ax in axes.flat[len(sources) :]:
        ax.set_axis_off()
    figure.supxlabel("percentile of the cosine among all pairs of the map", fontsize=9)
    figure.supylabel("share of known pairs", fontsize=9)
    return Drawing(figure, _in_words(pairs))


def _draw_source(ax: Axes, values: Float64[np.ndarray, " n"], percentiles: Percentiles) -> None:
    low, high = percentiles
    counts, edges = np.histogram(values, np.linspace(0, 1, _BINS + 1))
    colours = [
        COLOURS[0] if end <= low + 1e-9 else COLOURS[1] if start >= high - 1e-9 else PALE
        for start, end in pairwise(edges.tolist())
    ]
    ax.bar(edges[:-1], counts / counts.sum(), 0.9 / _BINS, align="edge", color=colours)
    ax.axhline(1 / _BINS, color=GREY, lw=1.2, ls=(0, (4, 3)))
    ax.set(xlim=(0, 1), xticks=(0, 0.5, 1))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _in_words(pairs: MapPairs) -> str:
    parts = [
        f"{source}: {similar} of {total} similar, {opposite} opposite"
        for source, total, similar, opposite in pairs.counts()
        .select("source", "pairs", "similar", "opposite")
        .iter_rows()
    ]
    return f"Histograms of the percentiles of known pairs by source. {'; '.join(parts)}."
