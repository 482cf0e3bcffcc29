"""Does a compound look like the genes it acts on: average precision of its known targets.

As the RxRx3-core benchmark asks (Kraus et al. 2025, arXiv 2503.20158): for every compound, its
active genes and a sample of inactive ones are ordered by the absolute cosine between the compound's
vector and theirs.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64, Int

from phenomae.evaluation.questions.average_precision import average_precisions, chance_precision
from phenomae.evaluation.questions.potencies import Targets, find_targets, read_potencies
from phenomae.evaluation.settings import check_seed
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_map
from phenomae.progress import info

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
    """Which genes a compound should look like."""

    potencies: Path
    """CSV file with the columns compound, gene, activity_um: at which concentration, in micromolar,
    a compound acts on a gene's product."""
    active_um: float = 1.0
    """A gene is active for a compound up to this potency."""
    inactive_um: float = 10.0
    """... and left out between that and this one; above it, or not listed, it is inactive."""
    least_inactive: int = 20
    """Inactive genes drawn for a compound: twice as many as active ones, and at least so many."""
    samples: int = 100
    """Draws of inactive genes that average precision is the mean of."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 0 < self.active_um <= self.inactive_um:
            raise ValueError(
                f"active_um {self.active_um} must be above 0 and at most inactive_um "
                f"{self.inactive_um}, like 1 and 10"
            )
        for name in ("least_inactive", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")


def rank_targets(
    genes: ConsensusProfiles,
    compounds: ConsensusProfiles,
    genes_source: Path,
    compounds_source: Path,
    settings: CompoundSettings,
) -> pl.DataFrame:
    """Return the rows of compounds.csv: a row a dose of a compound, and one for the best of all.

    In the row `best`, a gene's score is its highest over the doses. `average_precision` is the mean
    over the draws, `sd` its spread over them; `chance` what a random order gives in the mean.
    `compounds` is a map by dose, or one by compound, which gives the best rows alone. A draw is a
    function of the seed and the compound's name.

    Raises ValueError where the maps have not as many features, the potencies name no compound or no
    gene of them, or no compound has an active gene and enough inactive ones.
    """
    widths = genes.features.shape[1], compounds.features.shape[1]
    if widths[0] != widths[1]:
        raise ValueError(
            f"{genes_source} has {widths[0]} features and {compounds_source} {widths[1]}: make "
            "both maps from wells corrected alike"
        )
    table = read_potencies(settings.potencies)
    doses = doses_of(compounds)
    _require_names(table, "compound", set(doses["compound"]), settings, compounds_source)
    _require_names(table, "gene", set(genes.names), settings, genes_source)
    asked = _choose_compounds(table, genes.names, set(doses["compound"]), settings)
    gene_units = unit_map(genes, genes_source)
    dose_units = unit_map(compounds, compounds_source)
    rows: list[Row] = []
    for compound, targets in asked.items():
        of_compound = doses.filter(pl.col("compound") == compound)
        vectors = dose_units[of_compound["row"].to_numpy()]
        right = np.abs(vectors @ gene_units[targets.active].T)
        wrong = np.abs(vectors @ gene_units[targets.inactive].T)
        drawn = draw_inactive(compound, targets, settings)
        for dose, one, other in zip(of_compound["concentration_um"], right, wrong, strict=True):
            if dose is not None:
                rows.append((compound, dose, False, *_judge(one, other, drawn)))
        best = _judge(right.max(axis=0), wrong.max(axis=0), drawn)
        rows.append((compound, None, True, *best))
    return pl.DataFrame(rows, schema=COMPOUNDS, orient="row")


def mean_over_compounds(table: pl.DataFrame) -> pl.DataFrame:
    """Return the means over compounds of `rank_targets`' table, a row a dose and one for the best.

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


def doses_of(compounds: ConsensusProfiles) -> pl.DataFrame:
    """Return compound, concentration and row of a map by dose; of another map, names alone.

    Columns: compound, concentration_um, row.
    """
    obs, count = compounds.obs, len(compounds.names)
    named = obs["compound"].cast(pl.String) if "compound" in obs.columns else compounds.names
    doses = pl.lit(None, pl.Float64)
    if "concentration_um" in obs.columns:
        doses = pl.Series(obs["concentration_um"].cast(pl.Float64)).fill_nan(None)
    table = pl.DataFrame({"compound": named, "row": np.arange(count)})
    return table.with_columns(concentration_um=doses).sort("compound", "concentration_um")


def draw_inactive(
    compound: str, targets: Targets, settings: CompoundSettings
) -> Int[np.ndarray, "samples m"]:
    """Return the draws of a compound's inactive genes, as places among them.

    A function of the seed and the compound's name, whatever the compounds beside it.
    """
    rng = np.random.default_rng([settings.seed, zlib.crc32(compound.encode())])
    keys = rng.random((settings.samples, len(targets.inactive)))
    return keys.argsort(axis=1)[:, : _count(targets, settings)]


def _judge(
    right: Float64[np.ndarray, " a"],
    wrong: Float64[np.ndarray, " i"],
    drawn: Int[np.ndarray, "samples m"],
) -> tuple[int, int, float, float | None, float]:
    """Return the columns of a row from `active` on."""
    found = average_precisions(right, wrong[drawn])
    spread = float(found.std(ddof=1)) if len(found) > 1 else None
    count = drawn.shape[1]
    return len(right), count, float(found.mean()), spread, chance_precision(len(right), count)


def _choose_compounds(
    table: pl.DataFrame, genes: list[str], compounds: set[str], settings: CompoundSettings
) -> dict[str, Targets]:
    """Return the compounds on the map that can be asked, with their genes on the other map."""
    targets = find_targets(table, genes, settings.active_um, settings.inactive_um)
    asked = {
        compound: found
        for compound, found in targets.items()
        if compound in compounds and len(found.inactive) >= _count(found, settings)
    }
    if not asked:
        raise ValueError(
            f"{settings.potencies}: no compound on the map has an active gene on it (up to "
            f"{settings.active_um} uM) and {settings.least_inactive} inactive ones"
        )
    if left_out := table["compound"].n_unique() - len(asked):
        info(f"compounds not on the map, without active genes or enough others there: {left_out}")
    return asked


def _count(targets: Targets, settings: CompoundSettings) -> int:
    """Return how many inactive genes are drawn beside the active ones."""
    return max(2 * len(targets.active), settings.least_inactive)


def _require_names(
    table: pl.DataFrame, column: str, names: set[str], settings: CompoundSettings, source: Path
) -> None:
    listed = table[column].unique().sort()
    if not any(name in names for name in listed):
        raise ValueError(
            f"{settings.potencies}: none of its {len(listed)} {column}s is on the map {source}, "
            f"which holds {column}s like {', '.join(sorted(names)[:3])}"
        )
