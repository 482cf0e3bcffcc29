"""Are known pairs enriched among similar pairs? Odds ratios, by source, class and gene.

Two kinds of 2 x 2 tables: all pairs of the map, and the ranking of every gene (MorphoHELM, Lu et
al. 2026, arXiv 2605.15383). The p-values of the first come from permuted names, because Fisher's
exact test assumes pairs that are independent; those of the second come from Fisher's exact test.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter

from phenomae import checks
from phenomae.evaluation.benchmark import check_count
from phenomae.evaluation.questions.enriched_genes import rank_genes
from phenomae.evaluation.questions.enriched_pairs import find_similar, upper_tail
from phenomae.evaluation.questions.enrichment_tables import (
    COUNTS,
    find_sets,
    genes_table,
    pairs_table,
    random_tables,
)
from phenomae.evaluation.questions.known_pairs import read_sources
from phenomae.evaluation.questions.odds import Tables as OddsTables
from phenomae.evaluation.questions.question import Figure, Question, Score, Tables, takes_map
from phenomae.evaluation.questions.unit_scores import UnitScores, unit_scores
from phenomae.evaluation.recall.baselines import split_by
from phenomae.evaluation.settings import Several, check_level
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_map
from phenomae.paths import PathLike

KEYS = ("source", "top")


@Parameter(name="*")
@dataclass(frozen=True)
class EnrichmentSettings:
    """What is known, how many pairs are similar, and how uncertainty is estimated."""

    annotations: PathLike | None = None
    """A file of known pairs with the columns entity1,entity2, or a folder of such .txt and .csv
    files. Each file is a source, named by its stem."""
    complexes: PathLike | None = None
    """File with one complex per line: name, tab, genes separated by blanks; or a .gmt file. Two
    genes of a complex are a known pair."""
    mechanisms: PathLike | None = None
    """CSV file with the columns compound, mechanism, for a map of compounds. Two compounds of a
    mechanism are a known pair."""
    top: Annotated[tuple[float, ...], Several] = (0.01,)
    """Fraction of all pairs, and of a gene's neighbours, that is called similar. Several values may
    be given."""
    min_genes: int = 3
    """Minimum number of genes (or compounds) on the map of a complex (or mechanism) with a row of
    its own. Pairs of smaller ones are still known pairs."""
    shuffle: int = 1000
    """Number of permutations of the names for p-values of pairs; 0 for none."""
    resamples: int = 1000
    """Number of bootstrap resamples of the genes for 95 % confidence intervals; 0 for none."""
    level: float = 0.05
    """Significance level: a gene is enriched if its p-value is at most this level."""
    seed: int = 0
    """Seed of the permutations and the bootstrap."""

    def __post_init__(self) -> None:
        checks.whole_numbers(self)
        checks.require(bool(self.top), "top", "at least one fraction, like 0.01", "empty")
        for top in self.top:
            checks.between("top", top, 0, 1)
            if self.top.count(top) > 1:
                raise ValueError(f"top has {top} twice: give it once")
        checks.at_least("min_genes", self.min_genes, 2)
        checks.at_least("shuffle", self.shuffle, 0)
        checks.at_least("resamples", self.resamples, 0)
        checks.at_least("seed", self.seed, 0)
        check_level(self.level)


def measure_enrichment(
    profiles: ConsensusProfiles, path: Path, settings: EnrichmentSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compute the rows of pairs.csv and of genes.csv.

    pairs.csv has one row per fraction `top`, source and class: source, class (null for all pairs of
    the source), top, genes, the four counts of the table, odds_ratio, ci_low, ci_high, fisher_p, p
    and fdr (Benjamini & Hochberg 1995, over the sources, and over the classes of a source).
    genes.csv has one row per `top`, source and gene with known pairs: source, gene, top, the four
    counts, odds_ratio, ci_low, ci_high, p, fdr (over the genes of the source), chance (expected
    odds ratio). `path`, the file of the map, is named in errors.

    Raises ValueError if a profile is NaN or zero, no file of known pairs is given, no known pair is
    on the map, or a fraction `top` of all pairs is less than one pair.
    """
    unit = unit_map(profiles, path)
    check_count(len(unit), path, [upper_tail(top) for top in settings.top])
    sources = read_sources(
        settings.annotations, settings.complexes, settings.mechanisms, profiles.names, path
    )
    pairs = pairs_table(
        find_similar(unit, settings.top),
        find_sets(sources, settings.min_genes),
        settings.top,
        shuffles=settings.shuffle,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    ranked = rank_genes(unit, settings.top, [source.pairs for source in sources])
    genes = [
        genes_table(source.name, top, tables[which], [profiles.names[row] for row in rows.tolist()])
        for which, top in enumerate(settings.top)
        for source, (rows, tables) in zip(sources, ranked, strict=True)
    ]
    return pairs, pl.concat(genes)


def summarize_enrichment(
    pairs: pl.DataFrame, genes: pl.DataFrame, level: float = 0.05
) -> pl.DataFrame:
    """Return one row per source and fraction: the odds ratios of its pairs and of its genes.

    Columns: source, top, odds_ratio, ci_low, ci_high, p, fdr (those of all pairs of the source),
    genes (with known pairs), gene_odds_ratio (geometric mean over the genes), gene_chance (its
    expected value), enriched (fraction of genes with p <= level), enriched_chance (its expected
    value), enriched_fdr (fraction with fdr <= level).
    """
    tables = OddsTables(*(genes[name].to_numpy() for name in COUNTS))
    significant = random_tables(tables).significant(level)
    genes = genes.with_columns(significant=pl.Series(significant))
    of_genes = genes.group_by("source", "top", maintain_order=True).agg(
        genes=pl.len().cast(pl.Int64),
        gene_odds_ratio=pl.col("odds_ratio").log().mean().exp(),
        gene_chance=pl.col("chance").log().mean().exp(),
        enriched=(pl.col("p") <= level).mean(),
        enriched_chance=pl.col("significant").mean(),
        enriched_fdr=(pl.col("fdr") <= level).mean(),
    )
    names = ["source", "top", "odds_ratio", "ci_low", "ci_high", "p", "fdr"]
    of_sources = pairs.filter(pl.col("class").is_null()).select(names)
    return of_sources.join(of_genes, on=["source", "top"], maintain_order="left")


def _tables(profiles: ConsensusProfiles, path: Path, settings: EnrichmentSettings) -> Tables:
    pairs, genes = measure_enrichment(profiles, path, settings)
    summary = summarize_enrichment(pairs, genes, settings.level)
    return {"enriched.csv": summary, "pairs.csv": pairs, "genes.csv": genes}


def _units(tables: Tables, settings: EnrichmentSettings) -> dict[tuple[str, ...], UnitScores]:
    """Return whether each gene is enriched, by source and fraction."""
    genes = tables["genes.csv"].with_columns(pl.col("top").cast(pl.String))
    return {
        tuple(key.values()): unit_scores(rows, "gene", total=pl.col("p") <= settings.level)
        for key, rows in split_by(genes, KEYS)
    }


def _conclude(printed: pl.DataFrame) -> str:
    low, high = printed["gene_chance"].min(), printed["gene_chance"].max()
    return (
        f"gene_odds_ratio is {low:.3g} to {high:.3g} by chance, because .5 is added to tables with "
        "a 0: compare it with gene_chance; odds_ratio is 1 by chance"
    )


QUESTION = Question(
    name="enrichment",
    help="""Are known pairs enriched among similar pairs? Odds ratios with FDR.

    Writes pairs.csv (one row per source, complex or mechanism), genes.csv (one row per source and
    gene), enriched.csv, the summary by source, which is printed, and a figure of it in the folder
    figures. Raises ValueError if no known pair is on the map.
    """,
    takes=(takes_map("map", "Map by gene, or by compound."),),
    settings=EnrichmentSettings,
    tables=_tables,
    printed="enriched.csv",
    figure=Figure("enrichment", "phenomae.reporting.figures.enrichment:draw_answer"),
    files=("annotations", "complexes", "mechanisms"),
    conclude=_conclude,
    score=Score("enriched", _units, KEYS),
)
