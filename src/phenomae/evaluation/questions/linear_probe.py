"""Linear probe: a logistic regression that classifies perturbations on held-out batches.

Features are standardised; the regression is fitted on some batches and validated on the others
(Kenyon-Dean et al. 2024, arXiv 2411.02572, who choose an encoder's block with a linear probe).
Whole batches are held out because wells of one batch are similar for technical reasons.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Bool, Float, Int

from phenomae import checks
from phenomae.evaluation.questions.batch_folds import (
    Codes,
    assign_folds,
    draw_wells,
    each_fold,
    repeated_labels,
)
from phenomae.evaluation.questions.replicates import find_replicates
from phenomae.progress import info
from phenomae.wells import Profiles, require_finite

FOLDS: dict[str, pl.DataType] = {
    "fold": pl.Int64(),
    "accuracy": pl.Float64(),
    "balanced": pl.Float64(),
    "chance": pl.Float64(),
    "names": pl.Int64(),
    "wells": pl.Int64(),
    "batches": pl.Int64(),
}

NAMES: dict[str, pl.DataType] = {
    "fold": pl.Int64(),
    "name": pl.String(),
    "wells": pl.Int64(),
    "right": pl.Int64(),
}


@Parameter(name="*")
@dataclass(frozen=True)
class LinearProbeSettings:
    """Which names are classified, on which wells, and how the regression is fitted."""

    by: Literal["perturbation", "gene", "guide", "compound"] = "perturbation"
    """Column of the names to classify; controls are left out."""
    batch: str = "batch"
    """Column with the batch of each well; the wells of a batch are held out together."""
    folds: int = 5
    """Number of cross-validation folds into which the batches are divided; at most one fold per
    batch is used."""
    max_names: int = 100
    """Maximum number of names, drawn at random from those with wells in at least two batches."""
    max_wells: int = 4000
    """Maximum number of wells, divided equally among the names."""
    penalty: float = 1.0
    """Strength of the L2 penalty (scikit-learn's 1 / C)."""
    iterations: int = 1000
    """Maximum number of iterations of the fit."""
    seed: int = 0
    """Seed of the random draws."""

    def __post_init__(self) -> None:
        checks.at_least("folds", self.folds, 2)
        checks.at_least("max_names", self.max_names, 2)
        # Every name needs at least one training well and one validation well.
        checks.at_least("max_wells", self.max_wells, 2 * self.max_names)
        checks.at_least("iterations", self.iterations, 1)
        checks.above("penalty", self.penalty, 0)
        checks.at_least("seed", self.seed, 0)


def probe_wells(
    profiles: Profiles, path: Path, settings: LinearProbeSettings = LinearProbeSettings()
) -> pl.DataFrame:
    """Compute the accuracy of the linear probe on each fold of the batches, one row per fold.

    Columns: fold, accuracy (fraction of validation wells that are classified correctly), balanced
    (mean accuracy over names), chance (accuracy of always predicting the most frequent training
    name, or of guessing in proportion to the names' training frequencies, whichever is higher),
    names (of training wells), wells and batches (of validation).

    Validation wells whose name no training well has are left out. Which wells are used depends on
    the seed and the table of wells, but not on the features. `path` is named in errors.

    Raises ValueError if all wells are of one batch, or fewer than two names have wells in two
    batches.
    """
    return probe_folds(profiles, path, settings)[0]


def probe_folds(
    profiles: Profiles, path: Path, settings: LinearProbeSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the table of `probe_wells`, and the validation wells of each name in each fold.

    Columns of the second table: fold, name, wells, right (wells that are classified correctly).
    """
    require_finite(profiles, path)
    labels, batches = choose_wells(profiles.table, path, settings)
    used = np.flatnonzero(labels >= 0)
    labels, batches = labels[used], batches[used]
    features = profiles.features[used].astype(np.float64)
    # Folds of the wells that are used, so that no fold is empty because of unused batches.
    folds = assign_folds(batches, settings.folds, settings.seed)
    rows: list[tuple[float, ...]] = []
    of_names: list[pl.DataFrame] = []
    for fold, (train, validation) in enumerate(each_fold(labels, folds)):
        predicted = _predict(features, labels, train, validation, path, settings)
        numbers = _score(labels[train], labels[validation], predicted)
        count = len(np.unique(batches[validation]))
        rows.append((fold, *numbers, int(validation.sum()), count))
        of_names.append(_count_right(fold, labels[validation], predicted))
    if not rows:
        raise ValueError(
            f"{path}: no {settings.by} has wells in two of the {settings.folds} folds of the "
            f"column {settings.batch}: use more batches, or raise folds"
        )
    names = find_replicates(profiles.table, settings.by, path).names
    codes = pl.DataFrame({"code": range(len(names)), "name": names})
    named = pl.concat(of_names).join(codes, on="code", how="left", maintain_order="left")
    return pl.DataFrame(rows, schema=FOLDS, orient="row"), named.select(list(NAMES))


def _count_right(
    fold: int,
    expected: Int[np.ndarray, " validation"],
    predicted: Int[np.ndarray, " validation"],
) -> pl.DataFrame:
    """Return the numbers of validation wells, and of those classified correctly, by name code."""
    wells = pl.DataFrame({"code": expected, "right": (predicted == expected).astype(np.int64)})
    counts = wells.group_by("code").agg(wells=pl.len().cast(pl.Int64), right=pl.col("right").sum())
    return counts.sort("code").select(pl.lit(fold).cast(pl.Int64).alias("fold"), pl.all())


def choose_wells(
    table: pl.DataFrame, path: Path, settings: LinearProbeSettings
) -> tuple[Codes, Codes]:
    """Return the name and the batch of each well as codes; name -1 marks wells that are not used.

    Raises ValueError if the wells have no batch column or a single batch, or fewer than two names
    have wells in two batches.
    """
    if settings.batch not in table.columns:
        raise ValueError(
            f"batch {settings.batch}: {path} has no such column; it has {table.columns}"
        )
    labels = find_replicates(table, settings.by, path).groups
    named = table[settings.batch].cast(pl.String).fill_null("").to_numpy()
    batches = np.unique(named, return_inverse=True)[1]
    if len(np.unique(batches[labels >= 0])) < 2:
        raise ValueError(
            f"{path} has wells of a single {settings.batch}, but the linear probe is validated on "
            "wells of another batch: set batch to another column, like plate"
        )
    if (count := len(repeated_labels(labels, batches))) < 2:
        raise ValueError(
            f"{path} has {count} names in the column {settings.by} with wells in two batches "
            f"(column {settings.batch}), but at least 2 are needed: set by or batch to "
            "another column"
        )
    drawn = draw_wells(labels, batches, settings.max_names, settings.max_wells, settings.seed)
    return drawn, batches


def _predict(
    features: Float[np.ndarray, "n d"],
    labels: Codes,
    train: Bool[np.ndarray, " n"],
    validation: Bool[np.ndarray, " n"],
    path: Path,
    settings: LinearProbeSettings,
) -> Int[np.ndarray, " validation"]:
    """Fit the regression on the training wells and predict the names of the validation wells."""
    # Imported here, because scikit-learn is slow to import and would delay `ask probe --help`.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=1 / settings.penalty, max_iter=settings.iterations)
    pipeline = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        pipeline.fit(features[train], labels[train])
    if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
        info(
            f"{path}: the linear probe did not converge in {settings.iterations} iterations; "
            "raise iterations"
        )
    return pipeline.predict(features[validation])


def _score(
    training: Int[np.ndarray, " train"],
    expected: Int[np.ndarray, " validation"],
    predicted: Int[np.ndarray, " validation"],
) -> tuple[float, float, float, int]:
    """Return accuracy, balanced accuracy, chance, and the number of names of training wells."""
    names, counts = np.unique(training, return_counts=True)
    shares = (expected[:, None] == names).mean(axis=0)
    # If several names are the most frequent in training, predicting one of them at random has their
    # mean accuracy. The most frequent training names tend to have few validation wells, so that
    # this accuracy alone would understate chance.
    commonest = shares[counts == counts.max()].mean()
    chance = float(max(commonest, shares @ counts / counts.sum()))
    per_name = [(predicted[expected == name] == name).mean() for name in np.unique(expected)]
    return float((predicted == expected).mean()), float(np.mean(per_name)), chance, len(names)
