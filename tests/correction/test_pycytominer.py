"""mad-robust and feature-select give the numbers of pycytominer's own functions."""

import builtins

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pycytominer import feature_select, normalize

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.correction.feature_select import FeatureSelect
from phenomae.correction.mad_robust import MadRobust
from phenomae.maps.export import export
from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import read_map
from phenomae.wells import read_wells, write_wells

NAMES = ["Cells_A", "Cells_B", "Cytoplasm_A", "Nuclei_A", "Nuclei_B"]
BLOCKED = "Nuclei_Correlation_Manders_AGP_DNA"  # in pycytominer's default blocklist


@pytest.fixture
def profiles() -> pd.DataFrame:
    """Three plates of 24 wells with CellProfiler's names; one feature repeats, one is constant."""
    rng = np.random.default_rng(11)
    values = rng.normal(size=(72, 5)) * [1, 3, 0.2, 7, 1] + np.repeat([[0], [5], [-4]], 24, axis=0)
    values[:, 3] = 2 * values[:, 1] + rng.normal(size=72) * 0.01  # correlated
    values[:, 4] = 1.5  # constant
    columns = dict(zip(NAMES, values.T, strict=True))
    table = pd.DataFrame(
        {
            "Metadata_Plate": np.repeat(["P1", "P2", "P3"], 24),
            "Metadata_Well": [f"{'AB'[at // 12]}{at % 12 + 1:02d}" for at in range(24)] * 3,
            "Metadata_control": [at % 3 == 0 for at in range(24)] * 3,
            **columns,
        }
    )
    return table.assign(**{BLOCKED: rng.normal(size=72)})


@pytest.fixture
def wells(profiles, tmp_path):
    """The same as a wells folder, with a column of its own."""
    table = pl.from_pandas(profiles).rename(
        {"Metadata_Plate": "plate", "Metadata_Well": "well", "Metadata_control": "control"}
    )
    table = table.with_columns(gene=pl.col("well"), Metadata_lab=pl.lit("x"))
    write_wells(tmp_path / "wells", table, [*NAMES, BLOCKED])
    return tmp_path / "wells"


def test_mad_robust_is_mad_robustize_of_pycytominer(profiles, wells, tmp_path):
    settings = CorrectSettings("mad-robust", "plate", diagnose=False)
    correct(wells, tmp_path / "out", settings=settings, save=tmp_path / "saved.npz")
    found = read_wells(tmp_path / "out")
    features = [*NAMES[:4], BLOCKED]  # the last but one has a MAD of 0
    of_plates = [
        normalize(plate, [*NAMES, BLOCKED], samples="Metadata_control", method="mad_robustize")
        for _, plate in profiles.groupby("Metadata_Plate")
    ]
    expected = pd.concat(of_plates)
    columns = [found.columns.index(name) for name in features]
    np.testing.assert_allclose(
        found.features[:, columns], expected[features].to_numpy(), rtol=1e-4, atol=1e-6
    )
    assert not found.features[:, found.columns.index(NAMES[4])].any()
    assert found.names == [*NAMES, BLOCKED]
    assert set(found.table["Metadata_lab"]) == {"x"}
    correct(wells, tmp_path / "again", settings=CorrectSettings(diagnose=False),
            apply=tmp_path / "saved.npz")  # fmt: skip
    np.testing.assert_array_equal(read_wells(tmp_path / "again").features, found.features)


@pytest.mark.parametrize("names", [[*NAMES[::-1], BLOCKED], ["x1", "x2", "x3", "x4", "x5", "x6"]])
def test_a_saved_correction_is_for_features_of_the_same_names(profiles, wells, tmp_path, names):
    settings = CorrectSettings("center-scale", "plate", diagnose=False)
    correct(wells, tmp_path / "out", settings=settings, save=tmp_path / "saved.npz")
    table = pl.DataFrame({"plate": ["P1"] * 24, "well": [f"A{at + 1:02d}" for at in range(24)]})
    values = pl.from_pandas(profiles[[*NAMES, BLOCKED]][:24])
    values.columns = names
    table = table.with_columns(pl.Series("control", [True, False] * 12), *values)
    write_wells(tmp_path / "others", table, names)
    message = rf"feature 0 is '{names[0]}' instead of 'Cells_A'; give wells with the same features"
    with pytest.raises(ValueError, match=message):
        correct(tmp_path / "others", tmp_path / "again", settings=CorrectSettings(diagnose=False),
                apply=tmp_path / "saved.npz")  # fmt: skip
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "operation",
    [
        "variance_threshold",
        "correlation_threshold",
        "variance_threshold,correlation_threshold",
        "blocklist",
        "drop_outliers",
    ],
)
def test_feature_select_is_that_of_pycytominer(profiles, wells, tmp_path, operation):
    cutoff = 10.0 if operation == "drop_outliers" else 500.0
    method = f"feature-select(operation='{operation}', outlier_cutoff={cutoff})"
    correct(wells, tmp_path / "out", settings=CorrectSettings(method, diagnose=False))
    found, before = read_wells(tmp_path / "out"), read_wells(wells)
    # Of float32, as wells have them.
    values = dict(zip(before.columns, before.features.T.astype(float), strict=True))
    table = profiles.assign(**values)
    expected = feature_select(
        table, [*NAMES, BLOCKED], operation=operation.split(","), outlier_cutoff=cutoff
    )
    kept = [name for name in expected if not name.startswith("Metadata_")]
    assert found.names == kept
    assert 0 < len(kept) < len(NAMES) + 1
    columns = [before.columns.index(name) for name in kept]
    np.testing.assert_array_equal(found.features, before.features[:, columns])


def test_names_and_metadata_go_through_to_maps_and_exports(wells, tmp_path):
    steps = CorrectSettings("mad-robust", "plate", ("feature-select:",), diagnose=False)
    correct(wells, tmp_path / "out", settings=steps)
    names = read_wells(tmp_path / "out").names
    assert names == [NAMES[0], NAMES[2], NAMES[3], BLOCKED]  # Nuclei_A repeats Cells_B
    map_wells(tmp_path / "out", tmp_path / "map.h5ad", settings=MapSettings(through="wells"))
    assert read_map(tmp_path / "map.h5ad").variables == names
    for source in ("out", "map.h5ad"):
        export(tmp_path / source, tmp_path / f"{source}.parquet")
        table = pl.read_parquet(tmp_path / f"{source}.parquet")
        assert table.columns[-len(names or []) :] == names
    assert "Metadata_lab" in pl.read_parquet(tmp_path / "out.parquet").columns
    export(tmp_path / "map.h5ad", tmp_path / "out.parquet", overwrite=True)
    rotated = CorrectSettings("pca-center-scale", diagnose=False)
    correct(wells, tmp_path / "rotated", settings=rotated)
    assert read_wells(tmp_path / "rotated").names is None
    ranged = CorrectSettings("center-scale", features="1:3", diagnose=False)
    correct(wells, tmp_path / "ranged", settings=ranged)
    assert read_wells(tmp_path / "ranged").names == NAMES[1:3]


def test_feature_select_as_a_class_keeps_the_columns(profiles):
    selected = FeatureSelect().fit_transform(profiles[NAMES])
    assert isinstance(selected, pd.DataFrame)
    assert list(selected) == list(feature_select(
        profiles[NAMES], NAMES, operation=["variance_threshold", "correlation_threshold"]
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (
            "feature-select(operation='variance')",
            "operation must be one of variance_threshold, ",
        ),
        ("feature-select(corr_threshold=2)", "corr_threshold must be from 0 to 1, not 2.0"),
        ("feature-select(outlier_cutoff=0)", "outlier_cutoff must be above 0, not 0.0"),
        ("feature-select:plate", "uses the wells of all plates together and takes no batch column"),
        ("mad-robust(epsilon=-1)", "epsilon must be at least 0, not -1.0"),
    ],
)
def test_settings_that_will_not_do(method, sentence):
    with pytest.raises(ValueError, match=sentence):
        CorrectSettings(method)


def test_wells_that_will_not_do(wells, tmp_path):
    table = read_wells(wells).table.with_columns(
        feature_0000=pl.lit(1.0), feature_0001=pl.int_range(pl.len()) % 2 * 1e-9
    )
    write_wells(tmp_path / "bare", table, ["feature_0000", "feature_0001"])
    for method, sentence in (
        ("feature-select(operation='blocklist')", "these features have no names: leave blocklist"),
        ("feature-select(operation='drop_outliers', outlier_cutoff=1e-12)", "leaves none of the"),
    ):
        with pytest.raises(ValueError, match=sentence):
            correct(tmp_path / "bare", tmp_path / "out", settings=CorrectSettings(method))
    with pytest.raises(ValueError, match="the controls of all wells have a MAD of 0 in every"):
        MadRobust().fit(np.ones((6, 2)), controls=np.ones(6, dtype=bool))


def test_without_pycytominer(monkeypatch):
    imported = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("pycytominer"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    sentence = r"mad-robust needs pycytominer: pip install 'phenomae\[profiles\]'"
    with pytest.raises(ValueError, match=sentence):
        MadRobust().fit(np.eye(4), controls=np.ones(4, dtype=bool))
