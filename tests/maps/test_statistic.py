"""Mean, median and weighted mean of replicates, against numpy, scipy and pycytominer."""

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycytominer.cyto_utils.modz import modz
from scipy.stats import spearmanr

from phenomae.maps.aggregate import average, group_means
from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.modz import agreement_weights
from phenomae.wells import write_wells

FEATURES = [f"f{index}" for index in range(7)]


def make_rows(seed: int, wells: int = 30, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(count), rng.integers(0, count, wells - count)])
    return rng.normal(size=(wells, 7)) + 2 * rng.normal(size=(count, 7))[groups], groups


@pytest.mark.parametrize("seed", range(3))
def test_weighted_is_modz_of_pycytominer(seed):
    rows, groups = make_rows(seed)
    rows[groups == 3] = np.round(rows[groups == 3])  # ties
    table = pd.DataFrame(rows, columns=FEATURES).assign(group=groups)
    for precision, tolerance in ((15, 1e-12), (4, 2e-3)):  # it rounds weights to 4 digits
        wanted = modz(table, "group", FEATURES, precision=precision)[FEATURES].to_numpy()
        np.testing.assert_allclose(average(rows, groups, 6, "weighted"), wanted, atol=tolerance)


def test_weights_by_hand():
    rows = np.array([[1.0, 2, 3, 4], [1, 2, 3, 9], [2, 1, 3, 4], [4, 3, 2, 1], [9, 9, 8, 7]])
    rho = spearmanr(rows[:4].T).statistic
    positive = np.where(np.eye(4, dtype=bool), 0, np.maximum(rho, 0))
    agreement = np.maximum(positive.sum(axis=1) / 3, 0.01)  # the fourth disagrees with all
    found = agreement_weights(rows, np.array([0, 0, 0, 0, 1]), 2)
    np.testing.assert_allclose(found, [*agreement / agreement.sum(), 1])
    assert found[3] == pytest.approx(0.01 / agreement.sum())


def test_two_wells_weigh_the_same_and_one_weighs_all():
    rows, _ = make_rows(3, wells=7)
    np.testing.assert_allclose(
        agreement_weights(rows, np.array([0, 1, 0, 2, 2, 3, 3]), 4), [0.5, 1, 0.5, *[0.5] * 4]
    )


@pytest.mark.parametrize("features", [1, 3])
def test_wells_without_an_order_of_features_weigh_the_same(features):
    rows = np.repeat([[1.0], [4.0], [1.0]], features, axis=1)
    np.testing.assert_allclose(agreement_weights(rows, np.zeros(3, int), 1), 1 / 3)


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_weights_sum_to_1_and_follow_their_rows(seed):
    rows, groups = make_rows(seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    weights = agreement_weights(rows, groups, 6)
    assert (weights > 0).all()
    np.testing.assert_allclose(np.bincount(groups, weights), 1)
    np.testing.assert_allclose(agreement_weights(rows[order], groups[order], 6), weights[order])
    # Ranks alone decide: scaling a well, or bending all its features alike, moves no weight.
    bent = np.exp(rows * np.linspace(0.2, 1, len(rows))[:, None])
    np.testing.assert_allclose(agreement_weights(bent, groups, 6), weights)


def test_large_groups_are_weighed_part_by_part_to_the_same_numbers():
    rows, _ = make_rows(4, wells=1100)
    rho = np.maximum(spearmanr(rows.T).statistic, 0)
    agreement = np.maximum((rho.sum(axis=1) - 1) / 1099, 0.01)
    found = agreement_weights(rows, np.zeros(1100, int), 1)
    np.testing.assert_allclose(found, agreement / agreement.sum(), rtol=1e-9)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_means_and_medians_are_those_of_pandas(statistic):
    rows, groups = make_rows(1)
    wanted = pd.DataFrame(rows).groupby(groups).agg(statistic).to_numpy()
    np.testing.assert_allclose(average(rows, groups, 6, statistic), wanted)
    if statistic == "mean":
        np.testing.assert_array_equal(
            group_means(rows, groups, 6), average(rows, groups, 6, "mean")
        )


def test_means_are_those_of_the_golden_case(golden_case: Callable[[str], Path]):
    wells = pl.read_parquet(golden_case("map") / "wells.parquet")
    with np.load(golden_case("map") / "expected.npz", allow_pickle=True) as golden:
        genes, wanted = golden["genes"].tolist(), golden["raw_aggregate"]
    code = {gene: index for index, gene in enumerate(genes)}
    wells = wells.filter(pl.col("gene").is_in(genes))
    groups = np.array([code[gene] for gene in wells["gene"]])
    rows = wells.select(pl.col("^feature_.*$")).to_numpy()
    np.testing.assert_allclose(average(rows, groups, len(genes), "mean"), wanted, atol=1e-6)


def test_the_statistic_holds_for_guides_and_for_genes(tmp_path: Path):
    rows, guides = make_rows(2)
    genes = guides // 2
    table = pl.DataFrame(rows, schema=FEATURES).with_columns(
        plate=pl.lit("P1"),
        well=pl.Series([f"{'ABC'[row // 10]}{row % 10 + 1}" for row in range(30)]),
        gene=pl.Series([f"gene {gene}" for gene in genes]),
        guide=pl.Series([f"guide {guide}" for guide in guides]),
        control=False,
    )
    write_wells(tmp_path / "wells", table, FEATURES)
    stored = rows.astype(np.float32).astype(np.float64)

    def made(statistic, through) -> np.ndarray:
        path = tmp_path / f"{statistic}_{through}.h5ad"
        map_wells(tmp_path / "wells", path, settings=MapSettings("gene", through, statistic))
        return np.asarray(anndata.read_h5ad(path).X)

    def modz_of(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
        table = pd.DataFrame(values, columns=FEATURES).assign(group=groups)
        return modz(table, "group", FEATURES, precision=15)[FEATURES].to_numpy()

    def median_of(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
        return pd.DataFrame(values).groupby(groups).median().to_numpy()

    gene_of_guide = np.arange(6) // 2
    for statistic, oracle in (("weighted", modz_of), ("median", median_of)):
        wanted = oracle(oracle(stored, guides), gene_of_guide)
        np.testing.assert_allclose(made(statistic, "guides"), wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            made(statistic, "wells"), oracle(stored, genes), rtol=1e-5, atol=1e-6
        )
