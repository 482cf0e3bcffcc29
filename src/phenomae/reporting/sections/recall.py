"""Section: recall of known pairs by source, with confidence interval and null distribution."""

from pathlib import Path

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.evidence.results import BenchmarkTables, at
from phenomae.reporting.figures.recall_dots import draw_recall
from phenomae.reporting.figures.style import Picture, save
from phenomae.reporting.sections.section import Row, Section, Table, Tile, make_tile
from phenomae.reporting.words import count, fraction, p_value, tails, times


def _text(evidence: Evidence) -> str:
    ends = tails(*evidence.measured.percentiles[0])
    return (
        "Recall is the fraction of known pairs of a source whose cosine similarity on the map is "
        f"among the {ends} of all pairs. Chance (dashed line) is the expected recall of a random "
        "map: the further a dot is to the right of chance, the more known biology the map recovers."
    )


def _draw(evidence: Evidence, folder: Path) -> Picture:
    return save(draw_recall(evidence.measured), folder, "recall")


def _caption(evidence: Evidence) -> str:
    results = evidence.measured
    parts = ["Dots: recall of these features, one row per source"]
    parts.append(
        ", with a 95 % CI from a bootstrap of the genes." if results.has_intervals else "."
    )
    if results.shuffles > 1:
        parts.append(
            " Vertical bars: mean of the null distribution (shuffled names, "
            f"{count(results.shuffles)} permutations), which should be near chance; whiskers: one "
            "standard deviation."
        )
    elif results.shuffles:
        parts.append(
            " Vertical bars: recall of one permutation of the names, which should be near chance."
        )
    return "".join(parts)


def _tiles(evidence: Evidence) -> list[Tile]:
    return [
        make_tile(f"recall, {row['source']}", row["recall"], row)
        for row in evidence.measured.main.iter_rows(named=True)
    ]


def _table(evidence: Evidence) -> Table:
    results = evidence.measured
    columns = ["source", "recall", "95 % CI", "chance", "recall / chance"]
    columns += [
        "null, mean ± sd" if results.shuffles > 1 else "null",
        "p",
        "pairs",
        "genes",
    ]
    shown = [name for name in columns if name not in _hidden(results, columns)]
    groups = []
    for percentiles in results.percentiles:
        # A single percentile pair needs no heading, because the text above the table names it.
        heading = tails(*percentiles).capitalize() if len(results.percentiles) > 1 else ""
        rows = [
            Row([cell for name, cell in zip(columns, _cells(row), strict=True) if name in shown])
            for row in at(results.recall, percentiles).iter_rows(named=True)
        ]
        groups.append((heading, rows))
    return Table("Recall by source", shown, groups)


def _hidden(results: BenchmarkTables, columns: list[str]) -> list[str]:
    """Return the columns for which `benchmark` computed no values."""
    intervals = [] if results.has_intervals else ["95 % CI"]
    return intervals + ([] if results.shuffles else [columns[5], "p"])


def _cells(row: dict) -> list[str]:
    return [
        row["source"],
        fraction(row["recall"]),
        f"{fraction(row['ci_low'])} to {fraction(row['ci_high'])}",
        fraction(row["chance"]),
        times(row["recall"] / row["chance"] if row["chance"] else None),
        fraction(row["mean"]) + ("" if row["sd"] is None else f" ± {fraction(row['sd'])}"),
        p_value(row["p"]),
        count(row["n_pairs"]),
        count(row["n_genes"]),
    ]


SECTION = Section(
    "recall",
    link="Recall",
    heading="Recall of known pairs",
    needs=lambda evidence: evidence.results is not None,
    text=_text,
    tiles=_tiles,
    draw=_draw,
    caption=_caption,
    table=_table,
)
