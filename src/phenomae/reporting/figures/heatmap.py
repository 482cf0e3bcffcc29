"""Clustered heat map of the cosines of a map, with names of genes and known complexes beside it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from phenomae.reporting.evidence.clusters import Clusters
from phenomae.reporting.evidence.known_complexes import NONE
from phenomae.reporting.figures.null_scale import NullScale
from phenomae.reporting.figures.style import COLOURS, GREY, PALE, Drawing
from phenomae.reporting.words import shorten

MAX_NAMED = 200  # rows; the names of more rows would be too small to read
_ONE_TIER = 80  # names that fit into one column; more alternate between two columns
_LONGEST_NAME = 24
_LETTER = 0.62  # width of a letter relative to its height
_POINTS = 72
_STRIP = 0.16  # width of a strip of complexes, in inches
_BLOCK_NAMES = 2.3  # room for the names of blocks, in inches
_MAX_BLOCKS = 45  # blocks that are named, so that names do not overlap
_NAMED_BLOCK = 3  # rows; clustering makes blocks of two, also of noise
_GENES_OF_BLOCK = 3  # that are named

Complexes = Mapping[str, Int[np.ndarray, " g"]]
"""Number of the complex of each row in the clustered order, by source."""


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


def draw_heatmap(names: list[str], clusters: Clusters, complexes: Complexes) -> Drawing:
    """Draw the cosines in the clustered order, and strips of known complexes at the right.

    Up to `MAX_NAMED` rows have their names and a dendrogram; of more rows the blocks are named.
    """
    ordered = [names[row] for row in clusters.order]
    scale = NullScale.fit(clusters.null, clusters.cosines)
    named = len(names) <= MAX_NAMED
    side = min(9.0, max(4.0, 0.16 * len(names))) if named else 7.0
    shown = [shorten(name, _LONGEST_NAME) for name in ordered]
    labels = _Labels.fit(shown, side * _POINTS) if named else None
    room = labels.room / _POINTS if labels else 0.0
    left, bottom, top = max(room, 0.25), 0.85 + room, 0.7 if named else 0.1
    right = 0.25 + _STRIP * 1.5 * len(complexes) + (0.0 if named else _BLOCK_NAMES)
    width, height = left + side + right, bottom + side + top
    figure = Figure(figsize=(width, height))

    def add(x: float, y: float, wide: float, high: float) -> Axes:
        return figure.add_axes((x / width, y / height, wide / width, high / height))

    ax = add(left, bottom, side, side)
    image = scale.draw(ax, clusters.cosines)
    ax.set(xticks=[], yticks=[], aspect="auto")
    at = left + side
    for codes in complexes.values():
        at += 0.5 * _STRIP
        _draw_strip(add(at, bottom, _STRIP, side), codes, clusters)
        at += _STRIP
    if labels:
        _write_names(ax, labels)
        _draw_tree(add(left, bottom + side + 0.04, side, top - 0.1), clusters.tree)
    else:
        _name_blocks(add(at, bottom, 0.1, side), ordered, clusters, scale)
    scale.draw_bar(figure, image, cax=add(left + 0.35, 0.62, 3.2, 0.13))
    return Drawing(figure, _in_words(len(names), scale, complexes))


def find_blocks(links: Float64[np.ndarray, " links"], threshold: float) -> list[range]:
    """Return stretches of `_NAMED_BLOCK` rows or more, all similar to the next, the longest first.

    `links` has the similarity of each row and the next one, which is to be above the threshold.
    """
    inside = np.concatenate([[False], links > threshold, [False]])
    edges = np.flatnonzero(np.diff(inside.astype(np.int8)))
    blocks = [range(start, end + 1) for start, end in edges.reshape(-1, 2).tolist()]
    return sorted((block for block in blocks if len(block) >= _NAMED_BLOCK), key=len, reverse=True)


def colour_strip(codes: Int[np.ndarray, " g"]) -> Float64[np.ndarray, "g 3"]:
    """Return the colour of each row: of its complex, if a row beside it is of the same complex.

    Rows in a complex that no other member is beside are pale, rows in none white. With a colour for
    every member the strip of a map of noise would be as colourful as that of a good map.
    """
    palette = np.array([colors.to_rgb(colour) for colour in COLOURS])
    same = np.concatenate([[False], (codes[1:] == codes[:-1]) & (codes[1:] != NONE), [False]])
    beside = same[1:] | same[:-1]
    strip = np.ones((len(codes), 3))
    strip[codes != NONE] = colors.to_rgb(PALE)
    # Neighbouring complexes differ in colour, because they are numbered by first appearance.
    strip[beside] = palette[codes[beside] % len(palette)]
    return strip


def _draw_strip(ax: Axes, codes: Int[np.ndarray, " g"], clusters: Clusters) -> None:
    _, height = _extent(clusters)
    ends = (-0.5, 0.5, len(codes) / clusters.rows_per_cell - 0.5, -0.5)
    ax.imshow(colour_strip(codes)[:, None], interpolation="none", aspect="auto", extent=ends)
    ax.set(xticks=[], yticks=[], ylim=(height, -0.5))
    ax.spines[:].set_visible(True)
    ax.spines[:].set(color=GREY, linewidth=0.4)


def _extent(clusters: Clusters) -> tuple[float, float]:
    """Return the upper and lower end of the heat map's vertical axis."""
    return -0.5, len(clusters.cosines) - 0.5


def _name_blocks(ax: Axes, names: list[str], clusters: Clusters, scale: NullScale) -> None:
    """Write names of the first genes of the largest blocks at the right of the heat map."""
    _, height = _extent(clusters)
    ax.set(xlim=(0, 1), ylim=(height, -0.5))
    ax.set_axis_off()
    spacing = (height + 0.5) / _MAX_BLOCKS
    taken: list[float] = []
    for block in find_blocks(clusters.null.standardise(clusters.links), scale.threshold):
        place = (block.start + len(block) / 2) / clusters.rows_per_cell - 0.5
        if all(abs(place - other) >= spacing for other in taken):
            taken.append(place)
            first = [shorten(names[row], 12) for row in block[:_GENES_OF_BLOCK]]
            more = len(block) - len(first)
            text = " ".join(first) + (f" +{more}" if more else "")
            ax.text(0.6, place, text, fontsize=7, va="center")


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


def _in_words(count: int, scale: NullScale, complexes: Complexes) -> str:
    beside = f"; strips of known complexes of {', '.join(complexes)} beside it" if complexes else ""
    return (
        f"Heat map of the cosines of {count} rows of the map in standard deviations of the null "
        "distribution, clustered so that similar rows are neighbours; red is similar, blue "
        f"opposite, and white less than {scale.threshold:.1f} from the mean{beside}."
    )
