"""The heat map of `ask complexes`: cosines of the genes of some complexes, grouped by complex."""

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from phenomae.evaluation.questions.complexes import (
    ComplexSettings,
    Rows,
    read_complexes,
    rows_on_map,
)
from phenomae.evaluation.questions.question import Tables
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_rows
from phenomae.reporting.evidence.null_cosines import shuffle_features
from phenomae.reporting.figures.null_scale import NullScale
from phenomae.reporting.figures.style import INK, PAGE_INCHES, Drawing
from phenomae.reporting.words import shorten

_MAX_COMPLEXES = 8  # drawn by default, if no complex is requested
_MAX_LABELS = 70  # genes; with more, the names would be illegible


def draw_answer(tables: Tables, profiles: ConsensusProfiles, settings: ComplexSettings) -> Drawing:
    """Draw the complexes of the setting `show`; by default see `choose_shown`."""
    members = read_complexes(Path(settings.complexes))
    chosen = choose_shown(tables["complexes.csv"], members, profiles.names, settings.show)
    return draw_complexes(profiles, chosen)


def choose_shown(
    table: pl.DataFrame, members: dict[str, list[str]], names: list[str], requested: tuple[str, ...]
) -> dict[str, Rows]:
    """Return the rows of the map for each complex to draw.

    By default these are the complexes with the largest KS statistic among those with `within` above
    `between`, except complexes of which at least half of the genes are already drawn. A gene is
    drawn once, with the first complex that contains the gene. Raises ValueError if a requested
    complex is not in the table.
    """
    if unknown := [name for name in requested if name not in set(table["complex"])]:
        raise ValueError(
            f"show {unknown[0]}: there is no complex of that name with enough genes on the map; "
            f"there are {len(table)}, like {table['complex'][0]!r}"
        )
    apart = table.filter(pl.col("within") > pl.col("between")).sort("ks", descending=True)
    # If no complex has `within` above `between`, complexes are drawn in the order of the table.
    order = list(requested) or (apart if len(apart) else table)["complex"].to_list()
    rows = rows_on_map({name: members[name] for name in order}, names)
    chosen: dict[str, Rows] = {}
    drawn: set[int] = set()
    for name, own in rows.items():
        new = [row for row in own.tolist() if row not in drawn]
        # Lists of complexes contain many variants of the same complex, which would fill the figure.
        if not new or (not requested and 2 * len(new) <= len(own)):
            continue
        chosen[name] = np.array(new)
        drawn.update(new)
        if not requested and len(chosen) == _MAX_COMPLEXES:
            break
    return chosen


def draw_complexes(profiles: ConsensusProfiles, chosen: dict[str, Rows]) -> Drawing:
    """Draw the cosines of the chosen genes, with lines and names for the complexes.

    Colours are in standard deviations of the null distribution of all genes of the map.
    """
    rows, unit = np.concatenate(list(chosen.values())), unit_rows(profiles.features)
    cosines = unit[rows] @ unit[rows].T
    # From zero: complexes are given, so that colours of noise do not make blocks.
    scale = NullScale.fit(shuffle_features(unit), cosines, from_zero=True)
    np.fill_diagonal(cosines, np.nan)
    figure = Figure(figsize=(PAGE_INCHES + 1.6, PAGE_INCHES), layout="constrained")
    ax = figure.subplots()
    image = scale.draw(ax, cosines)
    ends = np.cumsum([len(own) for own in chosen.values()])
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color=INK, lw=0.8)
        ax.axvline(end - 0.5, color=INK, lw=0.8)
    middles = ends - np.array([len(own) for own in chosen.values()]) / 2 - 0.5
    right = ax.secondary_yaxis("right")  # because the left side has the gene names
    right.set_yticks(middles, [shorten(name, 34) for name in chosen])
    right.tick_params(length=0, labelsize=7.5)
    right.spines[:].set_visible(False)
    if len(rows) <= _MAX_LABELS:
        ax.set_yticks(range(len(rows)), [profiles.names[row] for row in rows], fontsize=5.5)
        ax.set_xticks([])
    else:
        ax.set(xticks=[], yticks=[])
    ax.tick_params(length=0)
    scale.draw_bar(figure, image, ax=ax, shrink=0.6, pad=0.02, aspect=30)
    return Drawing(
        figure,
        f"Heat map of the cosines of {len(rows)} genes of {len(chosen)} complexes in standard "
        f"deviations of the null distribution: {', '.join(chosen)}; red is similar, blue opposite.",
    )
