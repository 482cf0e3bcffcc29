"""What `clusters` prints: the largest clusters, and how far they can be relied on."""

from collections.abc import Mapping

import polars as pl

from phenomae.evaluation.clusters.stability import DISSOLVED, STABLE
from phenomae.print_table import show
from phenomae.progress import count_of, info

_SHOWN, _LETTERS = 20, 44


def print_summary(tables: Mapping[str, pl.DataFrame], level: float) -> None:
    """Print the largest clusters with what they are enriched for, and what to think of them."""
    show(_largest(tables, level))
    sizes = tables["sizes"]
    _print_sizes(sizes)
    _print_structure(tables["structure"])
    if len(tables["agreement"]):
        _print_stability(sizes, tables["agreement"])
    if "chance" in tables:
        _print_chance(tables["chance"], level)


def _largest(tables: Mapping[str, pl.DataFrame], level: float) -> pl.DataFrame:
    shown = tables["sizes"].head(_SHOWN)
    columns = ["cluster", "names", "jaccard"]
    if "enrichment" not in tables:
        return shown.select(*columns, _short("members"))
    best = tables["enrichment"].filter(pl.col("fdr") <= level)
    best = best.unique("cluster", keep="first", maintain_order=True)
    both = shown.join(best, on="cluster", how="left", maintain_order="left")
    rates = [None if rate is None else f"{rate:.2g}" for rate in both["fdr"]]
    parts = ["source", "overlap", "in_set", pl.Series("fdr", rates, dtype=pl.String)]
    return both.select(*columns, _short("set"), *parts)


def _short(column: str) -> pl.Expr:
    text = pl.col(column)
    return (
        pl.when(text.str.len_chars() > _LETTERS)
        .then(text.str.slice(0, _LETTERS - 3) + "...")
        .otherwise(text)
    )


def _print_sizes(sizes: pl.DataFrame) -> None:
    smallest, largest = sizes["names"].min(), sizes["names"].max()
    info(
        f"{count_of(len(sizes), 'cluster')} of {count_of(int(sizes['names'].sum()), 'name')}, "
        f"of {smallest:,} to {largest:,} names each"
    )
    if controls := sizes["controls"].sum():
        info(f"{controls:,} of the names are controls, which are clustered as well")


def _print_structure(structure: pl.DataFrame) -> None:
    own, *normal = structure["modularity"].to_list()
    if not normal:
        return
    info(
        f"modularity {own:.3f}; of {count_of(len(normal), 'map')} without clusters, drawn from one "
        f"normal distribution of the same covariance, {min(normal):.3f} to {max(normal):.3f}"
    )
    if own <= max(normal):
        info("this map is not more clustered than those: its clusters need not be groups of names")


def _print_stability(sizes: pl.DataFrame, agreement: pl.DataFrame) -> None:
    rand, jaccard = agreement["adjusted_rand"], sizes["jaccard"]
    stable = sizes.filter(jaccard >= STABLE)
    info(
        f"adjusted Rand index {rand.mean():.3f} over {count_of(len(rand), 'pair')} of seeds "
        f"({rand.min():.3f} to {rand.max():.3f}). Clusters that come back with other seeds (mean "
        f"Jaccard at least {STABLE}): {len(stable)} of {len(sizes)}; that do not (less than "
        f"{DISSOLVED}): {(jaccard < DISSOLVED).sum()}"
    )
    if 2 * stable["names"].sum() < sizes["names"].sum():
        info(
            "most names are in clusters that do not come back: they depend on the seed, so do not "
            "rely on them; another resolution may give clusters that do"
        )


def _print_chance(chance: pl.DataFrame, level: float) -> None:
    row = chance.row(0, named=True)
    info(
        f"clusters that are enriched for a known set (false discovery rate at most {level}, "
        f"{count_of(row['tests'], 'test')}): {row['enriched']} of {row['clusters']}; of random "
        f"clusters of the same sizes {row['shuffled']:.2g} (mean of {row['n']}, p = "
        f"{row['enriched_p']:.2g})"
    )
    info(
        f"the lowest p-value is {row['lowest']:.2g}; random clusters have one as low with p = "
        f"{row['lowest_p']:.2g}"
    )
    if min(row["enriched_p"], row["lowest_p"]) > level:
        info("random clusters are as enriched: these known sets say nothing of the clusters")
