"""Linear probe: a logistic regression that classifies perturbations of wells that are left out.

Features are standardised; the regression is fitted on some batches and validated on the others
(Kenyon-Dean et al. 2024, arXiv 2411.02572, who choose an encoder's block with a linear probe).
Whole batches are left out because wells of one batch are similar for technical reasons; of
mechanisms, whole compounds, because a compound that was seen is recognised without its mechanism.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

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
from phenomae.evaluation.questions.compound_profiles import read_mechanisms
from phenomae.evaluation.questions.replicates import find_replicates
from phenomae.paths import PathLike
from phenomae.progress import count_of, info, tracked
from phenomae.wells import Profiles, require_finite

FOLDS: dict[str, pl.DataType] = {
    "fold": pl.Int64(),
    "accuracy": pl.Float64(),
    "balanced": pl.Float64(),
    "chance": pl.Float64(),
    "names": pl.Int64(),
    "wells": pl.Int64(),
    "groups": pl.Int64(),
}


@Parameter(name="*")
@dataclass(frozen=True)
class LinearProbeSettings:
    """Which names are classified, on which wells, and how the regression is fitted."""

    by: Literal["perturbation", "gene", "guide", "compound", "mechanism"] = "perturbation"
    """Column of the names to classify; controls are left out. mechanism: the mechanism of each
    well's compound."""
    mechanisms: PathLike | None = None
    """CSV file with the columns compound, mechanism; required if by is mechanism."""
    leave_out: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (
        "batch",
    )
    """Columns, like batch, plate or compound, whose values are left out: no training well has the
    same value as a validation well, in any of these columns."""
    folds: int = 5
    """Number of cross-validation folds into which the values of a column are divided; a number at
    least as high as that of the values leaves out one value at a time."""
    max_names: int = 100
    """Maximum number of names, drawn at random from those with wells of at least two values in
    each of the columns leave_out."""
    max_wells: int = 4000
    """Maximum number of wells, divided equally among the names."""
    penalty: float = 1.0
    """Strength of the L2 penalty (scikit-learn's 1 / C)."""
    iterations: int = 1000
    """Maximum number of iterations of the fit."""
    seed: int = 0
    """Seed of the random draws."""

    def __post_init__(self) -> None:
        checks.whole_numbers(self)
        checks.require(bool(self.leave_out), "leave_out", "one or more columns", "empty")
        checks.at_least("folds", self.folds, 2)
        checks.at_least("max_names", self.max_names, 2)
        # Every name needs at least one training well and one validation well.
        checks.at_least("max_wells", self.max_wells, 2 * self.max_names)
        checks.at_least("iterations", self.iterations, 1)
        checks.above("penalty", self.penalty, 0)
        checks.at_least("seed", self.seed, 0)
        if self.by == "mechanism" and self.mechanisms is None:
            raise ValueError("by mechanism needs mechanisms: name a file, or set another by")
        if self.by != "mechanism" and self.mechanisms is not None:
            raise ValueError(
                "mechanisms needs by mechanism: set by to mechanism, or leave mechanisms out"
            )


@dataclass(frozen=True)
class LinearProbe:
    """What the linear probe predicts on wells that were left out of its training."""

    folds: pl.DataFrame
    """One row per fold; `probe_wells` describes the columns."""
    predictions: pl.DataFrame
    """One row per validation well: fold, plate, well, name, predicted."""

    @property
    def balanced(self) -> float:
        """Balanced accuracy over the wells of all folds together, as a fold may lack names."""
        hits = self.predictions.select("name", hit=pl.col("name") == pl.col("predicted"))
        # Sorted, so that the sum has the same bits each time.
        means = hits.group_by("name").agg(pl.col("hit").mean()).sort("name")
        return float(means["hit"].to_numpy().mean())


def probe_wells(
    profiles: Profiles, path: Path, settings: LinearProbeSettings = LinearProbeSettings()
) -> pl.DataFrame:
    """Compute the accuracy of the linear probe on each fold, one row per fold.

    Columns: fold, accuracy (fraction of validation wells that are classified correctly), balanced
    (mean accuracy over names), chance (accuracy of always predicting the most frequent training
    name, or of guessing in proportion to the names' training frequencies, whichever is higher),
    names (of training wells), wells and groups (values, or combinations of values, of the columns
    `leave_out`) of validation.

    Validation wells whose name no training well has are left out. Which wells are used depends on
    the seed and the table of wells, but not on the features. `path` is named in errors.

    Raises ValueError if all wells have one value of a column that is left out, fewer than two names
    have wells of two values, or the file of mechanisms cannot be used.
    """
    return fit_probe(profiles, path, settings).folds


def fit_probe(
    profiles: Profiles,
    path: Path,
    settings: LinearProbeSettings = LinearProbeSettings(),
    show_progress: bool = False,
) -> LinearProbe:
    """Fit the linear probe on all folds; return accuracies and predictions.

    `show_progress` counts the folds, for callers that show no progress themselves. Raises
    ValueError as `probe_wells` does.
    """
    require_finite(profiles, path)
    names, labels, columns = choose_wells(profiles.table, path, settings)
    used = np.flatnonzero(labels >= 0)
    labels, columns = labels[used], [codes[used] for codes in columns]
    features, groups = profiles.features[used].astype(np.float64), _combine(columns)
    # Folds of the wells that are used, so that no fold is empty because of unused batches.
    folds = [assign_folds(codes, settings.folds, settings.seed) for codes in columns]
    rows: list[tuple[float, ...]] = []
    parts: list[pl.DataFrame] = []
    splits = list(each_fold(labels, folds))
    each = tracked(splits, "linear probe", len(splits), "folds") if show_progress else splits
    for fold, (train, validation) in enumerate(each):
        predicted = _predict(features, labels, train, validation, path, settings)
        numbers = _score(labels[train], labels[validation], predicted)
        count = len(np.unique(groups[validation]))
        rows.append((fold, *numbers, int(validation.sum()), count))
        found = {"name": names[labels[validation]], "predicted": names[predicted]}
        wells = profiles.table[used[validation]].select(pl.lit(fold).alias("fold"), "plate", "well")
        parts.append(wells.with_columns(pl.Series(key, value) for key, value in found.items()))
    if not rows:
        raise ValueError(
            f"{path}: no {settings.by} has wells in two of the {settings.folds} folds of the "
            f"column {' and '.join(settings.leave_out)}: raise folds, or set leave_out to another "
            "column"
        )
    if missing := len(used) - sum(map(len, parts)):
        info(
            f"{path}: wells not classified, as no training well has their {settings.by}: {missing}"
        )
    return LinearProbe(pl.DataFrame(rows, schema=FOLDS, orient="row"), pl.concat(parts))


def choose_wells(
    table: pl.DataFrame, path: Path, settings: LinearProbeSettings
) -> tuple[np.ndarray, Codes, list[Codes]]:
    """Return the names, the name of each well as a code, and codes of each column of `leave_out`.

    Code -1 marks wells that are not used. Raises ValueError if the wells lack a column or have a
    single value of it, or fewer than two names have wells of two values.
    """
    table = _add_mechanisms(table, path, settings)
    replicates = find_replicates(table, settings.by, path)
    labels = replicates.groups
    columns = [_encode(table, column, labels, path) for column in settings.leave_out]
    for column, codes in zip(settings.leave_out, columns, strict=True):
        if (count := len(repeated := repeated_labels(labels, codes))) < 2:
            raise ValueError(
                f"{path} has {count_of(count, 'name')} in the column {settings.by} with wells of "
                f"two values of {column}, but at least 2 are needed: set by or "
                "leave_out to another column"
            )
        labels = np.where(np.isin(labels, repeated), labels, -1)
    groups = _combine(columns)
    drawn = draw_wells(labels, groups, settings.max_names, settings.max_wells, settings.seed)
    return np.array(replicates.names), drawn, columns


def _add_mechanisms(table: pl.DataFrame, path: Path, settings: LinearProbeSettings) -> pl.DataFrame:
    """Return the table with the mechanism of each well's compound, if mechanisms are classified."""
    if settings.mechanisms is None:
        return table
    single = read_mechanisms(Path(settings.mechanisms))
    # A class for every combination of mechanisms would hardly have a compound to learn from.
    known = single.filter(~pl.col("compound").is_duplicated())
    several = set(single["compound"].unique()) - set(known["compound"])
    if left_out := len(several & set(table["compound"].unique())):
        info(f"compounds left out, with several mechanisms in {settings.mechanisms}: {left_out}")
    joined = table.join(known, on="compound", how="left", maintain_order="left")
    if joined["mechanism"].is_null().all():
        kind = "compounds with one mechanism" if left_out else "compounds"
        raise ValueError(f"{settings.mechanisms}: none of its {kind} is in {path}")
    return joined


def _encode(table: pl.DataFrame, column: str, labels: Codes, path: Path) -> Codes:
    """Return the values of a column as codes; wells without a value have a code of their own."""
    if column not in table.columns:
        raise ValueError(f"leave_out {column}: {path} has no such column; it has {table.columns}")
    named = table[column].cast(pl.String).fill_null("").to_numpy()
    codes = np.unique(named, return_inverse=True)[1]
    if not any(named):
        raise ValueError(
            f"{path} has no value in the column {column}: fill it in the plate map, or set "
            "leave_out to another column, like plate"
        )
    if len(np.unique(codes[labels >= 0])) < 2:
        raise ValueError(
            f"{path} has wells of a single {column}, but the linear probe is validated on wells of "
            f"another {column}: set leave_out to another column, like plate"
        )
    return codes


def _combine(columns: list[Codes]) -> Codes:
    """Return one code for each combination of the codes of several columns."""
    return np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].reshape(-1)


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
