"""Figures over training FLOPs: recall of maps, and losses and recalls of runs."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from phenomae.reporting.evidence.training_flops import MEASURES, Compute
from phenomae.reporting.figures.style import COLOURS, GREY, PAGE_INCHES, Drawing, legend_above
from phenomae.reporting.words import shorten

_PANEL_INCHES = 2.4
_LABELS = {"loss": "loss", "validation_loss": "validation loss", "recall": "recall"}


def draw_recall_over_flops(recall: pl.DataFrame, computes: dict[str, Compute]) -> Drawing:
    """Draw the recall of maps over the training FLOPs of their networks, one line per source."""
    figure = Figure(figsize=(PAGE_INCHES, 3.6), layout="constrained")
    ax = figure.subplots()
    flops = {name: compute.flops for name, compute in computes.items()}
    shown = recall.filter(pl.col("map").is_in(list(flops)))
    for index, source in enumerate(shown["source"].unique(maintain_order=True)):
        rows = shown.filter(pl.col("source") == source)
        rows = rows.with_columns(flops=pl.col("map").replace_strict(flops)).sort("flops")
        colour = COLOURS[index % len(COLOURS)]
        low, high = rows["recall"] - rows["ci_low"], rows["ci_high"] - rows["recall"]
        ax.errorbar(
            rows["flops"],
            rows["recall"],
            # Clipped: a percentile interval may exclude the recall itself, and matplotlib refuses
            # negative error bars.
            yerr=[low.clip(0), high.clip(0)],
            color=colour,
            marker="o",
            ms=5,
            lw=1.6,
            elinewidth=1,
            capsize=2,
            label=shorten(source),
        )
    ax.axhline(shown["chance"][0], color=GREY, lw=1.2, ls=(0, (4, 3)), label="chance")
    # Maps of networks with the same FLOPs share a position, so their names share a label.
    for value in sorted(set(flops.values())):
        names = ", ".join(shorten(name, 16) for name, its in flops.items() if its == value)
        place = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
        at_foot = {"xycoords": ("data", "axes fraction"), "color": GREY, "fontsize": 7}
        ax.annotate(names, (value, 0), **place, **at_foot)
    ax.set(ylabel="recall", ylim=(0, None))
    _scale(ax, list(flops.values()))
    legend_above(figure, ax)
    return Drawing(figure, f"Recall over the FLOPs of training, of the maps {', '.join(flops)}.")


def draw_runs(runs: dict[str, Compute]) -> Drawing:
    """Draw losses and recalls over training FLOPs: one panel per measure, one line per run."""
    measured = [
        measure
        for measure in MEASURES
        if any(len(run.over_flops(measure)) for run in runs.values())
    ]
    height = 0.4 + _PANEL_INCHES * len(measured)
    figure = Figure(figsize=(PAGE_INCHES, height), layout="constrained")
    axes = figure.subplots(len(measured), sharex=True, squeeze=False)[:, 0]
    for ax, measure in zip(axes, measured, strict=True):
        for index, (name, run) in enumerate(runs.items()):
            # A log axis cannot show 0 FLOPs, at which a run may log a validation loss.
            rows = run.over_flops(measure).filter(pl.col("flops") > 0)
            ax.plot(
                rows["flops"],
                rows[measure],
                color=COLOURS[index % len(COLOURS)],
                marker="" if measure == "loss" else "o",
                ms=4,
                label=shorten(name),
            )
        ax.set_ylabel(_LABELS[measure])
        if measure == "recall":
            ax.set_ylim(0, 1.1 * (ax.dataLim.y1 or 1))
        ax.grid(axis="y")
    _scale(axes[-1], [run.flops for run in runs.values()])
    # All panels have the same runs, so one legend suffices.
    legend_above(figure, axes[0])
    return Drawing(
        figure,
        f"{', '.join(_LABELS[measure] for measure in measured).capitalize()} over the FLOPs of "
        f"training, of the runs {', '.join(runs)}.",
    )


def _scale(ax: Axes, flops: list[float]) -> None:
    ax.set_xlabel("FLOPs of training")
    ax.grid(axis="y")
    # Similar FLOPs are easier to compare on a linear axis.
    if max(flops) > 3 * max(min(flops), 1e-300) > 0:
        ax.set_xscale("log")
        steps = (1, 2, 5) if max(flops) < 100 * min(flops) else (1,)
        ax.xaxis.set_major_locator(LogLocator(subs=steps))
        # Not 10^n, which would need the math text that the house style turns off.
        ax.xaxis.set_major_formatter("{x:.0e}")
        ax.xaxis.set_minor_formatter(NullFormatter())
