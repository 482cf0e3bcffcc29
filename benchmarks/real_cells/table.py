"""Prints the scores of `benchmarks/real_cells.sh`, with bootstrap intervals and paired differences.

    python benchmarks/real_cells/table.py bbbc021 OUT NAME ...

Names that end in a number are seeds of one row, whose score is the mean over its seeds. Intervals
are percentiles (2.5 and 97.5) of 1,000 resamples of the units that a question leaves out together:
compounds, plates, or of BBBC013 wells (its controls and dose series apart), and of the seeds of a
row that has several. All rows share the resamples, so that their differences from the best row
without learning are paired. Predictions are resampled as they are: nothing is fitted again.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from phenomae.evaluation.questions.compound_profiles import make_profiles
from phenomae.evaluation.questions.neighbours import count_matches, nearest_others
from phenomae.evaluation.recall.bootstrap import interval
from phenomae.wells import read_wells

RESAMPLES = 1000


@dataclass(frozen=True)
class Score:
    """A score of one wells folder, as a function of how often each unit is counted."""

    of: Callable[[np.ndarray], float]
    """Return the score if unit k is counted weights[k] times."""
    strata: np.ndarray
    """Stratum of each unit: units are resampled within strata."""
    chance: float


def balanced_score(units: np.ndarray, names: np.ndarray, hits: np.ndarray) -> Score:
    """Return the balanced accuracy: the mean over names of the fraction of hits."""
    unit, name = (np.unique(codes, return_inverse=True)[1] for codes in (units, names))
    shape = unit.max() + 1, name.max() + 1
    found, all_ = np.zeros(shape), np.zeros(shape)
    np.add.at(found, (unit, name), hits)
    np.add.at(all_, (unit, name), 1)

    def score(weights: np.ndarray) -> float:
        counted = weights @ all_
        inside = counted > 0  # a resample may lack all units of a name
        return float(((weights @ found)[inside] / counted[inside]).mean())

    return Score(score, np.zeros(shape[0]), 1 / shape[1])


def find_hits(out: Path, name: str, argument: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the compound of each treatment, and whether its neighbour shares the mechanism.

    `argument` has the folder of the corrected wells, and who may be a neighbour: `corrected nsc`.
    Treatments that cannot have such a neighbour are left out.
    """
    correction, match = argument.split()
    folder = out / correction / name
    profiles = make_profiles(read_wells(folder), folder, out / "raw/mechanisms.csv", "batch")["any"]
    labels = profiles.mechanisms[profiles.compounds]
    batches = profiles.batches if match == "nscb" else None
    excluded = [profiles.compounds] if batches is None else [profiles.compounds, batches]
    used = count_matches(labels, *excluded) > 0
    hits = labels[nearest_others(profiles.unit, *excluded)] == labels
    return np.array(profiles.compound_names)[profiles.compounds[used]], hits[used]


def nearest_score(out: Path, name: str, argument: str) -> Score:
    """Return the fraction of treatments whose nearest neighbour shares the mechanism (BBBC021)."""
    correction, match = argument.split()
    compounds, hits = find_hits(out, name, argument)
    found = balanced_score(compounds, np.zeros(len(hits)), hits)
    answer = pl.read_csv(out / "answers" / name / f"mechanisms-{correction}" / "mechanisms.csv")
    row = answer.row(by_predicate=pl.col("match") == match, named=True)
    assert np.isclose(row["accuracy"], found.of(np.ones(len(found.strata)))), "stale answers"
    return Score(found.of, found.strata, row["chance"])


def probe_score(out: Path, name: str, answer: str) -> Score:
    """Return the balanced accuracy of a linear probe; units are values of the first column."""
    predictions = pl.read_csv(out / "answers" / name / answer / "predictions.csv")
    column = answer.partition("-")[0]
    cells = pl.read_csv(out / "raw/plate_map.csv").select("plate", "well", unit=pl.col(column))
    joined = predictions.join(cells, on=["plate", "well"], how="left", maintain_order="left")
    hits = (joined["name"] == joined["predicted"]).to_numpy()
    return balanced_score(joined["unit"].to_numpy(), joined["name"].to_numpy(), hits)


def project_on_controls(features: np.ndarray, dose: np.ndarray) -> np.ndarray:
    """Project wells on mean(dose 10) - mean(dose 0), both without the well itself (BBBC013)."""
    others = ~np.eye(len(dose), dtype=bool)
    means = [
        [features[(dose == level) & kept].mean(axis=0) for level in (10, 0)] for kept in others
    ]
    return np.array([one @ (high - low) for one, (high, low) in zip(features, means, strict=True)])


def control_score(out: Path, name: str, _: str) -> Score:
    """Return the AUC of positive against negative controls (BBBC013)."""
    dose, along = _project(out, name)
    inside = np.isin(dose, (0, 10))
    dose, along = dose[inside], along[inside]
    return Score(
        lambda weights: float(roc_auc_score(dose == 10, along, sample_weight=weights)), dose, 0.5
    )


def dose_score(out: Path, name: str, _: str) -> Score:
    """Return Spearman's correlation of dose index 1 to 9 and projection (BBBC013)."""
    dose, along = _project(out, name)
    inside = (dose > 0) & (dose < 10)
    pairs = np.column_stack([dose, along])[inside]

    def score(weights: np.ndarray) -> float:
        return float(spearmanr(np.repeat(pairs, weights.astype(int), axis=0)).statistic)

    return Score(score, np.zeros(len(pairs)), 0.0)


def _project(out: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    wells = read_wells(out / "corrected" / name)
    dose = wells.table["perturbation"].cast(pl.Int64).to_numpy()
    return dose, project_on_controls(wells.features.astype(np.float64), dose)


QUESTIONS: dict[str, dict[str, tuple[Callable[[Path, str, str], Score], str]]] = {
    "bbbc021": {
        "nearest other compound": (nearest_score, "corrected nsc"),
        "... of another week": (nearest_score, "corrected nscb"),
        "nearest, whitened": (nearest_score, "whitened nsc"),
        "... of another week, whitened": (nearest_score, "whitened nscb"),
        "logistic, plates out": (probe_score, "plate"),
        "logistic, compounds out": (probe_score, "compound"),
        "logistic, compounds and weeks out": (probe_score, "compound-batch"),
    },
    "mitocheck": {"logistic, plates out": (probe_score, "plate")},
    "rxrx1": {"logistic, plates out": (probe_score, "plate")},
    "bbbc013": {"AUC of controls": (control_score, ""), "Spearman of dose": (dose_score, "")},
}


def draw_weights(strata: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """Return how often each unit is drawn in each resample; the first row counts each unit once."""
    weights = np.ones((resamples + 1, len(strata)))
    rng = np.random.default_rng(seed)
    for stratum in np.unique(strata):
        units = np.flatnonzero(strata == stratum)
        weights[1:, units] = rng.multinomial(len(units), [1 / len(units)] * len(units), resamples)
    return weights


def resample(scores: Sequence[Score], resamples: int = RESAMPLES) -> np.ndarray:
    """Return for each score its value on all units, and then on each resample."""
    weights = draw_weights(scores[0].strata, resamples)
    assert all(np.array_equal(score.strata, scores[0].strata) for score in scores)
    return np.array([[score.of(row) for row in weights] for score in scores])


def mean_of_seeds(values: np.ndarray, row: str) -> np.ndarray:
    """Return the mean over seeds of (seeds, 1 + resamples), seeds drawn anew in each resample.

    Rows are drawn by themselves, as seed 0 of one has nothing to do with seed 0 of another.
    """
    seeds, columns = values.shape
    drawn = np.random.default_rng(list(row.encode())).integers(seeds, size=(seeds, columns))
    drawn[:, 0] = np.arange(seeds)
    return np.take_along_axis(values, drawn, axis=0).mean(axis=0)


def form(values: np.ndarray, signed: bool = False) -> str:
    """Return "value (low to high)"; the first of `values` is that of all units."""
    style = "{:+.3f}" if signed else "{:.3f}"
    low, high = interval(values[1:])
    return f"{style.format(values[0])} ({style.format(low)} to {style.format(high)})"


def main(set_name: str, out: Path, names: list[str]) -> None:
    """Print a table of scores, and one of differences from the best row."""
    rows: dict[str, list[str]] = {}
    for name in names:
        rows.setdefault(re.sub(r"-\d+$", "", name), []).append(name)
    scores: dict[str, list[str]] = {row: [] for row in (*rows, "chance")}
    differences: dict[str, list[str]] = {row: [] for row in rows}
    for measure, argument in QUESTIONS[set_name].values():
        found = {row: [measure(out, name, argument) for name in rows[row]] for row in rows}
        values = {row: resample(some) for row, some in found.items()}
        means = {row: mean_of_seeds(some, row) for row, some in values.items()}
        untrained = [row for row in means if not row.startswith("trained")]
        best = max(untrained or means, key=lambda row: means[row][0])
        for row in rows:
            seeds = "".join(f" {value:.3f}" for value in values[row][:, 0])
            scores[row].append(form(means[row]) + (f" [{seeds[1:]}]" if len(rows[row]) > 1 else ""))
            behind = form(means[row] - means[best], signed=True)
            differences[row].append("best" if row == best else behind)
        scores["chance"].append(f"{next(iter(found.values()))[0].chance:.3f}")
    for title, cells in (
        ("features", scores),
        ("minus the best without learning, paired", differences),
    ):
        print(f"| {title} | " + " | ".join(QUESTIONS[set_name]) + " |")
        print("|" + "---|" * (1 + len(QUESTIONS[set_name])))
        print("\n".join(f"| {row} | " + " | ".join(line) + " |" for row, line in cells.items()))
        print()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
