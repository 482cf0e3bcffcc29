"""Average precision of profiles in blocks, beside copairs' own call, with ties and in tiers."""

import tracemalloc
from typing import Any

import numpy as np
import polars as pl
import pytest
from copairs import map as copairs_map

from phenomae.evaluation.questions import profile_precisions
from phenomae.evaluation.questions.copairs_map import mean_precisions
from phenomae.evaluation.questions.pairing import Pairing
from phenomae.evaluation.questions.profile_precisions import precisions_of_profiles
from phenomae.maps.unit_vectors import unit_rows

QUESTIONS = ("controls", "own plate", "groups", "groups apart")


def draw(question: str, ties: bool) -> tuple[np.ndarray, Pairing]:
    """Return profiles of 20 groups of 2 to 40, 60 controls, 7 plates; few kinds if `ties`."""
    rng = np.random.default_rng(0)
    groups = np.concatenate([np.repeat(np.arange(20), 2 * np.arange(1, 21)), np.full(60, -1)])
    groups = rng.permutation(groups)
    features = rng.normal(size=(len(groups), 8)) + rng.normal(size=(21, 8))[groups]
    if ties:
        # Of whole numbers, so that many profiles are equal, and many others in one direction.
        features = (
            rng.integers(0, 2, size=features.shape) * rng.integers(1, 3, len(groups))[:, None]
        )
        features[:, 0] += 1
    plates = rng.integers(7, size=len(groups))
    pairing = {
        "controls": Pairing(groups),
        "own plate": Pairing(groups, plates=plates),
        "groups": Pairing(groups, against="groups"),
        "groups apart": Pairing(groups, groups * 3 + plates % 3, apart=plates, against="groups"),
    }[question]
    return features.astype(np.float64), pairing


def ask_copairs(features: Any, pairing: Pairing) -> pl.DataFrame:
    """Return copairs' scores of all profiles with a group."""
    groups = pairing.groups
    used = groups >= (-1 if pairing.against == "controls" else 0)
    side = np.where(groups < 0, np.arange(len(groups)), -1)
    columns: dict[str, np.ndarray] = {"code": groups, "side": side}
    for name in ("sources", "plates", "apart"):
        if (codes := getattr(pairing, name)) is not None:
            columns[name] = codes
    sides = ["side"] if pairing.against == "controls" else []
    scores = copairs_map.average_precision(
        pl.DataFrame(columns).filter(pl.Series(used)).to_pandas(),
        features[used],
        pos_sameby=["code", *sides],
        pos_diffby=[name for name in ("sources", "apart") if name in columns],
        neg_sameby=["plates"] if "plates" in columns else [],
        neg_diffby=["code", *sides, *(["apart"] if "apart" in columns else [])],
        progress_bar=False,
    )
    return pl.from_pandas(scores).filter(pl.col("code") >= 0).sort("code", maintain_order=True)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("question", QUESTIONS)
def test_precisions_are_those_of_copairs(question, ties):
    features, pairing = draw(question, ties)
    found = precisions_of_profiles(unit_rows(features), pairing)
    wanted = ask_copairs(features, pairing)
    np.testing.assert_array_equal(found["code"], wanted["code"])
    np.testing.assert_array_equal(found["positives"], wanted["n_pos_pairs"])
    np.testing.assert_array_equal(found["pairs"], wanted["n_total_pairs"])
    paired = (found["positives"] > 0).to_numpy()
    assert paired.sum() > 400
    expected = wanted["average_precision"].to_numpy()[paired]
    np.testing.assert_allclose(found["precision"].to_numpy()[paired], expected, rtol=0, atol=1e-12)
    assert np.isnan(found["precision"].to_numpy()[~paired]).all()


def test_equal_profiles_precede_negatives_as_in_copairs():
    """One direction for all: a positive is never behind a negative."""
    features = np.outer(np.arange(1, 13), [3.0, 1, 2])
    pairing = Pairing(np.repeat([0, 1, -1], 4))
    found = precisions_of_profiles(unit_rows(features), pairing)
    assert found["precision"].to_list() == [1] * 8
    assert ask_copairs(features, pairing)["average_precision"].to_list() == [1] * 8


@pytest.mark.parametrize("question", QUESTIONS)
def test_blocks_and_ways_to_count_do_not_matter(question, monkeypatch):
    features, pairing = draw(question, ties=True)
    whole = mean_precisions(features, pairing, 20, 0)
    monkeypatch.setattr(profile_precisions, "_CELLS", 1)
    assert mean_precisions(features, pairing, 20, 0).equals(whole)
    monkeypatch.setattr(profile_precisions, "_CELLS", 5000)
    for few in (0, 1000):
        monkeypatch.setattr(profile_precisions, "_FEW", few)
        assert mean_precisions(features, pairing, 20, 0).equals(whole)


def test_blocks_have_no_more_cosines_than_fit(monkeypatch):
    monkeypatch.setattr(profile_precisions, "_CELLS", 3 * 45)
    monkeypatch.setattr(profile_precisions, "available_cores", lambda: 1)
    # Ten groups of 30 profiles and 45 controls: three rows with all controls.
    pairing = Pairing(np.repeat(np.arange(-1, 10), [45, *[30] * 10]))
    blocks = list(profile_precisions._cut_blocks(pairing, 30))
    assert np.concatenate([block.rows for block in blocks]).tolist() == list(range(45, 345))
    assert {len(block.rows) for block in blocks} == {3}
    # The rows of a group are ranked with all of it at once.
    assert len(list(profile_precisions._cut_blocks(pairing, 90))) == 300


def test_memory_does_not_grow_with_the_features_of_all_candidates():
    unit = np.random.default_rng(0).normal(size=(20_000, 128))
    rows = np.array([3, 5])
    tracemalloc.start()
    keys = profile_precisions._order_keys(unit, rows, np.arange(len(unit)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < unit.nbytes / 10
    np.testing.assert_allclose(keys, 1 - unit[rows] @ unit.T, rtol=1e-5, atol=1e-4)


def test_without_candidates_there_is_no_row():
    pairing = Pairing(np.array([0, 0, 1, -1]), plates=np.array([0, 1, 1, 1]))
    found = precisions_of_profiles(np.eye(4), pairing)
    # The first profile is alone on its plate; the only profile of a group has no positive.
    assert found.select("code", "positives", "pairs").rows() == [(0, 1, 2), (1, 0, 1)]
    empty = Pairing(np.array([-1, -1]))
    assert mean_precisions(np.eye(2), empty, 5, 0).is_empty()
