"""Several methods one after the other, and settings that do not go together."""

import shutil

import numpy as np
import polars as pl
import pytest

from phenomae.artefacts import Origin, read_signature, sign
from phenomae.correction import TVN, CenterScale, Harmony, PcaCenterScale, Sphering
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.wells import read_wells


def parts_of(folder):
    wells = read_wells(folder)
    labels = {name: wells.table[name].to_numpy().astype(str) for name in ("plate", "batch")}
    return wells.features.astype(np.float64), wells.table["control"].to_numpy(), labels


def test_each_is_fitted_on_controls_as_the_one_before_left_them(make_screen, tmp_path):
    wells = make_screen()
    chosen = CorrectSettings(
        "center-scale", "plate", ("tvn:batch", "sphering:", "pca-center-scale"), ridge=0.3,
        components=4, epsilon=0.01,
    )  # fmt: skip
    correct(wells, tmp_path / "out", settings=chosen)
    features, control, labels = parts_of(wells)
    for method, column in (
        (CenterScale(), "plate"),
        (TVN(0.3, 4), "batch"),
        (Sphering(0.01), None),
        (PcaCenterScale(4), "plate"),
    ):
        own = None if column is None else labels[column]
        fitted = method.fit(features[control], None if own is None else own[control])
        features = fitted.transform(features, own)
    np.testing.assert_allclose(
        read_wells(tmp_path / "out").features, features, rtol=1e-5, atol=1e-6
    )


def test_harmony_between_others(make_screen, tmp_path):
    wells = make_screen()
    chosen = CorrectSettings("center-scale", "plate", ("harmony:batch", "sphering:"))
    correct(wells, tmp_path / "out", settings=chosen)
    features, control, labels = parts_of(wells)
    features = (
        CenterScale().fit(features[control], labels["plate"][control])
        .transform(features, labels["plate"])
    )  # fmt: skip
    features = Harmony().fit_transform(features, labels["batch"])
    features = Sphering().fit(features[control]).transform(features)
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
    sign(partial, origin, identity=None)
    for name in ("P3.parquet", "P4.parquet", "diagnosis.csv"):
        (partial / name).unlink()
    correct(wells, stopped, settings=chosen)
    for file in whole.iterdir():
        assert (stopped / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (
            {"ridge": 1.0, "method": "sphering"},
            r"--ridge is not used by sphering: leave it out \(us",
        ),
        ({"epsilon": 1.0}, r"--epsilon is not used by tvn: leave it out \(used by sphering\)"),
        (
            {"components": 3, "method": "center-scale", "then": ("sphering",)},
            "not used by center-scale, sphering: .*used by pca-center-scale and tvn",
        ),
        ({"ridge": 0.0}, "--ridge 0.0: expected a number above 0"),
        ({"ridge": float("nan")}, "--ridge nan: expected a number above 0"),
        ({"method": "sphering", "epsilon": -1.0}, "--epsilon -1.0: expected a number above 0"),
        ({"components": 0}, "--components 0: expected 1 or more"),
        ({"components": 9}, "--components 9 is too many: there are only 6 features"),
        ({"then": ("combat",)}, "--then combat: there is no such method; use one of center-scale"),
        ({"then": ("tvn:day",)}, "--then tvn:day: there is no such column; use one of"),
        ({"then": ("harmony:",), "batch": "plate"}, "--then harmony:: harmony moves batches onto"),
        ({"method": "harmony"}, "--method harmony: harmony moves batches onto each other, so it"),
        ({"arm_genes": 3}, "--arm-genes is only used with --arms TABLE"),
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
    told = "center-scale: 2 of 6 features do not vary among the controls of plate P3 and count as 0"
    assert told in capsys.readouterr().err
    out = read_wells(tmp_path / "out")
    assert not out.features[:, 1].any()
    assert not out.features[out.table["plate"].to_numpy() == "P3", 2].any()
