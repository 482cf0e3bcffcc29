"""Every correction against the public benchmark's golden case, scikit-learn, or its formula."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.linalg import fractional_matrix_power, inv, sqrtm
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from phenomae.correction import TVN, TVN2024, CenterScale, PcaCenterScale, Sphering
from phenomae.correction.batch_mixing import unit_or_zero
from phenomae.correction.batches import ALL_WELLS, each_batch
from phenomae.correction.principal_axes import PrincipalAxes, count_axes

METHODS = [CenterScale, PcaCenterScale, TVN, TVN2024, Sphering]
BATCHES = np.repeat(["a", "b"], 30)


@pytest.fixture
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + rng.normal(size=5)


@pytest.mark.parametrize(
    ("variant", "method", "by_batch"),
    [
        ("centerscale_by_batch", CenterScale, True),
        ("tvn", TVN, False),
        ("tvn_coral", TVN, True),
    ],
)
def test_golden_case(golden_case: Callable[[str], Path], variant, method, by_batch):
    wells = pl.read_parquet(golden_case("map") / "wells.parquet")
    expected = np.load(golden_case("map") / "expected.npz", allow_pickle=True)
    features = wells.select("^feature_.*$").to_numpy().astype(np.float64)
    control = (wells["gene"] == "NTC").to_numpy()
    batches = wells["batch"].to_numpy() if by_batch else None
    own = {"components": "all"} if method is TVN else {}
    corrected = method(**own).fit_transform(features, controls=control, batches=batches)
    genes = wells["gene"].to_numpy()
    means = np.stack([corrected[genes == gene].mean(axis=0) for gene in expected["genes"]])
    wanted = expected[f"{variant}_aggregate"]
    if method is TVN:  # the sign of a principal axis is free
        wanted = wanted * np.sign((means * wanted).sum(axis=0))
    np.testing.assert_allclose(means, wanted, rtol=1e-5)
    np.testing.assert_allclose(
        corrected[:50] @ corrected[:50].T, expected[f"{variant}_gram"], rtol=1e-5
    )


def test_pca_center_scale_against_scikit_learn(features):
    pca = PCA().fit(features)
    for _, rows in each_batch(BATCHES, 60):
        scaler = StandardScaler().fit(pca.transform(features[rows]))
        wanted = scaler.transform(pca.transform(features[rows]))
        ours = PcaCenterScale().learn(features, BATCHES).apply(features[rows], BATCHES[rows])
        np.testing.assert_allclose(ours * np.sign((ours * wanted).sum(axis=0)), wanted, rtol=1e-8)


def test_tvn_per_batch_against_its_formula(features):
    first = StandardScaler().fit_transform(features)
    whitened = StandardScaler().fit_transform(PCA().fit_transform(first))
    ours = TVN(ridge=0.7).learn(features, BATCHES).apply(features, BATCHES)
    for _, rows in each_batch(BATCHES, 60):
        root = inv(sqrtm(np.cov(whitened[rows], rowvar=False) + 0.7 * np.eye(5)))
        wanted = whitened[rows] @ root
        np.testing.assert_allclose(ours[rows] @ ours[rows].T, wanted @ wanted.T, rtol=1e-8)


@pytest.mark.parametrize("controls", [2, 4, 30])  # of a batch: fewer than features, and more
def test_tvn_of_batches_with_few_controls_against_its_formula(controls):
    rng = np.random.default_rng(controls)
    features = rng.normal(size=(3 * controls, 5)) @ rng.normal(size=(5, 5))
    batches = np.repeat(["a", "b", "c"], controls)
    plain = TVN().learn(features).apply(features)
    ours = TVN(ridge=0.2).learn(features, batches).apply(features, batches)
    for _, rows in each_batch(batches, len(features)):
        covariance = np.cov(plain[rows], rowvar=False) + 0.2 * np.eye(plain.shape[1])
        np.testing.assert_allclose(ours[rows], plain[rows] @ inv(sqrtm(covariance)), rtol=1e-8)


def tvn_2024(
    features: np.ndarray, control: np.ndarray, batches: np.ndarray, ridge: float
) -> np.ndarray:
    """The formula step by step: standardise, rotate, standardise by batch, align covariances."""
    x = StandardScaler().fit(features[control]).transform(features)
    x = PCA().fit(x[control]).transform(x)
    for batch in np.unique(batches):
        rows = batches == batch
        x[rows] = StandardScaler().fit(x[rows & control]).transform(x[rows])
    noise = ridge * np.eye(x.shape[1])
    target = fractional_matrix_power(np.cov(x[control], rowvar=False) + noise, 0.5)
    aligned = np.empty_like(x)
    for batch in np.unique(batches):
        rows = batches == batch
        source = np.cov(x[rows & control], rowvar=False) + noise
        aligned[rows] = np.real(x[rows] @ fractional_matrix_power(source, -0.5) @ target)
    return aligned


@pytest.mark.parametrize("controls", [2, 4, 30])  # of a batch: fewer than features, and more
@pytest.mark.parametrize("ridge", [0.5, 2.0])
def test_tvn_2024_against_its_formula(controls, ridge):
    rng = np.random.default_rng(controls)
    batches = np.repeat(["a", "b", "c"], controls + 10)
    control = np.tile(np.arange(controls + 10) < controls, 3)
    features = rng.normal(size=(len(control), 5)) @ rng.normal(size=(5, 5))
    # Batches differ in mean, spread and correlations.
    for batch in "abc":
        rows = batches == batch
        features[rows] = features[rows] @ rng.normal(size=(5, 5)) + 5 * rng.normal(size=5)
    ours = TVN2024(ridge, "all").fit_transform(features, controls=control, batches=batches)
    wanted = tvn_2024(features, control, batches, ridge)
    np.testing.assert_allclose(ours @ ours.T, wanted @ wanted.T, rtol=1e-6, atol=1e-9)
    signs = np.sign((ours * wanted).sum(axis=0))  # the sign of a principal axis is free
    np.testing.assert_allclose(ours * signs, wanted, rtol=1e-6, atol=1e-9)


def test_tvn_2024_removes_shifts_of_batches_and_tvn_does_not(features):
    moved = features + 50 * (BATCHES == "b")[:, None]
    both = [method().learn(moved, BATCHES).apply(moved, BATCHES) for method in (TVN, TVN2024)]
    between = [x[BATCHES == "b"].mean(axis=0) - x[BATCHES == "a"].mean(axis=0) for x in both]
    assert np.linalg.norm(between[0]) > 1
    np.testing.assert_allclose(between[1], 0, atol=1e-9)


def test_tvn_2024_without_batches_is_tvn(features):
    np.testing.assert_allclose(
        TVN2024().learn(features).apply(features), TVN().learn(features).apply(features), rtol=1e-9
    )


def test_a_new_batch_of_tvn_2024_keeps_axes_and_target(features):
    first = BATCHES == "a"
    ours = TVN2024(0.7).learn(features[first], BATCHES[first])
    before = ours.apply(features[first], BATCHES[first])
    found = ours.learn_new(features, BATCHES).apply(features[~first], BATCHES[~first])
    scaler = StandardScaler().fit(features[first])
    pca = PCA().fit(scaler.transform(features[first]))
    old, new = (
        StandardScaler().fit_transform(pca.transform(scaler.transform(features[rows])))
        for rows in (first, ~first)
    )
    source, target = (np.cov(x, rowvar=False) + 0.7 * np.eye(5) for x in (new, old))
    wanted = new @ inv(sqrtm(source)) @ sqrtm(target)
    signs = np.sign((found * wanted).sum(axis=0))
    np.testing.assert_allclose(found * signs, wanted, rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(ours.apply(features[first], BATCHES[first]), before)


@pytest.mark.parametrize("method", [PcaCenterScale, TVN])
def test_components_are_the_widest_axes(method, features):
    every = method().learn(features).apply(features)
    np.testing.assert_allclose(
        method(components=2).learn(features).apply(features), every[:, :2], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("components", "controls", "width", "expected"),
    [
        ("auto", 384, 336, 64),
        ("auto", 96, 64, 64),
        ("auto", 95, 64, 63),  # two thirds of 95 controls are 63.3
        ("auto", 48, 336, 32),
        ("auto", 279, 7, 7),
        ("auto", 2, 128, 1),
        ("all", 384, 336, 336),
        (None, 384, 336, 336),
        (100, 384, 336, 100),
    ],
)
def test_how_many_axes_are_kept(components, controls, width, expected):
    assert count_axes(components, controls, width) == expected


@pytest.mark.parametrize("method", [PcaCenterScale, TVN, TVN2024])
def test_as_many_controls_as_features_do_not_drown_the_phenotypes(method):
    """The narrowest axes of 48 controls in 48 features are accidents; two thirds are kept."""
    rng = np.random.default_rng(5)
    spreads = np.linspace(3, 0.5, 48)
    controls = rng.normal(size=(48, 48)) * spreads
    effects = rng.normal(size=(60, 48)) * spreads * 1.5
    replicates = [effects + rng.normal(size=(60, 48)) * spreads for _ in range(2)]
    hits = []
    for components in ("auto", "all"):
        fitted = method(components=components).learn(controls)
        both = [unit_or_zero(fitted.apply(features)) for features in replicates]
        hits.append(((both[0] @ both[1].T).argmax(axis=1) == np.arange(60)).mean())
    assert fitted.apply(controls).shape[1] == 47  # as many as 48 controls can vary along
    assert method().learn(controls).apply(controls).shape[1] == 32
    assert hits[0] > 0.75 > 0.5 > hits[1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("by_batch", [False, True])
def test_what_was_learned_can_be_handed_on(method, by_batch, features):
    batches = BATCHES if by_batch else None
    fitted = method().learn(features, batches)
    other = method().restore(fitted.state())
    np.testing.assert_array_equal(other.apply(features, batches), fitted.apply(features, batches))
    assert other.known == fitted.known


@pytest.mark.parametrize("method", [CenterScale, Sphering])
def test_a_new_batch_of_a_method_without_common_axes_is_as_if_fitted_with_it(method, features):
    first = BATCHES == "a"
    extended = method().learn(features[first], BATCHES[first]).learn_new(features, BATCHES)
    np.testing.assert_allclose(
        extended.apply(features, BATCHES),
        method().learn(features, BATCHES).apply(features, BATCHES),
        rtol=1e-12,
    )


def test_a_new_batch_of_pca_center_scale_keeps_the_axes(features):
    first = BATCHES == "a"
    ours = PcaCenterScale().learn(features[first], BATCHES[first]).learn_new(features, BATCHES)
    turned = PCA().fit(features[first]).transform(features[~first])
    wanted = StandardScaler().fit_transform(turned)
    found = ours.apply(features[~first], BATCHES[~first])
    np.testing.assert_allclose(found * np.sign((found * wanted).sum(axis=0)), wanted, rtol=1e-8)


def test_a_new_batch_of_tvn_keeps_axes_and_scales(features):
    first = BATCHES == "a"
    plain = TVN().learn(features[first]).apply(features[~first])
    ours = TVN(0.7).learn(features[first], BATCHES[first])
    before = ours.apply(features[first], BATCHES[first])
    found = ours.learn_new(features, BATCHES).apply(features[~first], BATCHES[~first])
    root = inv(sqrtm(np.cov(plain, rowvar=False) + 0.7 * np.eye(5)))
    np.testing.assert_allclose(found, plain @ root, rtol=1e-8)
    np.testing.assert_array_equal(ours.apply(features[first], BATCHES[first]), before)


@pytest.mark.parametrize("method", METHODS)
def test_wells_of_the_batch_of_all_are_corrected_by_all_controls(method, features):
    """This is how wells are corrected whose own batch has too few controls."""
    pooled = np.repeat(ALL_WELLS, 60)
    found = method().learn(features, BATCHES).apply(features, pooled)
    if method is TVN:  # all controls together are one batch of its second half
        plain = TVN().learn(features).apply(features)
        wanted = plain @ inv(sqrtm(np.cov(plain, rowvar=False) + 0.5 * np.eye(5)))
    elif method is TVN2024:  # which has the covariance of controls standardised by batch
        plain = TVN().learn(features).apply(features)
        parts = [StandardScaler().fit_transform(plain[batch == BATCHES]) for batch in "ab"]
        source, target = (np.cov(x, rowvar=False) for x in (plain, np.concatenate(parts)))
        ridge = 0.5 * np.eye(5)
        wanted = plain @ inv(sqrtm(source + ridge)) @ sqrtm(target + ridge)
    else:
        wanted = method().learn(features).apply(features)
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_fitted_on_batches_needs_batches(method, features):
    fitted = method().learn(features, BATCHES)
    with pytest.raises(ValueError, match="was fitted on batches: pass batches, one per well"):
        fitted.apply(features)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_wells_does_not_matter(method, features):
    order = np.random.default_rng(3).permutation(60)
    fitted = method().learn(features, BATCHES)
    shuffled = method().learn(features[order], BATCHES[order])
    np.testing.assert_allclose(
        shuffled.apply(features[order], BATCHES[order]),
        fitted.apply(features, BATCHES)[order],
        rtol=1e-7, atol=1e-9,
    )  # fmt: skip


def test_axes_have_fixed_signs(features):
    axes = PrincipalAxes().fit(features).axes
    flipped = PrincipalAxes().fit(2 * features.mean(axis=0) - features).axes
    np.testing.assert_allclose(axes, flipped, atol=1e-12)
    assert (axes[np.abs(axes).argmax(axis=0), np.arange(5)] > 0).all()


@pytest.mark.parametrize("method", [PcaCenterScale, TVN])
def test_fewer_controls_than_features_keep_the_directions_they_span(method):
    rng = np.random.default_rng(1)
    controls, others = rng.normal(size=(6, 20)), rng.normal(size=(200, 20))
    fitted = method(components="all").learn(controls.astype(np.float32).astype(np.float64))
    assert fitted.apply(controls).shape == (6, 5)
    np.testing.assert_allclose(fitted.apply(controls).std(axis=0), 1, rtol=1e-4)
    assert np.abs(fitted.apply(others)).max() < 20  # nothing divided by a spread of nearly 0


@pytest.mark.parametrize("method", [PcaCenterScale, TVN])
def test_a_feature_that_repeats_another_adds_no_direction(method, features):
    repeated = np.hstack([features, (3 * features[:, :1]).astype(np.float32)])
    assert method().learn(repeated).apply(repeated).shape == (60, 5)


@pytest.mark.parametrize("method", [CenterScale, TVN])
def test_a_feature_constant_among_controls_weighs_nothing(method, features):
    constant = np.full((60, 1), np.float64(np.float32(0.1)))
    fitted = method().learn(np.hstack([features, constant]))
    moved = fitted.apply(np.hstack([features, constant + 1000]))
    without = method().learn(features).apply(features)
    np.testing.assert_allclose(moved[:, :5], without, rtol=1e-9, atol=1e-12)
    assert not moved[:, 5:].any()


@pytest.mark.parametrize("method", METHODS)
def test_controls_that_are_all_alike(method):
    with pytest.raises(ValueError, match="do not differ in any feature"):
        method().learn(np.full((4, 3), 0.1))


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_that_was_not_fitted(method, features):
    fitted = method().learn(features, BATCHES)
    with pytest.raises(ValueError, match="was not fitted on new"):
        fitted.apply(features[:2], np.array(["new", "a"]))
