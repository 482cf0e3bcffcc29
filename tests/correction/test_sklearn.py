"""scikit-learn's protocol, with scikit-learn itself, pandas and polars as oracles."""

import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from phenomae.correction import TVN, TVN2024, CenterScale, Harmony, PcaCenterScale, Sphering

METHODS = [CenterScale, PcaCenterScale, TVN, TVN2024, Sphering]
OTHERS = {TVN: {"ridge": 0.3, "components": 2}, TVN2024: {"ridge": 0.3}, Sphering: {"epsilon": 0.1}}
CONTROL = np.arange(60) % 3 == 0
BATCHES = np.repeat(["a", "b"], 30)
COLUMNS = ["area", "roundness", "dna", "er"]
# Those that call fit(X) on all samples cannot apply: that must raise here.
CHECKS = (
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_feature_names_out_error",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
    "check_do_not_raise_errors_in_init_or_set_params",
)


@pytest.fixture
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=4)


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("method", METHODS)
def test_checks_of_scikit_learn_that_apply(method, name):
    getattr(estimator_checks, name)(method.__name__, method())


@pytest.mark.parametrize("method", [*METHODS, Harmony])
def test_clone_copies_parameters_and_nothing_that_was_learned(method, features):
    original = method(**OTHERS.get(method, {}))
    if method is not Harmony:
        original.fit(features, controls=CONTROL)
    copied = clone(original)
    assert (
        copied.get_params()
        == original.get_params()
        == method().get_params() | OTHERS.get(method, {})
    )
    fresh = set(vars(method(**OTHERS.get(method, {}))))
    assert set(vars(copied)) == fresh
    assert repr(copied) == repr(original)


def test_set_params():
    assert TVN().set_params(ridge=0.1).ridge == 0.1
    with pytest.raises(ValueError, match="TVN has no parameter 'width'; it has ridge, components"):
        TVN().set_params(width=3)
    with pytest.raises(ValueError, match="CenterScale has no parameter 'width'; it has none"):
        CenterScale().set_params(width=3)


@pytest.mark.parametrize("batches", [None, BATCHES])
@pytest.mark.parametrize("method", METHODS)
def test_fit_learns_from_controls_only_and_gives_the_numbers_of_the_command(
    method, batches, features
):
    own = None if batches is None else batches[CONTROL]
    expected = method().learn(features[CONTROL], own).apply(features, batches)
    moved = np.where(CONTROL[:, None], features, 7.0)  # what is no control does not matter
    fitted = method().fit(moved, controls=CONTROL, batches=batches)
    np.testing.assert_array_equal(fitted.transform(features, batches), expected)
    both = method().fit_transform(features, controls=CONTROL, batches=batches)
    np.testing.assert_array_equal(both, expected)


@pytest.mark.parametrize("method", METHODS)
def test_a_pipeline_cannot_fit_on_all_wells_by_mistake(method, features):
    step = method.__name__.lower()
    with pytest.raises(
        ValueError, match=rf"{method.__name__} is fitted on negative controls: pass"
    ):
        make_pipeline(StandardScaler(), method()).fit(features)
    scaled = StandardScaler().fit_transform(features)
    expected = method().fit(scaled, controls=CONTROL).transform(scaled)
    pipeline = make_pipeline(StandardScaler(), method()).fit(
        features, **{f"{step}__controls": CONTROL}
    )
    np.testing.assert_array_equal(pipeline.transform(features), expected)
    again = clone(pipeline).fit_transform(features, **{f"{step}__controls": CONTROL})
    np.testing.assert_array_equal(again, expected)


def test_a_pipeline_routes_controls_and_batches(features):
    scale = CenterScale().fit_transform(features, controls=CONTROL, batches=BATCHES)
    expected = TVN(0.3).fit_transform(scale, controls=CONTROL, batches=BATCHES)
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(CenterScale(), TVN(0.3))
        pipeline.fit(features, controls=CONTROL, batches=BATCHES)
        np.testing.assert_array_equal(pipeline.transform(features, batches=BATCHES), expected)
        with pytest.raises(ValueError, match="CenterScale is fitted on negative controls"):
            make_pipeline(CenterScale(), TVN(0.3)).fit(features)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_data_frame_comes_back_as_one_of_its_kind(method, kind, features):
    index = pd.Index(range(100, 160))
    frame = (
        pd.DataFrame(features, index=index, columns=COLUMNS)
        if kind == "pandas"
        else pl.DataFrame(features, schema=COLUMNS)
    )
    fitted = method().fit(frame, controls=pd.Series(CONTROL), batches=pl.Series(BATCHES))
    found = fitted.transform(frame, BATCHES.tolist())
    keeps = method in (CenterScale, Sphering)
    names = COLUMNS if keeps else [f"{method.__name__.lower()}{index}" for index in range(4)]
    assert list(found.columns) == names == list(fitted.get_feature_names_out())
    assert type(found) is type(frame)
    if kind == "pandas":
        assert found.index.equals(index)
    expected = method().fit(features, controls=CONTROL, batches=BATCHES)
    np.testing.assert_array_equal(found.to_numpy(), expected.transform(features, BATCHES))
    with pytest.raises(
        ValueError, match="fitted on other columns, or in another order: expected a"
    ):
        fitted.transform(frame[COLUMNS[::-1]], BATCHES)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_set_output_in_a_pipeline(kind, features):
    frame = pd.DataFrame(features, columns=COLUMNS)
    pipeline = make_pipeline(StandardScaler(), TVN(components=2)).set_output(transform=kind)
    pipeline.fit(frame, tvn__controls=CONTROL)
    found = clone(pipeline).fit_transform(frame, tvn__controls=CONTROL)
    assert type(found).__module__.startswith(kind)
    assert list(found.columns) == list(pipeline.get_feature_names_out()) == ["tvn0", "tvn1"]
    with pytest.raises(ValueError, match="transform must be default, pandas or polars, not 'list'"):
        TVN().set_output(transform="list")


def test_names_of_features_of_an_array(features):
    fitted = Sphering().fit(features, controls=CONTROL)
    assert fitted.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3"]
    assert fitted.get_feature_names_out(COLUMNS).tolist() == COLUMNS
    named = Sphering().fit(pd.DataFrame(features, columns=COLUMNS), controls=CONTROL)
    with pytest.raises(
        ValueError, match="input_features must be the columns that the correction was"
    ):
        named.get_feature_names_out(COLUMNS[::-1])
    assert list(named.transform(features)[0]) == list(fitted.transform(features)[0])


def test_new_batches_later(features):
    first = BATCHES == "a"
    fitted = TVN().fit(features[first], controls=CONTROL[first], batches=BATCHES[first])
    fitted.extend(features, controls=CONTROL, batches=BATCHES)
    expected = TVN().learn(features[first & CONTROL], BATCHES[first & CONTROL])
    expected.learn_new(features[CONTROL], BATCHES[CONTROL])
    np.testing.assert_array_equal(
        fitted.transform(features, BATCHES), expected.apply(features, BATCHES)
    )
    with pytest.raises(ValueError, match=r"too few controls in c \(1\)"):
        fitted.extend(features[:2], controls=[True, False], batches=["c", "c"])


def test_harmony_keeps_the_kind_and_the_names(features):
    frame = pl.DataFrame(features, schema=COLUMNS)
    found = Harmony().fit_transform(frame, batches=BATCHES)
    assert found.columns == COLUMNS
    np.testing.assert_array_equal(
        found.to_numpy(), Harmony().fit_transform(features, batches=BATCHES)
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"controls": None},
            "TVN is fitted on negative controls: pass controls=MASK, one bool per w",
        ),
        (
            {"controls": CONTROL[:5]},
            r"controls must be one bool per well \(60 wells\), not bool of",
        ),
        ({"controls": np.flatnonzero(CONTROL)}, r"one bool per well \(60 wells\), not int64 of"),
        ({"controls": np.zeros(60, bool)}, "no well is a control, and a correction is fitted on"),
        (
            {"controls": np.arange(60) < 31},
            r"too few controls in b \(1\): a correction needs at le",
        ),
        ({"batches": ["a"]}, r"batches must be one per well \(60 wells\), not \(1,\)"),
        ({"batches": [None, *BATCHES[1:]]}, "batches must have a label for every well, but some"),
        ({"features": np.ones(60)}, "features must have two dimensions, wells and features, not 1"),
        (
            {"features": np.full((60, 4), np.nan)},
            "features must be finite, but some are NaN or inf",
        ),
        ({"features": [["a"]] * 60}, "features must be numbers: leave out columns of text"),
        ({"features": np.ones((60, 4))}, "do not differ in any feature"),
        ({"ridge": 0}, "ridge must be above 0, not 0"),
    ],
)
def test_arguments_that_cannot_be(features, change, sentence):
    given = {"features": features, "controls": CONTROL, "batches": BATCHES, "ridge": 0.5} | change
    with pytest.raises(ValueError, match=sentence):
        TVN(given["ridge"]).fit(
            given["features"], controls=given["controls"], batches=given["batches"]
        )


@pytest.mark.parametrize("method", METHODS)
def test_a_correction_that_is_not_fitted(method, features):
    with pytest.raises(NotFittedError, match=f"{method.__name__} is not fitted: call fit first"):
        method().transform(features)
    with pytest.raises(NotFittedError, match=f"{method.__name__} is not fitted: call fit first"):
        method().extend(features, controls=CONTROL, batches=BATCHES)


def test_another_number_of_features(features):
    fitted = TVN().fit(features, controls=CONTROL)
    with pytest.raises(ValueError, match="TVN was fitted on 4 features, and was given 3"):
        fitted.transform(features[:, :3])


def test_scikit_learn_is_not_imported_until_it_asks():
    """It takes as long to import as a small screen takes to correct."""
    code = (
        "import sys, numpy as np; from phenomae.correction import TVN; "
        "TVN().fit_transform(np.random.rand(9, 2), controls=np.ones(9, bool)); "
        "sys.exit('sklearn' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("method", METHODS)
def test_y_is_ignored(method, features):
    assert "y" in inspect.signature(method.fit).parameters
    one = method().fit(features, np.ones(60), controls=CONTROL).transform(features)
    np.testing.assert_array_equal(one, method().fit(features, controls=CONTROL).transform(features))
