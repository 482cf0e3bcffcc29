"""Intervals by drawing genes, against the variance typed out and against repeated screens."""

import numpy as np
import pytest

from phenomae.evaluation.recall import bootstrap
from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls


def test_pairs_that_share_no_gene_have_the_variance_of_the_pigeonhole_bootstrap():
    # Each gene is drawn about Poisson(1) times, so the weight of a pair, a product of two, has mean
    # 1 and variance (1 + 1)^2 - 1 = 3: sum of w (y - p) over sum of w varies by 3 p (1 - p) / N.
    pairs = np.arange(4000).reshape(-1, 2)
    found = np.random.default_rng(0).random((2000, 1)) < 0.3
    recalls = resampled_recalls(found, pairs, 2000, seed=1)[:, 0]
    share = found.mean()
    assert recalls.mean() == pytest.approx(share, abs=0.002)
    assert recalls.std() == pytest.approx(np.sqrt(3 * share * (1 - share) / 2000), rel=0.06)


def test_a_resample_is_the_recall_of_the_pairs_of_genes_drawn():
    # Genes 3, 5, 7 and 20 are places 0 to 3 in what is drawn.
    pairs, genes = np.array([[3, 7], [7, 20], [5, 20]]), [3, 5, 7, 20]
    found = np.array([[True, False], [False, True], [False, False]])
    for resample, recalls in enumerate(resampled_recalls(found, pairs, 40, seed=6)):
        drawn = [genes[place] for place in np.random.default_rng([6, resample]).integers(4, size=4)]
        held = [
            row
            for row, (a, b) in enumerate(pairs)
            for x in drawn
            for y in drawn
            if (x, y) == (a, b)
        ]
        expected = found[held].mean(axis=0) if held else [np.nan, np.nan]
        np.testing.assert_allclose(recalls, expected)


def test_a_hub_is_drawn_with_all_its_pairs():
    # Ten hubs of a hundred pairs each, found or not as a whole: in truth ten observations.
    hubs = np.repeat(np.arange(10), 100)
    pairs = np.column_stack([hubs, np.arange(10, 1010)])
    found = (hubs < 5)[:, None]
    recalls = resampled_recalls(found, pairs, 500, seed=2)[:, 0]
    assert recalls.std() > 0.9 * np.sqrt(0.25 / 10)


def test_intervals_hold_the_truth_at_least_as_often_as_they_say():
    # Screens of 60 genes, each with a strength of its own; a pair is found by both strengths.
    rng = np.random.default_rng(3)
    pairs = np.argwhere(np.triu(np.ones((60, 60)), k=1))[::9]
    held = 0
    for screen in range(200):
        strength = rng.random(60)
        chance = strength[pairs[:, 0]] * strength[pairs[:, 1]]  # its mean is 1/4
        found = rng.random(len(pairs)) < chance
        low, high = interval(resampled_recalls(found[:, None], pairs, 200, seed=screen)[:, 0])
        held += low <= 0.25 <= high
    assert held >= 186  # 93 %


def test_resample_k_depends_on_seed_and_k_alone(monkeypatch):
    pairs = np.array([[0, 1], [1, 2], [2, 3], [0, 3]])
    found = np.array([[True, False], [False, True], [True, True], [False, False]])
    recalls = resampled_recalls(found, pairs, 50, seed=4)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 3)
    np.testing.assert_array_equal(resampled_recalls(found, pairs, 7, seed=4), recalls[:7])
    assert not np.array_equal(resampled_recalls(found, pairs, 50, seed=5), recalls, equal_nan=True)


def test_pairs_that_are_not_counted_are_as_if_they_were_not_there():
    # The genes that are drawn stay those of all pairs, so that columns share their resamples.
    pairs = np.array([[0, 1], [1, 2], [2, 3], [0, 3], [1, 3]])
    found = np.array([[True], [False], [True], [False], [True]])
    counted = np.array([[True], [True], [False], [True], [False]])
    recalls = resampled_recalls(found & counted, pairs, 60, seed=7, counted=counted)[:, 0]
    for resample, recall in enumerate(recalls):
        drawn = np.bincount(np.random.default_rng([7, resample]).integers(4, size=4), minlength=4)
        weights = [drawn[0] * drawn[1], drawn[1] * drawn[2], drawn[0] * drawn[3]]
        wanted = weights[0] / sum(weights) if sum(weights) else np.nan
        np.testing.assert_allclose(recall, wanted)


def test_no_resamples_are_an_empty_array():
    assert resampled_recalls(np.array([[True, False]]), np.array([[0, 1]]), 0, 0).shape == (0, 2)


def test_a_resample_without_a_pair_counts_for_nothing():
    recalls = resampled_recalls(np.array([[True]]), np.array([[0, 1]]), 100, seed=0)
    assert set(np.unique(recalls[np.isfinite(recalls)])) == {1.0}
    assert np.isnan(recalls).any()
    assert interval(recalls[:, 0]) == (1.0, 1.0)


def test_where_no_resample_draws_a_pair_there_is_no_interval():
    assert np.isnan(interval(np.array([np.nan, np.nan]))).all()
