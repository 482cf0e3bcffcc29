"""Section: clustered heat map of the cosines of all rows, with known complexes beside it."""

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.evidence.known_complexes import NONE, find_complexes
from phenomae.reporting.evidence.null_cosines import NullCosines
from phenomae.reporting.figures.heatmap import draw_heatmap
from phenomae.reporting.figures.style import Picture, save
from phenomae.reporting.sections.section import Section
from phenomae.reporting.words import count
from phenomae.whole_files import whole_file

ORDER_FILE = "similarity_order.csv"
_MAX_SOURCES = 3  # with a strip of their complexes


def _text(evidence: Evidence) -> str:
    return (
        f"Cosine similarity of every {evidence.noun} of the map with every other, ordered by "
        "clustering. Red pairs are more similar, and blue pairs more opposite, than pairs of "
        "unrelated profiles are; white pairs are not. A good map has red blocks on the diagonal, "
        "each a group with similar effects on cells, and is mostly white elsewhere."
    )


def _complexes(evidence: Evidence) -> dict[str, Int[np.ndarray, " g"]]:
    """Return the complexes of the rows in the order of the heat map, for the first sources."""
    if evidence.results is None or evidence.results.known is None:
        return {}
    names = [evidence.profiles.names[row] for row in evidence.clusters.order]
    of_sources = evidence.results.known.partition_by("source", as_dict=True, maintain_order=True)
    sources = list(of_sources.items())[:_MAX_SOURCES]
    return {source: find_complexes(names, pairs) for (source,), pairs in sources}


def _draw(evidence: Evidence, folder: Path) -> Picture:
    names, clusters = evidence.profiles.names, evidence.clusters
    complexes = _complexes(evidence)
    picture = save(draw_heatmap(names, clusters, complexes), folder, "similarity")
    # The heat map of a large map has no row names, so the order is also written as a table.
    order = clusters.table(names).with_columns(
        pl.Series(f"complex of {source}", codes + 1).replace(NONE + 1, None)
        for source, codes in complexes.items()
    )
    with whole_file(folder / ORDER_FILE) as partial:
        order.write_csv(partial)
    return picture


def _caption(evidence: Evidence) -> str:
    profiles, clusters = evidence.profiles, evidence.clusters
    rows, features = len(profiles.names), profiles.features.shape[1]
    parts = [
        f"Cosines of {count(rows)} {evidence.noun}s with {count(features)} features; columns are "
        "in the order of the rows.",
        _scale_in_words(clusters.null),
    ]
    if clusters.clustered == rows:
        parts.append("Order: hierarchical clustering, average linkage on 1 − cosine.")
    else:
        parts.append(
            f"Order: a sample of {count(clusters.clustered)} rows, evenly spaced over the map, by "
            "hierarchical clustering (average linkage on 1 − cosine); every other row is next to "
            "the most similar row of the sample."
        )
    if (size := clusters.rows_per_cell) > 1:
        parts.append(f"Each cell of the heat map is the mean of {size} × {size} cosines.")
    if evidence.results is not None and evidence.results.known is not None:
        parts.append(_strips_in_words(evidence.results.known["source"].unique(maintain_order=True)))
    return " ".join([*parts, f"The file figures/{ORDER_FILE} lists the rows from the top."])


def _scale_in_words(null: NullCosines) -> str:
    return (
        f"The colours are standard deviations ({null.sd:.3f}) from the mean ({null.mean:.3f}) of "
        "the null distribution: the cosines after the features, rotated to their principal axes, "
        "were permuted among the rows. One in a thousand of these is further than "
        f"{null.threshold:.1f} from the mean, where the colours begin. Clustering puts similar "
        "rows beside each other, also of noise, so single pale cells on the diagonal mean nothing."
    )


def _strips_in_words(sources: pl.Series) -> str:
    shown = sources[:_MAX_SOURCES].to_list()
    more = (
        f" ({len(sources) - len(shown)} more sources have none)"
        if len(sources) > len(shown)
        else ""
    )
    return (
        f"Strips at the right, from the left: known complexes of {', '.join(shown)}{more}. A "
        "colour marks neighbouring rows of one complex, grey a row whose complex is elsewhere, "
        "white a row of no complex."
    )


SECTION = Section(
    "similarity",
    link="Similarity",
    heading="Similarity of the map",
    needs=lambda evidence: evidence.genes is not None,
    text=_text,
    draw=_draw,
    caption=_caption,
    wide=True,
)
