"""Clustered heat map of the cosines of a map, with names and dendrogram for small maps."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from phenomae.explore.evidence.clusters import Clusters
from phenomae.explore.figures.style import GREY, Drawing
from phenomae.explore.words import shorten

COLOUR_MAP = "RdBu_r"
MAX_NAMED = 200  # rows; the names of more rows would be too small to read
_ONE_TIER = 80  # names that fit into one column; more alternate between two columns
_LONGEST_NAME = 24
_LETTER = 0.62  # width of a letter relative to its height
_POINTS = 72


@dataclass(frozen=True)
class _Labels:
    """Names along one side of the heat map; many names alternate between two columns."""

    names: list[str]
    tiers: int
    size: float
    """Font size in points."""
    length: float
    """Length of the longest name in points."""

    @property
    def room(self) -> float:
        return self.tiers * self.length

    @classmethod
    def fit(cls, names: list[str], side: float) -> "_Labels":
        tiers = 1 if len(names) <= _ONE_TIER else 2
        size = min(9.0, 0.8 * tiers * side / len(names))
        return cls(names, tiers, size, max(map(len, names)) * size * _LETTER + 8)


def draw_heatmap(names: list[str], clusters: Clusters) -> Drawing:
    """Draw the cosines in the clustered order, with names and dendrogram up to `MAX_NAMED` rows."""
    named = len(names) <= MAX_NAMED
    side = min(9.0, max(4.0, 0.16 * len(names))) if named else 7.0
    shown = [shorten(names[row], _LONGEST_NAME) for row in clusters.order]
    labels = _Labels.fit(shown, side * _POINTS) if named else None
    room = labels.room / _POINTS if labels else 0.0
    left, bottom, top = max(room, 0.25), 0.75 + room, 0.7 if named else 0.1
    width, height = left + side + 0.25, bottom + side + top
    figure = Figure(figsize=(width, height))

    def add(x: float, y: float, wide: float, high: float) -> Axes:
        return figure.add_axes((x / width, y / height, wide / width, high / height))

    limit = symmetric_limit(clusters.cosines)
    ax = add(left, bottom, side, side)
    image = _draw_cells(ax, clusters.cosines, limit)
    if labels:
        _write_names(ax, labels)
        _draw_tree(add(left, bottom + side + 0.04, side, top - 0.1), clusters.tree)
    _draw_scale(add(left + 0.2, 0.5, 2.6, 0.13), image, limit)
    return Drawing(figure, _in_words(len(names), limit))


def symmetric_limit(cosines: Float64[np.ndarray, "cells cells"]) -> float:
    """Return the absolute cosine at which the colour scale ends on both sides.

    The limit is the 99th percentile of the absolute cosines off the diagonal, rounded up to a
    multiple of 0.05: neither the diagonal nor a few near-duplicates then make the rest of the map
    pale. The limit is at least 0.2, so that a map of noise looks pale.
    """
    others = np.abs(cosines[np.triu_indices(len(cosines), k=1)])
    limit = np.quantile(others, 0.99) if len(others) else 1.0
    return min(1.0, max(0.2, math.ceil(20 * limit - 1e-9) / 20))


def _draw_cells(ax: Axes, cosines: Float64[np.ndarray, "cells cells"], limit: float) -> AxesImage:
    # Without interpolation the SVG has one pixel per cell, which viewers scale without blurring.
    image = ax.imshow(
        cosines, cmap=COLOUR_MAP, vmin=-limit, vmax=limit, interpolation="none", aspect="auto"
    )
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return image


def _write_names(ax: Axes, labels: _Labels) -> None:
    for tier in range(labels.tiers):
        places = range(tier, len(labels.names), labels.tiers)
        names = [labels.names[place] for place in places]
        ax.set_xticks(places, names, minor=bool(tier), rotation=90)
        ax.set_yticks(places, names, minor=bool(tier))
        ax.tick_params(
            which="minor" if tier else "major",
            labelsize=labels.size,
            length=3 + tier * labels.length,
            width=0.5,
            pad=1.5,
        )


def _draw_tree(ax: Axes, tree: Float64[np.ndarray, "merges 4"]) -> None:
    from scipy.cluster.hierarchy import dendrogram

    drawn = dendrogram(tree, no_plot=True)
    # scipy places leaf k at x = 10 k + 5, and the heat map at x = k.
    across = (np.array(drawn["icoord"]) - 5) / 10
    lines = np.stack([across, np.array(drawn["dcoord"])], axis=-1)
    ax.add_collection(LineCollection(list(lines), colors=GREY, linewidths=0.7))
    low, high = 0.8 * tree[0, 2], 1.02 * tree[-1, 2]  # no branch is below the first merge
    ax.set(xlim=(-0.5, len(tree) + 0.5), ylim=(low, high) if low < high else (0, 1))
    ax.set_axis_off()


def _draw_scale(ax: Axes, image: AxesImage, limit: float) -> None:
    assert ax.figure is not None
    scale = ax.figure.colorbar(image, cax=ax, orientation="horizontal")
    below, above = ("≤ ", "≥ ") if limit < 1 else ("", "")
    ends = [f"{below}−{limit:g}\nopposite", "0\ncosine", f"{above}{limit:g}\nsimilar"]
    scale.set_ticks([-limit, 0, limit], labels=ends)
    ax.spines[:].set_visible(False)
    scale.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def _in_words(count: int, limit: float) -> str:
    return (
        f"Heat map of the cosines of {count} rows of the map, clustered so that similar rows are "
        f"neighbours; red is similar, blue opposite, and the colours end at {limit:g}."
    )
