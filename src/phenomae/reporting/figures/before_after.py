"""Figure of wells before and after a correction: by plate, and cosines of replicates and others."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from phenomae.reporting.evidence.before_after import BINS, BeforeAfter, State
from phenomae.reporting.figures.points import SHARPNESS, draw_points
from phenomae.reporting.figures.style import COLOURS, GREY, PAGE_INCHES, Drawing, legend_above

_POINT = 6.0  # area in square points


def plate_colours(names: list[str]) -> dict[str, tuple[float, ...] | str]:
    """Return a colour for each of the names, in their sorted order."""
    different = sorted(set(names))
    if len(different) <= len(COLOURS):
        return dict(zip(different, COLOURS, strict=False))
    steps = np.linspace(0, 1, len(different))
    return dict(zip(different, map(tuple, colormaps["turbo"](steps).tolist()), strict=True))


def draw_before_after(found: BeforeAfter) -> Drawing:
    """Draw wells by plate on two principal components, and histograms of cosines, before and after.

    Without replicates on two plates there are no histograms.
    """
    has_cosines = found.before.replicates is not None
    rows = 1 + has_cosines
    size = (PAGE_INCHES, 0.2 + 3.0 + 2.0 * has_cosines)
    figure = Figure(figsize=size, layout="constrained", dpi=SHARPNESS)
    axes = figure.subplots(rows, 2, squeeze=False, height_ratios=[3, 2][:rows])
    colours = plate_colours(found.plates)
    for column, (name, state) in enumerate((("Before", found.before), ("After", found.after))):
        _draw_places(axes[0, column], state, [colours[plate] for plate in found.plates])
        axes[0, column].set_title(f"{name} correction")
        if has_cosines:
            _draw_cosines(axes[1, column], state)
    if has_cosines:
        axes[1, 0].set_ylabel("share of pairs")
        highest = max(ax.dataLim.y1 for ax in axes[1])
        for ax in axes[1]:
            ax.set_ylim(0, 1.05 * highest)
        legend_above(figure, axes[1, 0])
    return Drawing(figure, _in_words(found))


def _draw_places(ax: Axes, state: State, colours: list[tuple[float, ...] | str]) -> None:
    # In an order of their own, because plates drawn last would hide the others.
    order = np.random.default_rng(0).permutation(len(colours)).tolist()
    draw_points(ax, state.places[order], [colours[row] for row in order], _POINT)
    first, second = (f"{share:.0%}" for share in state.explained)
    ax.set(xlabel=f"component 1 ({first})", ylabel=f"component 2 ({second})", xticks=[], yticks=[])


def _draw_cosines(ax: Axes, state: State) -> None:
    for shares, name, colour in (
        (state.others, "other pairs", GREY),
        (state.replicates, "replicates", COLOURS[1]),
    ):
        if shares is not None:
            ax.stairs(shares, BINS, color=colour, lw=1.6, label=name)
    ax.set(xlim=(-1, 1), xticks=(-1, 0, 1), xlabel="cosine of wells on different plates")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _in_words(found: BeforeAfter) -> str:
    wells, plates = len(found.plates), len(set(found.plates))
    histograms = (
        ", and histograms of the cosines of replicates and of other pairs"
        if found.before.replicates is not None
        else ""
    )
    return (
        f"{wells} wells of {plates} plates on two principal components, coloured by plate, before "
        f"and after correction{histograms}."
    )
