"""Section: the known pairs that the map found and missed, for each source."""

from pathlib import Path

import polars as pl

from phenomae.evaluation.known_pairs import MapPairs
from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.figures.known_percentiles import MAX_SOURCES, draw_percentiles
from phenomae.reporting.figures.style import Picture, save
from phenomae.reporting.sections.section import Row, Section, Table
from phenomae.reporting.words import count, fraction, tails
from phenomae.whole_files import whole_file

FILE = "known_pairs.csv"
_EXAMPLES = 5  # missed pairs of each source that are named


def _text(evidence: Evidence) -> str:
    ends = tails(*evidence.map.pairs.percentiles)
    return (
        f"A known pair is found if its cosine is among the {ends} of all pairs of the map: similar "
        "in the highest, opposite in the lowest. On a map without known biology the histograms are "
        "flat, at the dashed line."
    )


def _draw(evidence: Evidence, folder: Path) -> Picture:
    pairs = evidence.map.pairs
    with whole_file(folder / FILE) as partial:
        pairs.known.write_csv(partial)
    return save(draw_percentiles(pairs), folder, "known_pairs")


def _caption(evidence: Evidence) -> str:
    sources = evidence.map.pairs.known["source"].n_unique()
    left_out = f" The first {MAX_SOURCES} of {sources} sources." if sources > MAX_SOURCES else ""
    return (
        "Known pairs by the percentile of their cosine; coloured: bins in which pairs are found."
        f"{left_out} The file figures/{FILE} lists all pairs."
    )


def _table(evidence: Evidence) -> Table:
    pairs = evidence.map.pairs
    rows = [
        Row(
            [
                row["source"],
                *(count(row[name]) for name in ("pairs", "similar", "opposite", "missed")),
                fraction(row["recall"]),
            ]
        )
        for row in pairs.counts().iter_rows(named=True)
    ]
    columns = ["source", "known pairs", "similar", "opposite", "missed", "found / known"]
    return Table("Known pairs by source", columns, [("", rows)])


def _notes(evidence: Evidence) -> list[str]:
    pairs = evidence.map.pairs
    notes = []
    for source in pairs.known["source"].unique(maintain_order=True)[:MAX_SOURCES]:
        if missed := list_missed(pairs, source):
            notes.append(
                f"{source}, missed although both have found pairs with others: {', '.join(missed)}."
            )
    return notes


def list_missed(pairs: MapPairs, source: str, max_pairs: int = _EXAMPLES) -> list[str]:
    """Return missed pairs of a source whose names both have found pairs of this source with others.

    Names without a found pair may just have no phenotype. Pairs whose names have the most found
    pairs, of the one that has fewer, come first.
    """
    own = pairs.known.filter(source=source)
    ends = own.filter("found").select(pl.concat_list("entity1", "entity2").explode().alias("name"))
    found = ends.group_by("name").len("found_pairs").rename({"found_pairs": "n"})
    both = (
        own.filter(~pl.col("found"))
        .join(found, left_on="entity1", right_on="name")
        .join(found, left_on="entity2", right_on="name", suffix="2")
    )
    fewer = pl.min_horizontal("n", "n2")
    first = both.sort(fewer, "entity1", "entity2", descending=[True, False, False]).head(max_pairs)
    return [f"{one}–{other}" for one, other in first.select("entity1", "entity2").iter_rows()]


SECTION = Section(
    "known-pairs",
    link="Known pairs",
    heading="Known pairs, found and missed",
    needs=lambda evidence: evidence.on_map is not None and bool(evidence.on_map.annotations),
    text=_text,
    draw=_draw,
    caption=_caption,
    table=_table,
    notes=_notes,
)
