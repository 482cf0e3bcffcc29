"""Several methods one after the other, and settings that do not go together."""

import shutil

import numpy as np
import polars as pl
import pytest

from phenomae.correction import TVN, CenterScale, Harmony, PcaCenterScale, Sphering
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.correction.settings import read_steps, record
from phenomae.correction.steps import parse_step
from phenomae.signatures import Origin, read_signature, sign
from phenomae.wells import read_wells


def parts_of(folder):
    wells = read_wells(folder)
    labels = {name: wells.table[name].to_numpy().astype(str) for name in ("plate", "batch")}
    return wells.features.astype(np.float64), wells.table["control"].to_numpy(), labels


def test_each_is_fitted_on_controls_as_the_one_before_left_them(make_screen, tmp_path):
    wells = make_screen()
    chosen = CorrectSettings(
        "center-scale",
        "plate",
        (
            "tvn(ridge=0.3, components=4):batch",
            "sphering(epsilon=0.01):",
            "pca-center-scale(components=4)",
        ),
    )
    correct(wells, tmp_path / "out", settings=chosen)
    features, control, labels = parts_of(wells)
    for method, column in (
        (CenterScale(), "plate"),
        (TVN(0.3, 4), "batch"),
        (Sphering(0.01), None),
        (PcaCenterScale(4), "plate"),
    ):
        own = None if column is None else labels[column]
        features = method.fit_transform(features, controls=control, batches=own)
    np.testing.assert_allclose(
        read_wells(tmp_path / "out").features, features, rtol=1e-5, atol=1e-6
    )


def test_harmony_between_others(make_screen, tmp_path):
    wells = make_screen()
    chosen = CorrectSettings("center-scale", "plate", ("harmony:batch", "sphering:"))
    correct(wells, tmp_path / "out", settings=chosen)
    features, control, labels = parts_of(wells)
    scale = CenterScale()
    features = scale.fit_transform(features, controls=control, batches=labels["plate"])
    features = Harmony().fit_transform(features, batches=labels["batch"])
    features = Sphering().fit_transform(features, controls=control)
    np.testing.assert_allclose(
        read_wells(tmp_path / "out").features, features, rtol=1e-4, atol=1e-5
    )


def test_a_shift_of_whole_plates_survives_tvn_and_not_center_scale_before_it(make_screen, tmp_path):
    wells = make_screen()
    correct(wells, tmp_path / "tvn", settings=CorrectSettings("tvn", "plate"))
    correct(wells, tmp_path / "both", settings=CorrectSettings("center-scale", "plate", ("tvn",)))
    for name, low, high in (("tvn", 0.5, np.inf), ("both", 0, 1e-5)):
        features, control, labels = parts_of(tmp_path / name)
        rows = control & (labels["plate"] == "P1")
        assert low < np.linalg.norm(features[rows].mean(axis=0)) < high


def test_a_stopped_chain_goes_on_to_the_same_bytes(make_screen, tmp_path):
    arms = tmp_path / "arms.csv"
    pl.DataFrame({"gene": ["G0", "G1"], "arm": ["1p", "1p"]}).write_csv(arms)
    chosen = CorrectSettings(
        "center-scale", "plate", ("harmony:batch", "tvn"), arms=arms, arm_genes=2, diagnose=True
    )
    wells, whole, stopped = make_screen(), tmp_path / "whole", tmp_path / "stopped"
    correct(wells, whole, settings=chosen)
    partial = tmp_path / "stopped.partial"
    shutil.copytree(whole, partial)
    origin = Origin(**{key: read_signature(whole)[key] for key in ("kind", "settings", "sources")})
    sign(partial, origin, identity=None, files={})
    for name in ("P3.parquet", "P4.parquet", "diagnosis.csv"):
        (partial / name).unlink()
    correct(wells, stopped, settings=chosen)
    for file in whole.iterdir():
        assert (stopped / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"method": "sphering(ridge=1)"}, "method .*: sphering has no setting 'ridge'; it has eps"),
        ({"method": "center-scale(ridge=1)"}, "center-scale has no setting 'ridge'; it has none"),
        (
            {"then": ("tvn(epsilon=1):",)},
            "then tvn.*: tvn has no setting 'epsilon'; it has ridge, ",
        ),
        ({"method": "tvn(ridge=0)"}, r"method tvn\(ridge=0\): ridge must be above 0, not 0.0"),
        ({"method": "tvn(ridge=1e999)"}, "ridge must be above 0, not inf"),
        ({"method": "tvn(ridge=wide)"}, "ridge must be of type float, not 'wide'"),
        ({"method": "tvn(ridge=True)"}, "ridge must be of type float, not True"),
        (
            {"method": "tvn(components=2.5)"},
            r"components must be of type int \| str \| None, not 2.5",
        ),
        ({"method": "sphering(epsilon=-1.0)"}, "epsilon must be above 0, not -1.0"),
        ({"method": "tvn(components=0)"}, "components must be at least 1, not 0"),
        ({"method": "tvn(components=most)"}, "components must be one of auto, all, not most"),
        ({"method": "tvn-2024(ridge=0)"}, "ridge must be above 0, not 0"),
        ({"method": "pca-center-scale(components=0)"}, "components must be at least 1, not 0"),
        (
            {"method": "tvn(components=9)"},
            "components must be at most the number of features, 6, n",
        ),
        ({"method": "tvn(0.5)"}, r"method tvn\(0.5\): expected NAME\(setting=value, ...\):COLUMN"),
        ({"method": "tvn(ridge)"}, "expected NAME.*, but found .ridge."),
        ({"method": "tvn(ridge=1"}, r"method tvn\(ridge=1: expected NAME\(setting=value"),
        ({"method": "tvn(ridge=1)(ridge=2)"}, "expected NAME.*, but found .ridge=1..ridge=2."),
        ({"method": "tvn(**{})"}, "expected NAME.setting=value"),
        ({"method": ":plate"}, "method :plate: expected NAME.setting=value"),
        ({"then": ("sphere",)}, "'sphere': did you mean sphering\\? use one of center-scale"),
        (
            {"then": ("combat",)},
            "then combat: there is no method 'combat': use one of center-scale",
        ),
        ({"then": ("tvn:day",)}, "then tvn:day: there is no such column; use one of"),
        ({"then": ("harmony:",), "batch": "plate"}, "then harmony:: harmony moves batches onto"),
        ({"method": "harmony"}, "method harmony: harmony moves batches onto each other, so it"),
        *(
            ({"features": text}, f"features must be START:STOP, such as 0:128, not {text}")
            for text in ("3", "3:3", "4:2", "-2:4", "a:b")
        ),
        ({"features": "2:7"}, "features 2:7: .* has 6 features, so the end must be at most 6"),
        ({"few_controls": "stop"}, "few_controls must be one of error, pool, drop, not stop"),
        ({"arm_genes": 3}, "arm_genes is only used with arms: leave arm_genes out, or"),
    ],
)
def test_settings_that_will_not_do(make_screen, tmp_path, chosen, sentence):
    with pytest.raises(ValueError, match=sentence):
        correct(make_screen(), tmp_path / "out", settings=CorrectSettings(**chosen))
    assert [path.name for path in tmp_path.iterdir()] == ["wells"]


def test_constant_features_are_counted(make_screen, tmp_path, capsys):
    dull = {"x1": pl.lit(2.0), "x2": pl.when(pl.col("plate") == "P3").then(1.0).otherwise("x2")}
    wells = make_screen(**dull)
    correct(wells, tmp_path / "out", settings=CorrectSettings("center-scale", "plate"))
    expected = (
        "center-scale: 2 of 6 features do not vary among the controls of plate P3 and become 0"
    )
    assert expected in capsys.readouterr().err
    out = read_wells(tmp_path / "out")
    assert not out.features[:, 1].any()
    assert not out.features[out.table["plate"].to_numpy() == "P3", 2].any()


@pytest.mark.parametrize(
    ("text", "batch", "expected"),
    [
        ("tvn", "plate", TVN()),
        ("tvn:", None, TVN()),
        ("tvn:plate (old)", "plate (old)", TVN()),
        (" tvn ( ridge = 1 , components=3 ) : plate", "plate", TVN(1.0, 3)),
        ("tvn(components=None):plate", "plate", TVN(components=None)),
        ("tvn(components=all)", "plate", TVN(components="all")),
        ("sphering(epsilon=1e-3,):x:y", "x:y", Sphering(1e-3)),
    ],
)
def test_a_step_is_a_name_settings_and_a_column(text, batch, expected):
    step = parse_step(text, "plate", "then")
    assert (repr(step.correction), step.batch) == (repr(expected), batch)


def test_settings_are_recorded_under_the_keys_of_old_artefacts():
    """Written down from an artefact of the version in which they were flags of the command."""
    settings = CorrectSettings(
        "tvn(ridge=0.3, components=all)", "plate", ("sphering(epsilon=1):batch",)
    )
    assert record(settings, read_steps(settings)) == {
        "method": "tvn",
        "batch": "plate",
        "then": ["sphering:batch"],
        "ridge": 0.3,
        "components": None,
        "epsilon": 1.0,
        "few_controls": "error",
        "arm_genes": None,
        "diagnose": True,
    }


def test_what_the_keys_cannot_hold_is_recorded_beside_them():
    settings = CorrectSettings("tvn(ridge=0.3)", "plate", ("tvn(ridge=0.7):batch",))
    recorded = record(settings, read_steps(settings))
    assert recorded["parameters"] == [
        {"ridge": 0.3, "components": "auto"},
        {"ridge": 0.7, "components": "auto"},
    ]
