"""Line plots: loss over training steps, and recall over percentiles."""

import numpy as np
import polars as pl
from jaxtyping import Float64
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from phenomae.maps.aggregate import group_means
from phenomae.reporting.evidence.results import BenchmarkTables
from phenomae.reporting.evidence.training import Loss, Recalls
from phenomae.reporting.figures.style import COLOURS, GREY, PAGE_INCHES, Drawing
from phenomae.reporting.words import shorten, tails

_MAX_POINTS = 1_000  # per line; a line is about 700 pixels long
_MAX_MARKERS = 60  # per line; with more, the markers would cover the line
_MAX_INSIDE = 8  # legend entries that fit into the corner below the curves, where no line is
_COLOUR = {"training": COLOURS[0], "validation": COLOURS[1]}
_DASHES = ("-", "--", ":", "-.")


def draw_loss(losses: dict[str, Loss], recalls: Recalls | None = None) -> Drawing:
    """Draw training and validation loss over steps, and recall in a panel below if measured."""
    panels, height = (1, 2.9) if recalls is None else (2, 4.3)
    figure = Figure(figsize=(PAGE_INCHES, height), layout="constrained")
    axes = figure.subplots(panels, sharex=True, squeeze=False, height_ratios=[2, 1][:panels])[:, 0]
    ax, last = axes[0], axes[-1]
    for name, loss in losses.items():
        if not len(loss.steps):
            continue
        steps, values = _thin(loss)
        marked = len(steps) <= (_MAX_MARKERS if name == "validation" else 1)
        marker = "o" if marked else ""
        ax.plot(steps, values, color=_COLOUR[name], marker=marker, ms=4, label=name)
    values = np.concatenate([loss.values for loss in losses.values()])
    low, high = values.min(), values.max()
    # On a linear axis, the end of a loss that falls this much would look flat.
    if low > 0 and high > 20 * low:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set(ylabel="loss")
    last.set(xlabel="step")
    # Without this locator, matplotlib labels half steps of short runs.
    last.xaxis.set_major_locator(MaxNLocator(integer=True))
    last.xaxis.set_major_formatter("{x:,.0f}")
    steps = {step for loss in losses.values() for step in loss.steps}
    if len(steps) == 1:
        last.set_xticks(list(steps))  # an untrained run has one validation loss
    ax.grid(axis="y")
    shown, words = "Loss", loss_in_words(losses)
    if recalls is not None:
        last.plot(recalls.steps, recalls.values, color=COLOURS[2], marker="o", ms=4, label="recall")
        last.axhline(recalls.chance, color=GREY, lw=1.2, ls=(0, (4, 3)), label="chance")
        last.set(ylabel="recall", ylim=(0, 1.1 * max(recalls.values.max(), recalls.chance)))
        last.grid(axis="y")
        shown, words = "Loss and recall", f"{words}; {recall_in_words(recalls)}"
    # The legend is above the panels, because a line could cross a legend inside.
    figure.legend(loc="outside upper right", ncols=4)
    return Drawing(figure, f"{shown} over training steps: {words}.")


def loss_in_words(losses: dict[str, Loss]) -> str:
    """Return the last losses in words: `training 0.412 at step 2,000, ...`."""
    return ", ".join(
        f"{name} {loss.values[-1]:.3g} at step {loss.steps[-1]:,.0f}"
        for name, loss in losses.items()
        if len(loss.values)
    )


def recall_in_words(recalls: Recalls) -> str:
    """Return the last recall in words: `recall 0.412 at step 2,000`."""
    return f"recall {recalls.values[-1]:.3g} at step {recalls.steps[-1]:,.0f}"


def draw_curve(results: BenchmarkTables) -> Drawing:
    """Draw recall over the fraction of all pairs in the tails, which is the recall by chance."""
    figure = Figure(figsize=(PAGE_INCHES, 3.8), layout="constrained")
    ax = figure.subplots()
    # Highest recall first, so that the legend has the order of the lines from top to bottom.
    sources = results.main.sort("recall", descending=True, maintain_order=True)["source"]
    for index, source in enumerate(sources):
        rows = results.curve.filter(pl.col("source") == source).sort("chance")
        ax.plot(
            # Empty tails recall nothing, so every curve starts at the origin.
            [0, *rows["chance"]],
            [0, *rows["recall"]],
            color=COLOURS[index % len(COLOURS)],
            ls=_DASHES[index // len(COLOURS) % len(_DASHES)],
            lw=1.8,
            label=shorten(source),
        )
    ax.plot([0, 1], [0, 1], color=GREY, lw=1.2, ls=(0, (4, 3)), label="chance")
    main = results.main["chance"][0]
    ax.axvline(main, color=GREY, lw=0.8, zorder=0)
    ax.annotate(tails(*results.percentiles[0]), (main, 1.02), color=GREY, annotation_clip=False)
    ax.set(xlim=(0, 1), ylim=(0, 1), ylabel="recall")
    ax.set_xlabel("fraction of all pairs in the tails")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.grid()
    if len(sources) <= _MAX_INSIDE:
        ax.legend(loc="lower right", frameon=True, edgecolor="none", framealpha=0.9)
    else:
        figure.legend(loc="outside right upper", ncols=1 + len(sources) // 20)
    shown = ", ".join(sources)
    return Drawing(
        figure, f"Recall of {shown} over the fraction of all pairs in the tails, 0 to 100 %."
    )


def _thin(loss: Loss) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Return steps and losses, as means of consecutive values if there are over `_MAX_POINTS`."""
    count = len(loss.steps)
    if count <= _MAX_POINTS:
        return loss.steps, loss.values
    points = np.arange(count) * _MAX_POINTS // count
    means = group_means(np.column_stack([loss.steps, loss.values]), points, _MAX_POINTS)
    return means[:, 0], means[:, 1]
