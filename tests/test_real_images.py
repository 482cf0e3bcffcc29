"""A whole real plate through ingest, pretrain, embed and correct, with its recipe."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from phenomae import cli
from phenomae.wells import read_wells

RECIPE = Path(__file__).parents[1] / "src/phenomae/recipes/bbbc013.toml"


@pytest.fixture(scope="module")
def plate(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Dose index 0 (negative) to 10 (positive), row and score of every well of BBBC013."""
    raw = shared / "data/images/bbbc013_cellprofiler_sbs96"
    home = tmp_path_factory.mktemp("bbbc013")
    store, run, wells, corrected = (home / name for name in ("store", "run", "wells", "corrected"))
    for words in (
        ["ingest", raw, store],
        ["pretrain", "vit-mae", store, run],
        ["embed", store, run, wells],
        ["correct", wells, corrected],
    ):
        assert cli.run([*map(str, words), "--config", str(RECIPE), "--quiet"]) == 0
    profiles = read_wells(corrected)
    dose = profiles.table["perturbation"].cast(pl.Int64)
    return pl.DataFrame(
        {
            "dose": dose,
            "row": profiles.table["well"].str.head(1),
            "score": score(profiles.features.astype(np.float64), dose.to_numpy()),
        }
    )


def score(features: np.ndarray, dose: np.ndarray) -> np.ndarray:
    """Project each well on mean(positives) - mean(negatives), both without the well itself."""
    others = ~np.eye(len(dose), dtype=bool)
    axes = [
        features[(dose == 10) & kept].mean(axis=0) - features[(dose == 0) & kept].mean(axis=0)
        for kept in others
    ]
    return (features * np.array(axes)).sum(axis=1)


@pytest.mark.slow
def test_positive_and_negative_controls_are_separated(plate: pl.DataFrame):
    controls = plate.filter(pl.col("dose").is_in([0, 10]))
    assert len(controls) == 24
    assert roc_auc_score(controls["dose"] == 10, controls["score"]) >= 0.95


@pytest.mark.slow
def test_the_score_follows_the_dose(plate: pl.DataFrame):
    series = plate.filter(pl.col("dose").is_between(1, 9))
    assert len(series) == 72
    assert spearmanr(series["dose"], series["score"]).statistic >= 0.7
    for rows in ("ABCD", "EFGH"):
        part = series.filter(pl.col("row").is_in(list(rows)))
        print(rows, round(spearmanr(part["dose"], part["score"]).statistic, 3))
