"""Maps side by side: only what they share is asked, and differences are of the same resamples."""

import numpy as np
import polars as pl
import pytest

from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.evaluation.recall.compare_maps import (
    compare_recalls,
    find_learned_of_maps,
    measure_map,
    p_of_difference,
    share_genes,
)
from phenomae.evaluation.recall.recall import find_tails
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_rows

PERCENTILES = (0.1, 0.9)


def a_map(features: np.ndarray, names: list[str] | None = None) -> ConsensusProfiles:
    names = names or [f"G{row:02d}" for row in range(len(features))]
    obs = pl.DataFrame({"wells": list(range(len(names)))})
    return ConsensusProfiles(names, features.astype(np.float32), obs, identity="")


@pytest.fixture
def planted() -> tuple[dict[str, ConsensusProfiles], dict[str, np.ndarray]]:
    """Two noisy looks at ten groups of four genes, the second noisier."""
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.normal(size=(10, 12)), 4, axis=0)
    maps = {
        name: a_map(truth + noise * rng.normal(size=truth.shape))
        for name, noise in (("clear", 0.8), ("dim", 2.0))
    }
    pairs = np.argwhere(np.triu(np.ones((40, 40)), k=1))
    return maps, {"groups": pairs[pairs[:, 0] // 4 == pairs[:, 1] // 4]}


def test_tables_are_those_of_the_formula(planted):
    maps, pairs = planted
    answers = {name: measure_map(genes, pairs, PERCENTILES) for name, genes in maps.items()}
    tables = compare_recalls(answers, pairs, PERCENTILES, resamples=300, seed=5)
    known, found = pairs["groups"], []
    for genes in maps.values():
        tails, cosines = find_tails(unit_rows(genes.features), [PERCENTILES], known)
        found.append((cosines < tails.below) | (cosines > tails.above))
    # Two columns resampled at once are two maps resampled with the same genes.
    alone = [resampled_recalls(column[:, None], known, 300, seed=5)[:, 0] for column in found]
    recall = tables["recall.csv"]
    assert recall["map"].to_list() == ["clear", "dim"]
    np.testing.assert_allclose(recall["recall"], [column.mean() for column in found])
    np.testing.assert_allclose(recall["ci_low"], [interval(column)[0] for column in alone])
    row = tables["differences.csv"].row(0, named=True)
    assert (row["map"], row["minus"]) == ("dim", "clear")
    assert row["difference"] == pytest.approx(found[1].mean() - found[0].mean())
    np.testing.assert_allclose((row["ci_low"], row["ci_high"]), interval(alone[1] - alone[0]))
    assert row["ci_high"] < 0
    assert row["p"] < 0.05
    assert len(tables["curve.csv"]) == 100


def test_differences_from_the_best_features_without_learning(planted):
    maps, pairs = planted
    rng = np.random.default_rng(3)
    maps = {
        "count": a_map(rng.normal(size=(40, 2))),
        "trained": maps["clear"],
        "spectra": maps["dim"],
    }
    # Two sources that share pairs: in all sources each pair counts once.
    pairs = {"groups": pairs["groups"], "half": pairs["groups"][::2]}
    kinds = {"count": "count", "trained": "trained", "spectra": "hand-made"}
    measured = {name: measure_map(genes, pairs, PERCENTILES) for name, genes in maps.items()}
    table = compare_recalls(measured, pairs, PERCENTILES, 200, 5, kinds)["learned.csv"]
    assert table["source"].unique(maintain_order=True).to_list() == [
        "groups",
        "half",
        "all sources",
    ]
    found = {name: its["groups"].found for name, its in measured.items()}
    known = pairs["groups"]
    drawn = {name: np.empty(200) for name in maps}
    for k in range(200):
        times = np.bincount(np.random.default_rng([5, k]).integers(40, size=40), minlength=40)
        weights = times[known[:, 0]] * times[known[:, 1]]
        for name in maps:
            drawn[name][k] = (weights * found[name]).sum() / weights.sum()
    for source in ("groups", "all sources"):
        rows = table.filter(pl.col("source") == source).rows(named=True)
        assert [(row["map"], row["kind"]) for row in rows] == list(kinds.items())
        assert {row["best"] for row in rows} == {"spectra"}
        for row in rows:
            name = row["map"]
            assert row["recall"] == pytest.approx(found[name].mean())
            ends = np.quantile(drawn[name], [0.025, 0.975])
            np.testing.assert_allclose([row["ci_low"], row["ci_high"]], ends)
            numbers = [row[f"difference{end}"] for end in ("", "_ci_low", "_ci_high")]
            if name == "spectra":
                assert numbers == [None] * 3
                continue
            ends = np.quantile(drawn[name] - drawn["spectra"], [0.025, 0.975])
            wanted = [found[name].mean() - found["spectra"].mean(), *ends]
            np.testing.assert_allclose(numbers, wanted)
    (*_, one) = find_learned_of_maps(table)
    assert (one["source"], one["map"], one["learned"]) == ("all sources", "trained", True)
    assert one["line"].endswith("over the best feature without learning (spectra)")


def test_maps_without_a_kind_are_no_bar(planted):
    maps, pairs = planted
    measured = {name: measure_map(genes, pairs, PERCENTILES) for name, genes in maps.items()}
    for kinds in ({"clear": "", "dim": ""}, {"clear": "trained", "dim": "trained"}, {}):
        assert "learned.csv" not in compare_recalls(measured, pairs, PERCENTILES, 10, 0, kinds)
    table = compare_recalls(measured, pairs, PERCENTILES, 10, 0, {"clear": "", "dim": "count"})
    assert table["learned.csv"]["kind"].to_list() == [None, "count"]
    assert table["learned.csv"]["best"].to_list() == ["dim", "dim"]


def test_pairing_makes_differences_surer(planted):
    maps, pairs = planted
    again = dict(maps, clear_too=maps["clear"])
    answers = {name: measure_map(genes, pairs, PERCENTILES) for name, genes in again.items()}
    table = compare_recalls(answers, pairs, PERCENTILES, 100, 0)["differences.csv"]
    same = table.filter(pl.col("map") == "clear_too", pl.col("minus") == "clear")
    assert same.select("difference", "ci_low", "ci_high", "p").row(0) == (0, 0, 0, 1)


def test_maps_are_cut_to_the_names_all_have_in_one_order():
    values = np.arange(8.0).reshape(4, 2)
    one, two = a_map(values, ["A", "B", "C", "D"]), a_map(-values, ["D", "X", "B", "A"])
    shared = share_genes({"one": one, "two": two})
    assert shared["one"].names == shared["two"].names == ["A", "B", "D"]
    np.testing.assert_array_equal(shared["one"].features, values[[0, 1, 3]])
    np.testing.assert_array_equal(shared["two"].features, -values[[3, 2, 0]])
    assert shared["two"].obs["wells"].to_list() == [3, 2, 0]


def test_p_of_a_difference_counts_the_rarer_side_twice():
    # Of 9, one lies at or below 0: 2 (1 + 1) / (1 + 9). NaN, a resample without a pair, is none.
    drawn = np.array([-1.0, *range(1, 9), np.nan])
    assert p_of_difference(drawn) == pytest.approx(0.4)
    assert p_of_difference(-drawn) == pytest.approx(0.4)
    assert p_of_difference(np.zeros(5)) == 1


def test_p_of_equally_good_maps_is_small_no_more_often_than_it_says():
    rng = np.random.default_rng(1)
    pairs = np.argwhere(np.triu(np.ones((40, 40)), k=1))[::7]
    small = 0
    for _ in range(200):
        ease = rng.random(40)  # genes that are easy are so on both maps
        chance = (ease[pairs[:, 0]] * ease[pairs[:, 1]])[:, None]
        found = rng.random((len(pairs), 2)) < chance
        drawn = resampled_recalls(found, pairs, 199, seed=0)
        small += p_of_difference(drawn[:, 1] - drawn[:, 0]) <= 0.05
    assert small <= 14  # 7 %
