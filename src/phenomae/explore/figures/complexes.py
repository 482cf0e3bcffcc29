"""The heat map of chosen complexes: their genes side by side, complex by complex."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from phenomae.evaluation.questions.complexes import Rows, rows_on_map
from phenomae.explore.figures.heatmap import COLOUR_MAP, symmetric_limit
from phenomae.explore.figures.style import INK, PAGE_INCHES, Drawing
from phenomae.explore.words import shorten
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_rows

_MOST_SHOWN = 8  # complexes, where none are named
_MOST_NAMED = 70  # genes whose names can still be read


def choose_shown(
    table: pl.DataFrame, members: dict[str, list[str]], names: list[str], asked: tuple[str, ...]
) -> dict[str, Rows]:
    """Return the rows of the map that each complex to be drawn has, the asked or the most apart.

    A gene is drawn once, with the first complex that has it; where none are asked, complexes that
    share half of their genes with one already chosen are passed over. Raises ValueError where an
    asked complex is not in the table.
    """
    if unknown := [name for name in asked if name not in set(table["complex"])]:
        raise ValueError(
            f"--show {unknown[0]}: there is no complex of that name with enough genes on the map; "
            f"there are {len(table)}, like {table['complex'][0]!r}"
        )
    apart = table.filter(pl.col("within") > pl.col("between")).sort("ks", descending=True)
    order = list(asked) or (apart if len(apart) else table)["complex"].to_list()
    rows = rows_on_map({name: members[name] for name in order}, names)
    chosen: dict[str, Rows] = {}
    drawn: set[int] = set()
    for name, own in rows.items():
        new = [row for row in own.tolist() if row not in drawn]
        if not new or (not asked and 2 * len(new) <= len(own)):
            continue
        chosen[name] = np.array(new)
        drawn.update(new)
        if not asked and len(chosen) == _MOST_SHOWN:
            break
    return chosen


def draw_complexes(genes: ConsensusProfiles, chosen: dict[str, Rows]) -> Drawing:
    """Draw the cosines of the chosen genes, with lines between complexes and their names beside."""
    rows = np.concatenate(list(chosen.values()))
    unit = unit_rows(genes.features[rows])
    cosines = unit @ unit.T
    limit = symmetric_limit(cosines)
    figure = Figure(figsize=(PAGE_INCHES + 1.6, PAGE_INCHES), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(
        cosines, cmap=COLOUR_MAP, vmin=-limit, vmax=limit, interpolation="none", aspect="equal"
    )
    ends = np.cumsum([len(own) for own in chosen.values()])
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color=INK, lw=0.8)
        ax.axvline(end - 0.5, color=INK, lw=0.8)
    middles = ends - np.array([len(own) for own in chosen.values()]) / 2 - 0.5
    right = ax.secondary_yaxis("right")
    right.set_yticks(middles, [shorten(name, 34) for name in chosen])
    right.tick_params(length=0, labelsize=7.5)
    right.spines[:].set_visible(False)
    if len(rows) <= _MOST_NAMED:
        ax.set_yticks(range(len(rows)), [genes.names[row] for row in rows], fontsize=5.5)
        ax.set_xticks([])
    else:
        ax.set(xticks=[], yticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, location="bottom", shrink=0.4, pad=0.02, aspect=30)
    bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:g} opposite", "0", f"{limit:g} alike"])
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return Drawing(
        figure,
        f"Heat map of the cosines of {len(rows)} genes of {len(chosen)} complexes: "
        f"{', '.join(chosen)}; red is alike, blue opposite.",
    )
