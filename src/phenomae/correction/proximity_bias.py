"""Proximity bias: what the genes of a chromosome arm have in common because they lie together.

Cutting a gene may cost a cell the rest of the chromosome's arm, so that genes of one arm look alike
whatever they do (Lazar et al. 2023, on proximity bias in genome-wide CRISPR screens). The mean of
an arm's genes is subtracted from each of its wells.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64, Shaped

from phenomae.correction.chain import Chain
from phenomae.correction.plate_reader import Screen
from phenomae.progress import info

Vectors = dict[str, Float64[np.ndarray, " k"]]
"""One vector a gene."""


def read_arms(path: Path) -> dict[str, str]:
    """Return the arm of every gene in a table with the columns gene and arm.

    Raises ValueError where the file cannot be read, lacks a column, or has a gene on two arms.
    """
    read = (
        pl.read_parquet if path.suffix == ".parquet" else partial(pl.read_csv, infer_schema=False)
    )
    try:
        table = read(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--arms {path} is not a table that can be read: {reason}") from None
    if missing := [name for name in ("gene", "arm") if name not in table.columns]:
        raise ValueError(
            f"--arms {path} has no column {missing[0]!r}: expected gene and arm, it has "
            f"{', '.join(table.columns)}"
        )
    rows = table.select(pl.col("gene", "arm").cast(pl.String)).drop_nulls().unique().sort("gene")
    twice = rows.filter(pl.col("gene").is_duplicated())
    if len(twice):
        gene, arms = twice["gene"][0], twice.filter(gene=twice["gene"][0])["arm"].sort()
        raise ValueError(
            f"--arms {path} has gene {gene!r} on {' and '.join(arms)}: expected one arm a gene"
        )
    return dict(rows.rows())


def measure_shifts(
    screen: Screen, chain: Chain, arms: dict[str, str], path: Path, least: int
) -> Vectors:
    """Return what is to be subtracted from the wells of every gene that lies on an arm.

    Reads and corrects every plate once, and holds one vector a gene. Raises ValueError where no
    gene of the wells is in the table.
    """
    means = _gene_means(screen, chain)
    found = {gene: mean for gene, mean in means.items() if gene in arms}
    if not found:
        raise ValueError(
            f"--arms {path} has none of the {len(means)} genes of the wells: expected names like "
            f"{', '.join(list(means)[:3]) or 'those in their column gene'}"
        )
    shifts, left = arm_shifts(found, arms, least)
    info(
        f"arms: {len(shifts)} genes lose the mean of their arm; {len(means) - len(found)} are not "
        f"in the table and {len(found) - len(shifts)} lie on arms of fewer than {least} genes "
        f"({', '.join(left) or 'none'}), and stay as they are"
    )
    return shifts


def arm_shifts(means: Vectors, arms: dict[str, str], least: int) -> tuple[Vectors, list[str]]:
    """Return the mean of its arm's genes for every gene, and the arms of fewer than `least`."""
    genes_of: dict[str, list[str]] = {}
    for gene in means:
        genes_of.setdefault(arms[gene], []).append(gene)
    shifts: Vectors = {}
    for genes in genes_of.values():
        if len(genes) >= least:
            shift = np.mean([means[gene] for gene in genes], axis=0)
            shifts.update((gene, shift) for gene in genes)
    return shifts, sorted(arm for arm, genes in genes_of.items() if len(genes) < least)


def subtract_shifts(
    features: Float64[np.ndarray, "m k"], table: pl.DataFrame, shifts: Vectors
) -> Float64[np.ndarray, "m k"]:
    """Return the features of wells with the mean of their gene's arm subtracted."""
    shifted = features.copy()
    for gene, rows in _each_gene(table):
        if gene in shifts:
            shifted[rows] -= shifts[gene]
    return shifted


def _gene_means(screen: Screen, chain: Chain) -> Vectors:
    """Return the mean of the corrected wells of every gene."""
    sums: Vectors = {}
    counts: dict[str, int] = {}
    for part in screen.parts("arms"):
        corrected = chain.transform(part.features, part.batches)
        for gene, rows in _each_gene(screen.table[part.rows]):
            sums[gene] = sums.get(gene, 0.0) + corrected[rows].sum(axis=0)
            counts[gene] = counts.get(gene, 0) + len(rows)
    return {gene: total / counts[gene] for gene, total in sums.items()}


def _each_gene(table: pl.DataFrame) -> Iterator[tuple[str, Shaped[np.ndarray, " m"]]]:
    """Yield every gene and its rows; controls and wells without a gene have none."""
    named = table.with_row_index("row").filter(
        ~pl.col("control").fill_null(False), pl.col("gene").is_not_null(), pl.col("gene") != ""
    )
    for gene, rows in (
        named.group_by("gene", maintain_order=True).agg("row").select("gene", "row").rows()
    ):
        yield gene, np.array(rows, dtype=np.int64)
