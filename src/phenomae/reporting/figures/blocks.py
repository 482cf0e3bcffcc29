"""The figure of `ask probe`: accuracy of the linear probe for each block of a network."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from phenomae.evaluation.questions.block_search import Blocks
from phenomae.evaluation.questions.linear_probe import LinearProbeSettings
from phenomae.evaluation.questions.question import Tables
from phenomae.reporting.figures.style import COLOURS, GREY, PAGE_INCHES, Drawing


def draw_answer(tables: Tables, blocks: Blocks, settings: LinearProbeSettings) -> Drawing | None:
    """Draw the accuracy of each block; None if the input is a single folder of wells."""
    return draw_blocks(tables["blocks.csv"]) if len(blocks.folders) > 1 else None


def draw_blocks(blocks: pl.DataFrame) -> Drawing:
    """Draw mean and standard deviation of the accuracy of each block, and label the best block."""
    figure = Figure(figsize=(PAGE_INCHES, 3.0), layout="constrained")
    ax = figure.subplots()
    ax.errorbar(
        blocks["block"],
        blocks["accuracy"],
        # A single fold has no standard deviation.
        yerr=blocks["sd"].fill_null(0.0),
        color=COLOURS[0],
        marker="o",
        ms=5,
        lw=1.8,
        elinewidth=1,
        capsize=2,
        label="accuracy on wells left out, mean ± sd",
    )
    chance = {"color": GREY, "lw": 1.2, "ls": (0, (4, 3)), "label": "chance"}
    ax.plot(blocks["block"], blocks["chance"], **chance)
    best = blocks.filter(pl.col("best")).row(0, named=True)
    ax.plot(best["block"], best["accuracy"], "o", ms=11, mfc="none", mec=COLOURS[1], mew=1.8)
    place = {"xytext": (0, 12), "textcoords": "offset points", "ha": "center", "zorder": 5}
    # A white background, because the label may overlap an error bar.
    place["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    at = (best["block"], best["accuracy"])
    ax.annotate(f"block {best['block']}: {best['accuracy']:.3f}", at, **place, color=COLOURS[1])
    ax.margins(y=0.18)
    # From 0, so that the axis does not exaggerate differences between blocks.
    ax.set(xlabel="block", ylabel="accuracy", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y")
    figure.legend(loc="outside upper left", ncols=2)
    return Drawing(
        figure,
        f"Accuracy of a linear probe over {len(blocks)} blocks; the best is block "
        f"{best['block']} with {best['accuracy']:.3f}.",
    )
