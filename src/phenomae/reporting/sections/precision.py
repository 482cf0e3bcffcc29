"""Section: precision at k and the nearest-neighbor hit rate, by source."""

import polars as pl

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.sections.section import Row, Section, Table, Tile, make_tile
from phenomae.reporting.words import count, fraction, p_value, times


def _precision(evidence: Evidence) -> pl.DataFrame:
    assert evidence.measured.precision is not None
    return evidence.measured.precision


def _tiles(evidence: Evidence) -> list[Tile]:
    rows = _precision(evidence).filter(pl.col("k") == 1)
    return [
        make_tile(f"nearest neighbor is a known partner, {row['source']}", row["precision"], row)
        for row in rows.iter_rows(named=True)
    ]


def _table(evidence: Evidence) -> Table:
    table = _precision(evidence)
    columns = ["source", "k", "precision", "95 % CI", "chance", "precision / chance", "at most"]
    columns += ["p", "genes"]
    hidden = [
        name
        for name, column in (("95 % CI", "ci_low"), ("p", "p"))
        if table[column].null_count() == len(table)
    ]
    shown = [name for name in columns if name not in hidden]
    rows = [
        Row([cell for name, cell in zip(columns, _cells(row), strict=True) if name in shown])
        for row in table.iter_rows(named=True)
    ]
    return Table("Precision at k by source", shown, [("", rows)])


def _cells(row: dict) -> list[str]:
    return [
        row["source"],
        count(row["k"]),
        fraction(row["precision"]),
        f"{fraction(row['ci_low'])} to {fraction(row['ci_high'])}",
        fraction(row["chance"]),
        times(row["precision"] / row["chance"] if row["chance"] else None),
        fraction(row["max_precision"]),
        p_value(row["p"]),
        count(row["n_genes"]),
    ]


SECTION = Section(
    "precision",
    link="Nearest neighbors",
    heading="Nearest neighbors",
    needs=lambda evidence: evidence.results is not None and evidence.results.precision is not None,
    text=lambda evidence: (
        "Precision at k is the fraction of the k nearest neighbors of a gene, by cosine, that are "
        "known partners, averaged over the genes with a known pair. At k = 1 it is the "
        "nearest-neighbor hit rate. Chance is the precision of neighbors drawn at random. A gene "
        "with fewer than k known partners cannot reach 1, so the largest possible value is given."
    ),
    tiles=_tiles,
    table=_table,
)
