"""The picture of a plate: grids of its wells per channel and measure, with flagged wells marked."""

import numpy as np
import polars as pl
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from phenomae.records import plate_shape, row_letters, well_place
from phenomae.reporting.figures.style import COLOURS, GREY, INK, Drawing
from phenomae.reporting.words import shorten

_MEASURES = {
    "focus": "focus",
    "foreground": "foreground",
    "mean_intensity": "mean intensity",
}
# Flag: measure in whose grid it is marked, marker and colour.
_MARKS = {
    "blurred": ("focus", "o", COLOURS[1]),
    "empty": ("foreground", "x", COLOURS[1]),
    "debris": ("mean_intensity", "s", COLOURS[1]),
    "saturated": ("mean_intensity", "^", COLOURS[3]),
}
_GRID_INCHES = 2.6  # width of a grid
_MARK_POINTS = 50 * _GRID_INCHES  # width of all marks of a row of wells, 70 % of the grid
_COLOUR_MAP = "cividis"  # readable with colour blindness
_LONGEST_NAME = 24


def draw_plate(plate: str, fields: pl.DataFrame) -> Drawing:
    """Draw the wells of a plate from the rows of fields.csv: rows are measures, columns channels.

    Colours are means over the fields of a well, up to 3 robust standard deviations from the median
    of the plate and channel; a well is marked if one of its fields is flagged.
    """
    channels = fields["channel"].unique(maintain_order=True).to_list()
    places = np.array([well_place(name) for name in fields["well"]])
    shape = plate_shape(*(places.max(axis=0) + 1))
    size = 0.6 + _GRID_INCHES * len(channels), 0.9 + 3 * (_GRID_INCHES * shape[0] / shape[1] + 0.35)
    figure = Figure(figsize=size, layout="constrained")
    grids = figure.subplots(len(_MEASURES), len(channels), squeeze=False)
    for column, channel in zip(grids.T, channels, strict=True):
        wells = _average(fields.filter(pl.col("channel") == channel))
        for ax, measure in zip(column, _MEASURES, strict=True):
            _draw_grid(ax, wells, measure, shape)
            ax.set_title(f"{shorten(channel, _LONGEST_NAME)}: {_MEASURES[measure]}")
    handles = [_mark(grids[0, 0], [], [], flag, 5.0) for flag in _MARKS]
    figure.legend(handles, list(_MARKS), loc="outside lower left", ncols=len(_MARKS))
    figure.suptitle(plate, x=0.01, ha="left", fontsize=11)
    return Drawing(figure, _in_words(plate, fields))


def _average(fields: pl.DataFrame) -> pl.DataFrame:
    return fields.group_by("well", maintain_order=True).agg(
        pl.col(*_MEASURES).mean(), pl.col(*_MARKS).any()
    )


def _draw_grid(ax: Axes, wells: pl.DataFrame, measure: str, shape: tuple[int, int]) -> None:
    rows, columns = np.array([well_place(name) for name in wells["well"]]).T
    values = wells[measure].to_numpy()
    grid = np.full(shape, np.nan)
    grid[rows, columns] = values
    low, high = _limits(values)
    ax.imshow(grid, cmap=_COLOUR_MAP, vmin=low, vmax=high, interpolation="none")
    ax.set_facecolor("#ffffff")
    name_wells(ax, shape)
    ax.set_xlabel(f"{low:.3g} to {high:.3g}", color=GREY, fontsize=7, labelpad=1)
    for flag, (of_measure, _, _) in _MARKS.items():
        if of_measure == measure:
            marked = wells[flag].to_numpy()
            _mark(ax, columns[marked], rows[marked], flag, _MARK_POINTS / shape[1])


def _limits(values: Float64[np.ndarray, " n"]) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0, 1.0
    # Of a saturated well, the mean is many times that of all others.
    median = np.median(known)
    reach = 3 * 1.4826 * np.median(np.abs(known - median))
    low, high = np.clip([median - reach, median + reach], known.min(), known.max())
    return float(low), float(max(high, low + 1e-9))


def _mark(ax: Axes, x: ArrayLike, y: ArrayLike, flag: str, size: float) -> Line2D:
    _, marker, colour = _MARKS[flag]
    (line,) = ax.plot(
        x,
        y,
        linestyle="none",
        marker=marker,
        markersize=min(size, 8),
        markeredgecolor=colour,
        markerfacecolor="none",
        markeredgewidth=1.2,
    )
    return line


def name_wells(ax: Axes, shape: tuple[int, int]) -> None:
    """Write some of the column numbers below a grid of wells, and row letters at its left."""
    rows, columns = shape
    step = max(1, round(columns / 8))
    ax.set_xticks(range(0, columns, step), [str(1 + k) for k in range(0, columns, step)])
    letters = [row_letters(row) for row in range(rows)]
    step = max(1, round(rows / 8))
    ax.set_yticks(range(0, rows, step), letters[::step])
    ax.tick_params(length=0, labelsize=7, labelcolor=INK)


def _in_words(plate: str, fields: pl.DataFrame) -> str:
    counts = fields.group_by("well").agg(pl.col(*_MARKS).any()).select(pl.col(*_MARKS).sum()).row(0)
    listed = ", ".join(f"{count} {flag}" for flag, count in zip(_MARKS, counts, strict=True))
    return f"The wells of plate {plate} by focus, foreground and mean intensity; marked: {listed}."
