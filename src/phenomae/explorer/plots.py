"""What all plots of the page have in common."""

from typing import Any

from bokeh.plotting import figure

# In dark mode a plot is inverted and its hues turned back, because a canvas does not know of the
# style sheet of the page.
DARK = "@media (prefers-color-scheme: dark) { :host { filter: invert(.88) hue-rotate(180deg); } }"


def make_plot(**look: Any) -> figure:
    """Return an empty plot as wide as its place, without a toolbar."""
    plot = figure(
        sizing_mode="stretch_width",
        toolbar_location=None,
        output_backend="canvas",
        stylesheets=[DARK],
        **look,
    )
    plot.outline_line_color = None
    plot.grid.grid_line_color = "#e8ebf0"
    return plot
