"""What all plots of the page have in common."""

from typing import Any

from bokeh.plotting import figure

# A plot is on a light card in dark mode too: its canvas does not know of the style sheet of the
# page, and an inverted scale of colors would show high values as low ones.
_CARD = ":host { background: #fff; color-scheme: light; }"


def make_plot(**look: Any) -> figure:
    """Return an empty plot as wide as its place, without a toolbar."""
    plot = figure(
        sizing_mode="stretch_width",
        toolbar_location=None,
        output_backend="canvas",
        stylesheets=[_CARD],
        **look,
    )
    plot.outline_line_color = None
    plot.grid.grid_line_color = "#e8ebf0"
    return plot
