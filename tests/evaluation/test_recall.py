"""Recall of known pairs against the public benchmark's golden case, a plain count, and chance."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.special import gammaln, hyp2f1

from phenomae.evaluation.annotations import pairs_on_map, read_annotations
from phenomae.evaluation.recall import tiles
from phenomae.evaluation.recall.recall import Tails, find_tails
from phenomae.maps.unit_vectors import unit_rows

PERCENTILES = [(0.05, 0.95), (0.1, 0.9), (0.01, 0.99)]


VARIANTS = ["raw", "centerscale_by_batch", "tvn", "tvn_coral"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_golden_case(golden_case: Callable[[str], Path], variant):
    require_golden_recall(golden_case("map"), golden_case("map") / "annotations", variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_golden_case_on_all_five_annotations(shared: Path, variant):
    require_golden_recall(shared / "fixtures/map", shared / "data/annotations", variant)


def require_golden_recall(folder: Path, annotations: Path, variant: str) -> None:
    """Compare recall with what the public EFAAR benchmark's code gave for the same map."""
    expected = np.load(folder / "expected.npz", allow_pickle=True)
    table = pl.read_csv(folder / "expected_recall.csv").filter(pl.col("variant") == variant)
    names = expected["genes"].tolist()
    unit = unit_rows(expected[f"{variant}_aggregate"])
    sources = read_annotations(annotations)
    assert [source.name for source in sources] == table["source"].to_list()
    for source, row in zip(sources, table.iter_rows(named=True), strict=True):
        pairs = pairs_on_map(source, names)
        assert len(pairs) == row["query_distribution_size"]
        wanted = [row[f"recall_{low}_{high}"] for low, high in PERCENTILES]
        tails, cosines = find_tails(unit, PERCENTILES, pairs)
        recall = tails.recall(cosines)
        np.testing.assert_allclose(recall, wanted, rtol=0, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(4, 30), st.floats(0, 0.5), st.floats(0.5, 1), st.integers(0, 1000))
def test_tails_hold_the_lowest_and_highest_share_of_all_pairs(count, low, high, seed):
    unit = unit_rows(np.random.default_rng(seed).normal(size=(count, 4)))
    pairs = np.argwhere(np.triu(np.ones((count, count)), k=1))
    tails, every = find_tails(unit, [(low, high)], pairs)
    found = tails.recall(every)[0] * len(every)
    # Shares as they are written: .3333333333333333 is less than two of six.
    lowest, highest = (Fraction(repr(share)) * len(every) for share in (low, high))
    up_to = [int((every <= cosine).sum()) for cosine in every]
    below = [int((every < cosine).sum()) for cosine in every]
    expected = sum(
        most <= lowest or least >= highest for most, least in zip(up_to, below, strict=True)
    )
    assert found == pytest.approx(expected)


def test_tails_of_five_pairs_by_hand():
    # Of five pairs, 20 % is one pair at each end, 10 % none, 0 % to 100 % none.
    tails = Tails(np.array([2.0, 1.0]), np.array([4.0, 5.0]))
    np.testing.assert_allclose(tails.recall(np.array([1.0, 3.0, 5.0])), [2 / 3, 0])


def test_half_and_half_finds_everything_and_nothing_is_found_outside_0_to_1():
    unit = unit_rows(np.random.default_rng(3).normal(size=(9, 4)))
    pairs = np.argwhere(np.triu(np.ones((9, 9)), k=1))
    tails, cosines = find_tails(unit, [(0.5, 0.5), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)], pairs)
    np.testing.assert_array_equal(tails.recall(cosines), [1, 0, 1, 1])


@settings(max_examples=50, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(1, 8),
    st.integers(1, 200),
    st.floats(-1e6, 1e6).filter(lambda factor: abs(factor) > 1e-6),
    st.sampled_from([8, tiles.SIDE]),
    st.integers(0, 2**32),
)
def test_recall_does_not_change_with_rotation_scale_or_order_of_genes(
    count, width, asked, factor, side, seed
):
    """From two genes on, of one feature on (all cosines are 1 or -1), of more features than genes.

    Known pairs of genes that look just alike or opposite, and tiles that cut the map, are included.
    """
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, width))
    first = rng.integers(0, count, size=asked)
    pairs = np.column_stack([first, (first + rng.integers(1, count, size=asked)) % count])
    # The last two are numpy's numbers, as a caller may have them, not Python's.
    shares = [*PERCENTILES, (0.5, 0.5), (0.0, 1.0), tuple(np.sort(rng.random(2)))]
    place = rng.permutation(count)  # where every gene goes
    rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]
    lengths = rng.uniform(0.01, 100, size=(count, 1))

    def recall(features: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        tails, cosines = find_tails(unit_rows(features), shares, pairs)
        return tails.recall(cosines)

    wanted = recall(features, pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "SIDE", side)
        np.testing.assert_array_equal(recall(features[np.argsort(place)], place[pairs]), wanted)
        np.testing.assert_array_equal(recall(features, pairs[::-1, ::-1]), wanted)
        moved = factor * lengths * features @ rotation
        np.testing.assert_array_equal(recall(moved, pairs), wanted)


@pytest.mark.parametrize("strength", [0.2, 0.5])
def test_planted_pairs_are_found_as_often_as_the_closed_form_says(strength):
    # Maps of 3,000 genes in pairs that correlate by `strength`, in 24 independent normal features.
    # The cosine of other genes is the correlation of 25 draws of independent ones, whose square is
    # beta(1/2, 23/2): that gives the tails. The cosine of a pair is the correlation of 25 draws of
    # known strength, whose density is in Hotelling 1953 by a hypergeometric function.
    width, count, maps = 24, 1500, 25
    limit = np.sqrt(stats.beta.ppf(0.9, 0.5, (width - 1) / 2))
    wanted = 1 - quad(lambda r: correlation_density(r, strength, width + 1), -limit, limit)[0]
    pairs = np.column_stack([np.arange(count), np.arange(count, 2 * count)])
    recalls = []
    for number in range(maps):
        rng = np.random.default_rng([8, number])
        first, other = rng.normal(size=(2, count, width))
        features = np.vstack([first, strength * first + np.sqrt(1 - strength**2) * other])
        tails, cosines = find_tails(unit_rows(features), [(0.05, 0.95)], pairs)
        recalls.append(tails.recall(cosines)[0])
    assert np.mean(recalls) == pytest.approx(wanted, rel=0.02)


def correlation_density(r: float, strength: float, n: int) -> float:
    log_scale = (
        np.log(n - 2)
        + gammaln(n - 1)
        - 0.5 * np.log(2 * np.pi)
        - gammaln(n - 0.5)
        + (n - 1) / 2 * np.log(1 - strength**2)
        + (n - 4) / 2 * np.log(1 - r**2)
        - (n - 1.5) * np.log(1 - strength * r)
    )
    return np.exp(log_scale) * hyp2f1(0.5, 0.5, n - 0.5, (1 + strength * r) / 2)


def test_the_density_of_a_correlation_is_one():
    assert quad(correlation_density, -1, 1, args=(0.5, 25))[0] == pytest.approx(1, abs=1e-6)
