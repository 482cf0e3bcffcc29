"""Wells before and after correction, beside scikit-learn and the diagnosis of `correct`."""

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.reporting.evidence.before_after import BINS, compare_states
from phenomae.signatures import read_signature
from phenomae.wells import read_wells, write_wells


def centered(profiles) -> np.ndarray:
    features = profiles.features.astype(np.float64)
    return features - features[profiles.table["control"].to_numpy()].mean(axis=0)


def test_cosines_and_components_are_those_of_scikit_learn(imaged):
    found = compare_states(imaged.wells, imaged.corrected, read_signature(imaged.corrected))
    assert found is not None
    diagnosis = pl.read_csv(imaged.corrected / "diagnosis.csv")
    for path, state, column in (
        (imaged.wells, found.before, "before"),
        (imaged.corrected, found.after, "after"),
    ):
        profiles = read_wells(path)
        features, table = centered(profiles), profiles.table
        assert found.plates == table["plate"].to_list()
        pca = PCA(2, svd_solver="full")
        scores = pca.fit_transform(features / np.linalg.norm(features, axis=1, keepdims=True))
        # The sign of a component is arbitrary.
        np.testing.assert_allclose(np.abs(state.places), np.abs(scores), atol=1e-8)
        np.testing.assert_allclose(state.explained, pca.explained_variance_ratio_, rtol=1e-8)
        treated = np.flatnonzero(~table["control"].to_numpy())
        cosines = cosine_similarity(features[treated])
        names, plates = (table[name].to_numpy()[treated] for name in ("perturbation", "plate"))
        upper = np.triu(plates[:, None] != plates, k=1)
        same = names[:, None] == names
        for pairs, shares, measure in (
            (upper & same, state.replicates, "cosine of replicates"),
            (upper & ~same, state.others, "cosine of others"),
        ):
            counts = np.histogram(cosines[pairs], BINS)[0]
            np.testing.assert_allclose(shares, counts / counts.sum())
            # The means of the same cosines are in the table of `correct`.
            mean = diagnosis.filter(pl.col("measure") == measure)[column].item()
            assert cosines[pairs].mean() == pytest.approx(mean, abs=1e-6)


def test_only_the_features_that_were_corrected_are_compared(imaged, tmp_path):
    settings = CorrectSettings(method="center-scale", batch="plate", features="5:9")
    correct(imaged.wells, tmp_path / "some", settings=settings)
    found = compare_states(imaged.wells, tmp_path / "some", read_signature(tmp_path / "some"))
    assert found is not None
    features = centered(read_wells(imaged.wells))[:, 5:9]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    scores = PCA(2, svd_solver="full").fit_transform(unit)
    np.testing.assert_allclose(np.abs(found.before.places), np.abs(scores), atol=1e-8)


def make(folder, wells: list[str], values: np.ndarray):
    names = [f"x{column}" for column in range(values.shape[1])]
    table = pl.DataFrame({"plate": ["P"] * len(wells), "well": wells, "control": False})
    features = pl.from_numpy(values, schema=names, orient="row")
    return write_wells(folder, pl.concat([table, features], how="horizontal"), names).path


def test_wells_are_found_by_their_place(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    wells = [f"A0{number}" for number in range(1, 6)]
    whole, few = (
        make(tmp_path / "whole", wells, values),
        make(tmp_path / "few", wells[1:], values[1:]),
    )
    record = {"settings": {}}
    found = compare_states(whole, few, record)
    assert found is not None
    np.testing.assert_allclose(found.before.places, found.after.places, atol=1e-6)
    assert len(found.plates) == 4
    assert found.after.replicates is None  # one plate
    assert found.after.others is None
    assert compare_states(whole, make(tmp_path / "two", wells[:2], values[:2]), record) is None
