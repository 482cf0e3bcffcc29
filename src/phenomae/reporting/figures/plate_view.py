"""The figure of one plate: a grid of its wells for each measure, with the controls marked."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phenomae.reporting.evidence.plate_views import MEASURES, PlateViews
from phenomae.reporting.figures.plate_grids import name_wells
from phenomae.reporting.figures.style import COLOURS, GREY, Drawing

NAMES = {"foreground": "cells", "focus": "focus", "distance": "distance"}
_COLOUR_MAP = "cividis"  # readable with colour blindness
_WIDTH = 5.4  # inches; two figures are beside each other on a wide page
_GRID_INCHES = _WIDTH / len(MEASURES)
_ENDS = (0.02, 0.98)  # quantiles of all wells at the ends of the colours


@dataclass(frozen=True)
class Limits:
    """The ends of the colours of each measure, the same for all plates."""

    of_measures: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, views: PlateViews) -> "Limits":
        """Return the 2nd and 98th percentile of all wells."""
        found = {}
        for measure in views.measured:
            values = views.wells[measure].drop_nulls().to_numpy()
            low, high = np.quantile(values, _ENDS).tolist()
            found[measure] = (low, max(high, low + 1e-9))
        return cls(found)


def draw_view(views: PlateViews, plate: str, limits: Limits) -> Drawing:
    """Draw the wells of a plate by each measure; dots are controls."""
    controls = views.controls(plate)
    rows, columns = controls.shape
    height = 0.45 + (_GRID_INCHES - 0.25) * rows / columns
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    # Room for all measures, so that grids have the same size on every page.
    axes = figure.subplots(1, len(MEASURES))
    for ax, measure in zip(axes, views.measured, strict=False):
        _draw_grid(ax, views.grid(plate, measure), controls, limits.of_measures[measure])
        ax.set_title(NAMES[measure])
    for ax in axes[len(views.measured) :]:
        ax.set_axis_off()
    return Drawing(figure, _in_words(views, plate))


def _draw_grid(
    ax: Axes,
    grid: Float64[np.ndarray, "rows columns"],
    controls: Bool[np.ndarray, "rows columns"],
    limits: tuple[float, float],
) -> None:
    low, high = limits
    if np.isnan(grid).all():
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", color=GREY)
    ax.imshow(grid, cmap=_COLOUR_MAP, vmin=low, vmax=high, interpolation="none")
    _mark(ax, controls)
    name_wells(ax, grid.shape)


def _mark(ax: Axes, controls: Bool[np.ndarray, "rows columns"]) -> None:
    """Draw a dot in each control well."""
    down, across = np.nonzero(controls)
    # All dots are one path of short strokes with round ends: a marker each, or an image of them,
    # would be most of the page's bytes.
    gap = np.full(len(down), np.nan)
    x = np.column_stack([across, across + 0.01, gap]).ravel()
    y = np.column_stack([down, down, gap]).ravel()
    width = 0.4 * 72 * _GRID_INCHES / controls.shape[1]
    ax.plot(x, y, color=COLOURS[1], lw=width, solid_capstyle="round", scalex=False, scaley=False)


def _in_words(views: PlateViews, plate: str) -> str:
    row = views.summary().filter(pl.col("plate") == plate).row(0, named=True)
    values = [f"{NAMES[name]} {row[name]:.3g}" for name in MEASURES if row[name] is not None]
    return (
        f"The {row['wells']} wells of plate {plate} by row and column; medians: "
        f"{', '.join(values) or 'none'}; {row['controls']} controls are marked."
    )
