"""Section: the layout of the map, coloured by cluster and by plate."""

from pathlib import Path

import polars as pl

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.figures.layout import Panel, draw_layout
from phenomae.reporting.figures.style import Picture, save
from phenomae.reporting.sections.section import Section
from phenomae.reporting.words import fraction
from phenomae.whole_files import whole_file

FILE = "layout.csv"


def _text(evidence: Evidence) -> str:
    return (
        f"One point per {evidence.noun}: points that are near each other mostly have similar "
        "profiles. Distances of points that are far apart, and the size and shape of islands, mean "
        "little; the heat map and the tables are of all features."
    )


def _panels(evidence: Evidence) -> list[Panel]:
    on_map = evidence.map
    panels = []
    if on_map.clusters is not None:
        labels = [str(label) for label in on_map.clusters.labels]
        panels.append(Panel("clusters", labels, on_points=True))
    if on_map.plate_groups is not None:
        title = "plates" if on_map.plate_groups.are_sets else "plate with most of its wells"
        panels.append(Panel(title, on_map.plate_groups.labels))
    return panels or [Panel("layout", [None] * len(on_map.profiles.names))]


def _draw(evidence: Evidence, folder: Path) -> Picture:
    profiles = evidence.map.profiles
    assert profiles.layout is not None
    x, y = profiles.layout.T
    columns = {"name": profiles.names, "x": x, "y": y}
    if evidence.map.clusters is not None:
        columns["cluster"] = evidence.map.clusters.labels
    if evidence.map.plate_groups is not None:
        columns["plates"] = evidence.map.plate_groups.labels
    with whole_file(folder / FILE) as partial:
        pl.DataFrame(columns).write_csv(partial)
    return save(draw_layout(profiles.layout, profiles.names, _panels(evidence)), folder, "layout")


def _caption(evidence: Evidence) -> str:
    parts = [_made(evidence)]
    groups = evidence.map.plate_groups
    if groups is not None:
        what = "the set of plates" if groups.are_sets else "the plate with most wells"
        parts.append(
            f"Plates: {what} of a {evidence.noun}. The five rows with the highest cosines, of all "
            f"features, predict it for {fraction(groups.predicted.accuracy)} of the rows; chance "
            f"is {fraction(groups.predicted.chance)}, and what is above it is an effect of plates."
        )
    elif evidence.map.wells is not None:
        parts.append(f"All {evidence.noun}s are on the same plates.")
    return " ".join([*parts, f"The file figures/{FILE} lists all points."])


def _made(evidence: Evidence) -> str:
    record = evidence.map.layout_record
    if record is None:
        return "Points that other software computed."
    settings = record["settings"]
    k, trust, chance = (
        record[f"trustworthiness{part}"] for part in ("_neighbors", "", "_by_chance")
    )
    return (
        f"UMAP with {settings['n_neighbors']} neighbors, minimum distance {settings['min_dist']}, "
        f"seed {settings['seed']}. Trustworthiness of {k} neighbors {fraction(trust)}: 1 if the "
        f"nearest points are the nearest profiles, {fraction(chance)} for points at random."
    )


SECTION = Section(
    "layout",
    link="Layout",
    heading="Layout of the map",
    needs=lambda evidence: (
        evidence.on_map is not None and evidence.on_map.profiles.layout is not None
    ),
    text=_text,
    draw=_draw,
    caption=_caption,
    wide=True,
)
