"""Removes proximity bias: technical similarity between genes on the same chromosome arm.

A Cas9 cut can make a cell lose the rest of the chromosome arm, so that knockouts of genes on one
arm look similar regardless of their function (Lazar et al. 2023). The mean profile of an
arm's genes is subtracted from the wells of these genes.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64, Shaped

from phenomae.correction.chain import Chain
from phenomae.correction.plate_reader import PlateReader
from phenomae.progress import info

Vectors = dict[str, Float64[np.ndarray, " k"]]
"""One vector of features per gene."""


def read_arms(path: Path) -> dict[str, str]:
    """Return the chromosome arm of each gene from a CSV or Parquet file with columns gene and arm.

    Raises ValueError if the file cannot be read or lacks a column, or if a gene is on two arms.
    """
    # Without infer_schema=False polars would read a gene called 1e3 as a number.
    read = (
        pl.read_parquet if path.suffix == ".parquet" else partial(pl.read_csv, infer_schema=False)
    )
    try:
        table = read(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"arms {path} is not a readable table: {reason}") from None
    if missing := [name for name in ("gene", "arm") if name not in table.columns]:
        raise ValueError(
            f"arms {path} has no column {missing[0]!r}: expected gene and arm, it has "
            f"{', '.join(table.columns)}"
        )
    rows = table.select(pl.col("gene", "arm").cast(pl.String)).drop_nulls().unique().sort("gene")
    twice = rows.filter(pl.col("gene").is_duplicated())
    if len(twice):
        gene, arms = twice["gene"][0], twice.filter(gene=twice["gene"][0])["arm"].sort()
        raise ValueError(
            f"arms {path} has gene {gene!r} on {' and '.join(arms)}: expected one arm per gene"
        )
    return dict(rows.rows())


def measure_shifts(
    plates: PlateReader, chain: Chain, arms: dict[str, str], path: Path, minimum: int
) -> Vectors:
    """Return the vector to subtract from the wells of each gene: the mean of the gene's arm.

    `path` is the file of `arms`, for error messages. Genes without an arm, and genes on arms with
    fewer than `minimum` genes, get no vector. Reads and corrects every plate once and holds one
    vector per gene in memory. Raises ValueError if no gene of the wells is in `arms`.
    """
    means = _gene_means(plates, chain)
    found = {gene: mean for gene, mean in means.items() if gene in arms}
    if not found:
        raise ValueError(
            f"arms {path} has none of the {len(means)} genes of the wells: expected names like "
            f"{', '.join(list(means)[:3]) or 'those in the wells column gene'}"
        )
    shifts, left = arm_shifts(found, arms, minimum)
    info(
        f"arms: the mean of the arm is subtracted from {len(shifts)} genes; not changed are "
        f"{len(means) - len(found)} genes that are not in the table and {len(found) - len(shifts)} "
        f"genes on arms of fewer than {minimum} genes ({', '.join(left) or 'none'})"
    )
    return shifts


def arm_shifts(means: Vectors, arms: dict[str, str], minimum: int) -> tuple[Vectors, list[str]]:
    """Return the mean over its arm's genes for each gene, and the arms that are too small.

    Genes on arms of fewer than `minimum` genes get no mean.
    """
    genes_of: dict[str, list[str]] = {}
    for gene in means:
        genes_of.setdefault(arms[gene], []).append(gene)
    shifts: Vectors = {}
    for genes in genes_of.values():
        if len(genes) >= minimum:
            # The mean is over genes and not over wells, so that each gene has the same weight.
            shift = np.mean([means[gene] for gene in genes], axis=0)
            shifts.update((gene, shift) for gene in genes)
    return shifts, sorted(arm for arm, genes in genes_of.items() if len(genes) < minimum)


def subtract_shifts(
    features: Float64[np.ndarray, "m k"], table: pl.DataFrame, shifts: Vectors
) -> Float64[np.ndarray, "m k"]:
    """Return the features with each gene's vector in `shifts` subtracted from the gene's wells."""
    shifted = features.copy()
    for gene, rows in _each_gene(table):
        if gene in shifts:
            shifted[rows] -= shifts[gene]
    return shifted


def _gene_means(plates: PlateReader, chain: Chain) -> Vectors:
    """Return the mean of the corrected wells of each gene, control wells excluded."""
    # Running sums per gene, because the corrected wells may not fit into memory.
    sums: Vectors = {}
    counts: dict[str, int] = {}
    for part in plates.parts("arms"):
        corrected = chain.apply(part.features, part.inputs)
        for gene, rows in _each_gene(plates.table[part.rows]):
            sums[gene] = sums.get(gene, 0.0) + corrected[rows].sum(axis=0)
            counts[gene] = counts.get(gene, 0) + len(rows)
    return {gene: total / counts[gene] for gene, total in sums.items()}


def _each_gene(table: pl.DataFrame) -> Iterator[tuple[str, Shaped[np.ndarray, " m"]]]:
    """Yield each gene and the row numbers of its wells; controls are left out."""
    named = table.with_row_index("row").filter(
        ~pl.col("control").fill_null(False), pl.col("gene").is_not_null(), pl.col("gene") != ""
    )
    for gene, rows in (
        named.group_by("gene", maintain_order=True).agg("row").select("gene", "row").rows()
    ):
        yield gene, np.array(rows, dtype=np.int64)
