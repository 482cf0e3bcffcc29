"""Figure of the layout of a map: one point per row, coloured by group, one panel per grouping."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phenomae.reporting.figures.points import SHARPNESS, draw_points
from phenomae.reporting.figures.style import COLOURS, GREY, INK, PALE, Drawing
from phenomae.reporting.words import shorten

_PANEL_INCHES = 5.2
MAX_NAMED = 60  # rows whose names are written beside their points
_MAX_NUMBERED = 40  # groups whose name is written on them
_MAX_LEGEND = 12  # groups with a legend
_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.75}


@dataclass(frozen=True)
class Panel:
    """One colouring of the points."""

    title: str
    groups: Sequence[str | None]
    """Group of each row; rows in none are grey."""
    on_points: bool = False
    """Whether the names of groups are written on them; else there is a legend of a few groups."""


def draw_layout(
    points: Float[np.ndarray, "g 2"], names: Sequence[str], panels: Sequence[Panel]
) -> Drawing:
    """Draw the points once per panel; of up to 60 rows, their names are written in the first."""
    size = (_PANEL_INCHES * len(panels), _PANEL_INCHES + 0.5)
    figure = Figure(figsize=size, layout="constrained", dpi=SHARPNESS)
    for number, (ax, panel) in enumerate(
        zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True)
    ):
        _draw_panel(ax, points, panel)
        if number == 0 and len(names) <= MAX_NAMED:
            for name, place in zip(names, points.tolist(), strict=True):
                above = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
                ax.annotate(shorten(name, 16), place, fontsize=6.5, color=INK, **above)
    groupings = [
        f"by {panel.title} ({len(set(panel.groups) - {None})} groups)"
        for panel in panels
        if set(panel.groups) - {None}
    ]
    coloured = f", coloured {' and '.join(groupings)}" if groupings else ""
    return Drawing(figure, f"Layout of the {len(names)} rows of the map as points{coloured}.")


def _draw_panel(ax: Axes, points: Float[np.ndarray, "g 2"], panel: Panel) -> None:
    groups = _by_size(panel.groups)
    colours = _colours(len(groups))
    own = dict(zip(groups, colours, strict=True))
    # In an order of their own, because groups drawn last would hide the others.
    order = np.random.default_rng(0).permutation(len(points))
    shown = [own.get(panel.groups[row] or "", PALE) for row in order.tolist()]
    area = float(np.clip(6000 / len(points), 3, 30))
    draw_points(ax, points[order], shown, area)
    ax.set(xticks=[], yticks=[], aspect="equal", title=panel.title[:1].upper() + panel.title[1:])
    ax.set_box_aspect(1)
    ax.set_adjustable("datalim")
    ax.spines[:].set_visible(True)
    ax.spines[:].set(color=PALE, linewidth=0.6)
    if panel.on_points:
        for name in groups[:_MAX_NUMBERED]:
            inside = points[[group == name for group in panel.groups]]
            centre = np.median(inside, axis=0).tolist()
            ax.annotate(name, centre, fontsize=7.5, ha="center", va="center", bbox=_WHITE)
    elif 0 < len(groups) <= _MAX_LEGEND:
        for name in groups:
            ax.scatter([], [], 20, color=own[name], label=shorten(name))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, handletextpad=0.2)
    elif groups:
        ax.set_xlabel(f"{len(groups)} groups", color=GREY)


def _by_size(groups: Sequence[str | None]) -> list[str]:
    """Return the different groups, the largest first, and of as many rows in sorted order."""
    names, counts = np.unique([name for name in groups if name is not None], return_counts=True)
    return [str(names[place]) for place in np.lexsort((names, -counts))]


def _colours(count: int) -> list[tuple[float, ...] | str]:
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    # The ten dark colours of the map, then the ten pale ones.
    wheel = [*colormaps["tab20"](np.arange(20)).tolist()]
    wheel = [tuple(colour) for colour in (*wheel[::2], *wheel[1::2])]
    return [wheel[number % len(wheel)] for number in range(count)]
