"""The figure of a scaling study: recall over training FLOPs, beside each network at random."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from phenomae.reporting.figures.style import COLOURS, GREY, PAGE_INCHES, Drawing, legend_above


def draw_scaling(networks: pl.DataFrame, fit: pl.DataFrame, chance: float) -> Drawing:
    """Draw the recall of each training over its FLOPs, joined to that of its network at random.

    `networks` and `fit` are the tables networks.csv and fit.csv of `study`. Families with a row in
    `fit` have their line.
    """
    figure = Figure(figsize=(PAGE_INCHES, 4.0), layout="constrained")
    ax = figure.subplots()
    families = networks["family"].unique(maintain_order=True).to_list()
    for family, colour in zip(families, _cycle(len(families)), strict=True):
        rows = networks.filter(pl.col("family") == family)
        _draw_family(ax, rows, colour, family)
        line = fit.filter(pl.col("networks") == (family if len(families) > 1 else "all"))
        if len(line):
            _draw_line(ax, rows, line.row(0, named=True), colour)
    ax.plot([], [], "o", mfc="white", mec=GREY, ms=5, label="same network at random")
    ax.axhline(chance, color=GREY, lw=1.2, ls=(0, (4, 3)), label="chance")
    ax.set(
        xscale="log", xlabel="FLOPs of training", ylabel="recall, mean of screens", ylim=(0, None)
    )
    ax.grid(axis="y")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    # Not 10^n, which would need the math text that the house style turns off.
    ax.xaxis.set_major_formatter("{x:.0e}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    legend_above(figure, ax, columns=3)
    return Drawing(figure, _in_words(networks))


def _draw_family(ax: Axes, rows: pl.DataFrame, colour: str, family: str) -> None:
    flops, recall, at_random = rows["flops"], rows["recall"], rows["at_random"]
    ax.vlines(flops, at_random, recall, color=colour, lw=1.2, alpha=0.35)
    ax.plot(flops, at_random, "o", mfc="white", mec=colour, ms=5)
    low, high = recall - rows["ci_low"], rows["ci_high"] - recall
    # Clipped, because matplotlib refuses negative error bars (see flops_curves.py).
    reach = [low.clip(0).fill_null(0), high.clip(0).fill_null(0)]
    bars = {"ecolor": colour, "elinewidth": 1, "capsize": 2, "zorder": 3}
    ax.errorbar(flops, recall, yerr=reach, fmt="none", **bars)
    ax.plot(flops, recall, "o", color=colour, ms=6, zorder=4, label=family)


def _draw_line(ax: Axes, rows: pl.DataFrame, line: dict[str, Any], colour: str) -> None:
    ends = np.array([rows["flops"].min(), rows["flops"].max()])
    ax.plot(
        ends, line["intercept"] + line["recall_per_decade"] * np.log10(ends), color=colour, lw=1.4
    )


def _cycle(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _in_words(networks: pl.DataFrame) -> str:
    columns = ("training", "flops", "recall", "at_random")
    parts = [
        f"{name} {recall:.3f} after {flops:.2g} FLOPs and {at_random:.3f} at random"
        for name, flops, recall, at_random in networks.select(columns).iter_rows()
    ]
    return f"Recall over the FLOPs of training: {', '.join(parts)}."
