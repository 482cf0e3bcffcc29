"""How well a straight cut tells perturbations apart on batches it has not seen.

A logistic regression on standardised features, fitted on some batches and asked about the wells of
the others (Kenyon-Dean et al. 2024, arXiv 2411.02572, who choose an encoder's block by it).
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Bool, Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phenomae.evaluation.questions.batch_folds import (
    Codes,
    deal_batches,
    draw_wells,
    each_part,
    repeated_labels,
)
from phenomae.evaluation.questions.replicates import find_replicates
from phenomae.evaluation.settings import check_seed
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


@Parameter(name="*")
@dataclass(frozen=True)
class LinearProbeSettings:
    """What is told apart, and on which wells."""

    by: Literal["perturbation", "gene", "guide", "compound"] = "perturbation"
    """Column of the names that are told apart; controls are left out."""
    batch: str = "batch"
    """Column that says which wells are held out together."""
    folds: int = 5
    """Parts that the batches are dealt into; each is held out once. At most one a batch."""
    most_names: int = 100
    """Most names, drawn of those with wells in two batches or more."""
    most_wells: int = 4000
    """Most wells, drawn alike of every name."""
    penalty: float = 1.0
    """Strength of the penalty on the squares of the weights."""
    iterations: int = 1000
    """Most steps of the fit."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        least = {"folds": 2, "most_names": 2, "iterations": 1, "most_wells": 2 * self.most_names}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be {value} or more, not {getattr(self, name)}")
        if self.penalty <= 0:
            raise ValueError(f"penalty must be above 0, like 1, not {self.penalty}")


def probe_wells(
    screen: Profiles, source: Path, settings: LinearProbeSettings = LinearProbeSettings()
) -> pl.DataFrame:
    """Return how well names are told on each part of the batches, a row a part.

    Columns: fold, accuracy (share of the wells held out whose name is told), balanced (the mean of
    that over names), chance (the accuracy of always telling the commonest name, or of guessing by
    the names' shares, whichever is higher), names, wells, batches (held out).

    Wells whose name is nowhere else are not asked. Which wells are drawn is a function of the seed
    and the wells' table, whatever their features.

    Raises ValueError where the wells are of one batch, or fewer than two names are in two batches.
    """
    require_finite(screen, source)
    labels, batches = choose_wells(screen.table, source, settings)
    taken = np.flatnonzero(labels >= 0)
    labels, batches = labels[taken], batches[taken]
    features = screen.features[taken].astype(np.float64)
    parts = deal_batches(batches, settings.folds, settings.seed)
    rows: list[tuple[float, ...]] = []
    for fold, held_out in enumerate(each_part(labels, parts)):
        train, asked = held_out
        told = _tell(features, labels, train, asked, source, settings)
        numbers = _judge(labels[train], labels[asked], told)
        rows.append((fold, *numbers, int(asked.sum()), len(np.unique(batches[asked]))))
    if not rows:
        raise ValueError(
            f"{source}: no {settings.by} has wells in two of the {settings.folds} parts of the "
            f"{settings.batch}s that are held out: bring more of them, or raise --folds"
        )
    return pl.DataFrame(rows, schema=FOLDS, orient="row")


def choose_wells(
    table: pl.DataFrame, source: Path, settings: LinearProbeSettings
) -> tuple[Codes, Codes]:
    """Return the name of each well that is taken, -1 for others, and every well's batch, as codes.

    Raises ValueError where there is no column of batches, one batch, or too few names in two.
    """
    if settings.batch not in table.columns:
        raise ValueError(
            f"--batch {settings.batch}: {source} has no such column; it has {table.columns}"
        )
    labels = find_replicates(table, settings.by, source).groups
    named = table[settings.batch].cast(pl.String).fill_null("").to_numpy()
    batches = np.unique(named, return_inverse=True)[1]
    if len(np.unique(batches[labels >= 0])) < 2:
        raise ValueError(
            f"{source} has wells of one {settings.batch} only, and the linear probe is asked about "
            "wells of another: name another --batch column, like plate"
        )
    if (count := len(repeated_labels(labels, batches))) < 2:
        raise ValueError(
            f"{source} has {count} names in the column {settings.by} whose wells are of two or "
            f"more of the column {settings.batch}, and at least 2 are needed to be told apart: "
            "name another --by or --batch column"
        )
    drawn = draw_wells(labels, batches, settings.most_names, settings.most_wells, settings.seed)
    return drawn, batches


def _tell(
    features: Float[np.ndarray, "n d"],
    labels: Codes,
    train: Bool[np.ndarray, " n"],
    asked: Bool[np.ndarray, " n"],
    source: Path,
    settings: LinearProbeSettings,
) -> Int[np.ndarray, " asked"]:
    """Return the name that the regression gives each well asked."""
    regression = LogisticRegression(C=1 / settings.penalty, max_iter=settings.iterations)
    pipeline = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        pipeline.fit(features[train], labels[train])
    if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
        info(
            f"{source}: the linear probe was not done in {settings.iterations} steps (--iterations)"
        )
    return pipeline.predict(features[asked])


def _judge(
    fitted: Int[np.ndarray, " train"],
    asked: Int[np.ndarray, " asked"],
    told: Int[np.ndarray, " asked"],
) -> tuple[float, float, float, int]:
    """Return accuracy, balanced accuracy, chance, and the number of names fitted on."""
    names, counts = np.unique(fitted, return_counts=True)
    shares = (asked[:, None] == names).mean(axis=0)
    # Of several that are commonest, always telling one gives the mean over them. Where all are
    # alike it may be one that was fitted on more often for being held out less.
    commonest = shares[counts == counts.max()].mean()
    chance = float(max(commonest, shares @ counts / counts.sum()))
    balanced = float(np.mean([(told[asked == name] == name).mean() for name in np.unique(asked)]))
    return float((told == asked).mean()), balanced, chance, len(names)
