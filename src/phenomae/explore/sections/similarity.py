"""Section: clustered heat map of the cosines of all rows of the map."""

from pathlib import Path

from phenomae.explore.evidence.evidence import Evidence
from phenomae.explore.figures.heatmap import draw_heatmap
from phenomae.explore.figures.style import Picture, save
from phenomae.explore.sections.section import Section
from phenomae.explore.words import count
from phenomae.whole_files import whole_file


def _noun(evidence: Evidence) -> str:
    """Return the noun for a row of the map: gene, compound, ...; "row" for maps not by phenomae."""
    return evidence.map_signature["settings"]["by"] if evidence.map_signature else "row"


def _text(evidence: Evidence) -> str:
    return (
        f"Cosine similarity of every {_noun(evidence)} of the map with every other, ordered by "
        "clustering. Red pairs have similar profiles, blue pairs opposite profiles, white pairs "
        "unrelated profiles. A good map has red blocks on the diagonal, each a group with similar "
        "effects on cells, and is mostly white elsewhere."
    )


def _draw(evidence: Evidence, folder: Path) -> Picture:
    names = evidence.profiles.names
    picture = save(draw_heatmap(names, evidence.clusters), folder, "similarity")
    # The heat map of a large map has no row names, so the order is also written as a table.
    with whole_file(folder / "similarity_order.csv") as partial:
        evidence.clusters.table(names).write_csv(partial)
    return picture


def _caption(evidence: Evidence) -> str:
    profiles, clusters = evidence.profiles, evidence.clusters
    rows, features = len(profiles.names), profiles.features.shape[1]
    parts = [
        f"Cosines of {count(rows)} {_noun(evidence)}s with {count(features)} features; columns are "
        "in the order of the rows."
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
    return " ".join([*parts, "The file figures/similarity_order.csv lists the rows from the top."])


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
