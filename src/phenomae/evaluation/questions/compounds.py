"""Does a compound resemble the genes it acts on? Average precision of known targets.

Follows the RxRx3-core benchmark (Kraus et al. 2025, arXiv 2503.20158): the active genes of every
compound and a random sample of its inactive genes are ranked by the absolute cosine with the
compound. The cosine is absolute because inhibiting a protein can have the opposite effect of
knocking out its gene.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64, Int

from phenomae import checks
from phenomae.evaluation.questions.average_precision import average_precisions, chance_precision
from phenomae.evaluation.questions.potencies import Targets, find_targets, read_potencies
from phenomae.evaluation.questions.question import Question, Tables, takes_map
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_map
from phenomae.paths import PathLike
from phenomae.progress import count_of, info

Row = tuple[str | float | bool | None, ...]
COMPOUNDS: dict[str, pl.DataType] = {
    "compound": pl.String(),
    "concentration_um": pl.Float64(),
    "best": pl.Boolean(),
    "active": pl.Int64(),
    "inactive": pl.Int64(),
    "average_precision": pl.Float64(),
    "sd": pl.Float64(),
    "chance": pl.Float64(),
}


@Parameter(name="*")
@dataclass(frozen=True)
class CompoundSettings:
    """Which genes are active and inactive targets of a compound, and how many are drawn."""

    potencies: PathLike
    """CSV file with the columns compound, gene, activity_um: the concentration in micromolar at
    which a compound acts on the product of a gene."""
    active_um: float = 1.0
    """A gene is an active target of a compound if its potency is at most this, in micromolar."""
    inactive_um: float = 10.0
    """A gene of the table is an inactive target of a compound if its potency is above this or not
    listed; genes with a potency between active_um and inactive_um are left out."""
    min_inactive: int = 20
    """Minimum number of inactive genes per draw; twice the number of active genes if that is
    more."""
    samples: int = 100
    """Number of random draws of inactive genes; average precision is the mean over the draws."""
    seed: int = 0
    """Seed of the random draws."""

    def __post_init__(self) -> None:
        checks.whole_numbers(self)
        checks.above("active_um", self.active_um, 0)
        checks.at_least("inactive_um", self.inactive_um, self.active_um)
        checks.at_least("min_inactive", self.min_inactive, 1)
        checks.at_least("samples", self.samples, 1)
        checks.at_least("seed", self.seed, 0)


def rank_targets(
    gene_map: ConsensusProfiles,
    compound_map: ConsensusProfiles,
    genes_path: Path,
    compounds_path: Path,
    settings: CompoundSettings,
) -> pl.DataFrame:
    """Compute the rows of compounds.csv: one per dose of a compound, and one over all its doses.

    In the row over all doses (`best` is true), the score of a gene is its highest over the doses.
    `average_precision` is the mean over the draws, `sd` the standard deviation over the draws,
    `chance` the expected value of a random ranking. `compound_map` is a map by dose; a map by
    compound gives only rows with `best`.

    Raises ValueError if the maps differ in their number of features, the potencies name no compound
    or no gene of the maps, or no compound has an active gene and enough inactive ones.
    """
    widths = gene_map.features.shape[1], compound_map.features.shape[1]
    if widths[0] != widths[1]:
        raise ValueError(
            f"{genes_path} has {count_of(widths[0], 'feature')} and {compounds_path} has "
            f"{widths[1]}: make both maps from the same corrected wells"
        )
    table = read_potencies(Path(settings.potencies))
    doses = doses_of(compound_map)
    _require_names(table, "compound", set(doses["compound"]), settings, compounds_path)
    _require_names(table, "gene", set(gene_map.names), settings, genes_path)
    chosen = _choose_compounds(table, gene_map.names, set(doses["compound"]), settings)
    gene_units = unit_map(gene_map, genes_path)
    dose_units = unit_map(compound_map, compounds_path)
    rows: list[Row] = []
    for compound, targets in chosen.items():
        of_compound = doses.filter(pl.col("compound") == compound)
        vectors = dose_units[of_compound["row"].to_numpy()]
        right = np.abs(vectors @ gene_units[targets.active].T)
        wrong = np.abs(vectors @ gene_units[targets.inactive].T)
        drawn = draw_inactive(compound, targets, settings)
        for dose, active, inactive in zip(
            of_compound["concentration_um"], right, wrong, strict=True
        ):
            if dose is not None:
                rows.append((compound, dose, False, *_score(active, inactive, drawn)))
        # The highest score over the doses is taken for every gene separately. This raises the
        # scores of active and inactive genes alike, so chance stays the same.
        best = _score(right.max(axis=0), wrong.max(axis=0), drawn)
        rows.append((compound, None, True, *best))
    return pl.DataFrame(rows, schema=COMPOUNDS, orient="row")


def mean_over_compounds(table: pl.DataFrame) -> pl.DataFrame:
    """Average the table of `rank_targets` over compounds: one row per dose, one for `best`.

    Columns: concentration_um, best, compounds, average_precision, se (standard error over
    compounds), chance.
    """
    precision = pl.col("average_precision")
    means = table.group_by("concentration_um", "best").agg(
        compounds=pl.len().cast(pl.Int64),
        average_precision=precision.mean(),
        se=precision.std() / pl.len().sqrt(),
        chance=pl.col("chance").mean(),
    )
    return means.sort("best", "concentration_um")


def doses_of(compound_map: ConsensusProfiles) -> pl.DataFrame:
    """Return compound, concentration and row index of a map by dose.

    Columns: compound, concentration_um (null if the map is not by dose), row.
    """
    obs, count = compound_map.obs, len(compound_map.names)
    named = obs["compound"].cast(pl.String) if "compound" in obs.columns else compound_map.names
    doses = pl.lit(None, pl.Float64)
    if "concentration_um" in obs.columns:
        doses = pl.Series(obs["concentration_um"].cast(pl.Float64)).fill_nan(None)
    table = pl.DataFrame({"compound": named, "row": np.arange(count)})
    return table.with_columns(concentration_um=doses).sort("compound", "concentration_um")


def draw_inactive(
    compound: str, targets: Targets, settings: CompoundSettings
) -> Int[np.ndarray, "samples m"]:
    """Draw samples of a compound's inactive genes, as indices into `targets.inactive`."""
    # Seeded by the compound's name, so that its draws do not depend on the other compounds. crc32,
    # because Python's hash of a string differs between processes.
    rng = np.random.default_rng([settings.seed, zlib.crc32(compound.encode())])
    keys = rng.random((settings.samples, len(targets.inactive)))
    return keys.argsort(axis=1)[:, : _count(targets, settings)]


def _score(
    right: Float64[np.ndarray, " a"],
    wrong: Float64[np.ndarray, " i"],
    drawn: Int[np.ndarray, "samples m"],
) -> tuple[int, int, float, float | None, float]:
    """Return the values of the columns active, inactive, average_precision, sd and chance."""
    found = average_precisions(right, wrong[drawn])
    # A single draw has no standard deviation; numpy would return NaN with a warning.
    spread = float(found.std(ddof=1)) if len(found) > 1 else None
    count = drawn.shape[1]
    return len(right), count, float(found.mean()), spread, chance_precision(len(right), count)


def _choose_compounds(
    table: pl.DataFrame, genes: list[str], compounds: set[str], settings: CompoundSettings
) -> dict[str, Targets]:
    """Return the targets of each compound on the map with enough active and inactive genes."""
    targets = find_targets(table, genes, settings.active_um, settings.inactive_um)
    chosen = {
        compound: found
        for compound, found in targets.items()
        if compound in compounds and len(found.inactive) >= _count(found, settings)
    }
    if not chosen:
        raise ValueError(
            f"{settings.potencies}: no compound of the map has an active gene (up to "
            f"{settings.active_um} uM) and {settings.min_inactive} inactive genes on the map: set "
            "active_um higher or min_inactive lower, or list more genes"
        )
    if left_out := table["compound"].n_unique() - len(chosen):
        info(
            "compounds left out, not on the map or without enough active and inactive genes there: "
            f"{left_out}"
        )
    return chosen


def _count(targets: Targets, settings: CompoundSettings) -> int:
    """Return the number of inactive genes in each draw."""
    return max(2 * len(targets.active), settings.min_inactive)


def _require_names(
    table: pl.DataFrame, column: str, names: set[str], settings: CompoundSettings, path: Path
) -> None:
    # The usual reason is that potencies and map use different identifiers; the error shows some.
    listed = table[column].unique().sort()
    if not any(name in names for name in listed):
        raise ValueError(
            f"{settings.potencies}: none of its {len(listed)} {column}s is on the map {path}, "
            f"which has {column}s like {', '.join(sorted(names)[:3])}"
        )


def _tables(
    gene_map: ConsensusProfiles,
    compound_map: ConsensusProfiles,
    genes_path: Path,
    compounds_path: Path,
    settings: CompoundSettings,
) -> Tables:
    table = rank_targets(gene_map, compound_map, genes_path, compounds_path, settings)
    return {"compounds.csv": table, "means.csv": mean_over_compounds(table)}


QUESTION = Question(
    name="compounds",
    help="""Does a compound resemble the genes it acts on? Average precision of known targets.

    Writes compounds.csv, one row per dose of a compound and one over all its doses, and means.csv,
    the means over compounds, which is printed. Raises ValueError if the maps have none of the
    compounds or none of the genes of the potencies.
    """,
    takes=(
        takes_map("genes", "Map by gene."),
        takes_map(
            "compounds", "Map by dose (`map --by dose`) of the same screen and corrected wells."
        ),
    ),
    settings=CompoundSettings,
    tables=_tables,
    printed="means.csv",
    files=("potencies",),
)
