"""The command `correct`: what it writes, when it refuses."""

import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.correction.settings import read_steps, record
from phenomae.records import WELL_COLUMNS
from phenomae.signatures import Origin, sign, sign_complete
from phenomae.wells import read_wells, write_plate, write_wells

METHODS = ("center-scale", "pca-center-scale", "tvn")


def make_wells(folder: Path, **columns) -> Path:
    rng = np.random.default_rng(2)
    table = pl.DataFrame(
        {
            "plate": np.repeat(["P1", "P2"], 12),
            "well": [f"A{column:02d}" for column in range(1, 13)] * 2,
            "batch": ["one"] * 24,
            "gene": ["TP53", "PLK1", "NTC"] * 8,
            "control": [False, False, True] * 8,
            "x": rng.normal(size=24),
            "y": 3 + rng.normal(size=24),
            "z": rng.normal(size=24),
        }
    ).with_columns(**columns)
    write_wells(folder, table, ["x", "y", "z"], max_missing=None)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("batch", [None, "plate", "batch"])
@pytest.mark.parametrize("method", METHODS)
def test_controls_come_out_standardised_and_wells_keep_their_rows(tmp_path, method, batch):
    wells = make_wells(tmp_path / "wells")
    correct(wells, tmp_path / "out", settings=CorrectSettings(method, batch))
    before, after = read_wells(wells), read_wells(tmp_path / "out")
    assert after.table.equals(before.table)
    control = after.table["control"].to_numpy()
    if (method, batch) not in (("tvn", "plate"), ("tvn", "batch")):
        plates = after.table["plate"].to_numpy()
        for plate in ("P1", "P2") if batch == "plate" else ("P",):
            rows = control & np.char.startswith(plates.astype(str), plate)
            np.testing.assert_allclose(after.features[rows].mean(axis=0), 0, atol=1e-6)
            np.testing.assert_allclose(after.features[rows].std(axis=0), 1, rtol=1e-5)


def test_chosen_features_are_corrected_as_if_there_were_no_others(tmp_path):
    wells = make_wells(tmp_path / "wells")
    found = read_wells(wells)
    narrow = pl.concat(
        [found.table, pl.from_numpy(found.features[:, 1:], schema=["y", "z"])], how="horizontal"
    )
    write_wells(tmp_path / "narrow", narrow, ["y", "z"])
    chosen = CorrectSettings("pca-center-scale", "plate", features="1:3")
    correct(wells, tmp_path / "out", settings=chosen, save=tmp_path / "saved.npz")
    whole = CorrectSettings("pca-center-scale", "plate")
    correct(tmp_path / "narrow", tmp_path / "expected", settings=whole)
    expected = read_wells(tmp_path / "expected").features
    np.testing.assert_array_equal(read_wells(tmp_path / "out").features, expected)
    again = CorrectSettings(features="1:3")
    correct(wells, tmp_path / "applied", settings=again, apply=tmp_path / "saved.npz")
    np.testing.assert_array_equal(read_wells(tmp_path / "applied").features, expected)


def test_center_scale_per_plate_by_hand(tmp_path):
    wells = make_wells(tmp_path / "wells")
    correct(wells, tmp_path / "out", settings=CorrectSettings("center-scale", "plate"))
    features = read_wells(wells).features[:12].astype(np.float64)
    controls = features[[2, 5, 8, 11]]
    wanted = (features - controls.mean(axis=0)) / np.sqrt(
        ((controls - controls.mean(axis=0)) ** 2).sum(axis=0) / 4
    )
    np.testing.assert_allclose(read_wells(tmp_path / "out").features[:12], wanted, rtol=1e-5)


def test_a_stopped_correction_goes_on_to_the_same_bytes(tmp_path):
    wells, settings = make_wells(tmp_path / "wells"), CorrectSettings("tvn", "plate")
    correct(wells, tmp_path / "whole", settings=settings)
    partial = tmp_path / "stopped.partial"
    partial.mkdir()
    sign(
        partial,
        Origin(
            "wells", record(settings, read_steps(settings)), {"wells": read_wells(wells).identity}
        ),
        identity=None,
        files={},
    )
    first = partial / "P1.parquet"
    first.write_bytes((tmp_path / "whole" / "P1.parquet").read_bytes())
    made = first.stat().st_mtime_ns
    correct(wells, tmp_path / "stopped", settings=settings)
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")
    assert (tmp_path / "stopped" / "P1.parquet").stat().st_mtime_ns == made
    assert not partial.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_partial_folder_that_is_somebody_elses_is_left_alone(tmp_path, overwrite):
    wells, partial = make_wells(tmp_path / "wells"), tmp_path / "out.partial"
    partial.mkdir()
    (partial / "thesis.txt").write_text("two years")
    with pytest.raises(ValueError, match=r"out.partial is in the way and was not made by phenomae"):
        correct(wells, tmp_path / "out", overwrite=overwrite)
    assert (partial / "thesis.txt").read_text() == "two years"
    (partial / "thesis.txt").unlink()
    (partial / "artefact.json.0a1b2c3d.partial").write_text("{")  # a stop in the very first moment
    correct(wells, tmp_path / "out", overwrite=overwrite)
    assert not partial.exists()


def test_the_same_work_is_not_done_twice(tmp_path, capsys):
    wells = make_wells(tmp_path / "wells")
    made = correct(str(wells), str(tmp_path / "out"))
    assert repr(made) == f"Wells('{tmp_path}/out', 2 plates, 24 wells, 3 features)"
    assert correct(wells, made) == made
    assert "already there" in capsys.readouterr().err
    with pytest.raises(ValueError, match="another setting: components = 'auto', now None"):
        correct(wells, tmp_path / "out", settings=CorrectSettings("center-scale"))
    correct(wells, tmp_path / "out", settings=CorrectSettings("center-scale"), overwrite=True)


def test_memory_holds_the_controls_and_a_plate_but_not_the_screen(tmp_path):
    rng, wells, plates, width = np.random.default_rng(0), tmp_path / "wells", 30, 200
    wells.mkdir()
    empty = {name: pl.Series([None] * 96, dtype=kind) for name, kind in WELL_COLUMNS.items()}
    for plate in range(plates):
        named = {"plate": [f"P{plate:02d}"] * 96, "well": [f"A{at:02d}" for at in range(1, 97)]}
        table = pl.DataFrame(empty | named | {"control": [True] * 2 + [False] * 94})
        write_plate(wells, table, rng.normal(size=(96, width)).astype(np.float32))
    sign_complete(wells, Origin("wells"))
    # The diagnosis holds its sample, of at most a few thousand wells.
    settings = CorrectSettings("center-scale", "plate", diagnose=False)
    # What is imported does not count.
    correct(make_wells(tmp_path / "small"), tmp_path / "first", settings=settings)
    tracemalloc.start()
    correct(wells, tmp_path / "out", settings=settings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < plates * 96 * width * 8 / 3  # all wells in float32 would be half


def test_directions_without_spread_are_told(tmp_path, capsys):
    wells = make_wells(tmp_path / "wells", z=pl.lit(0.1))
    correct(wells, tmp_path / "out")
    assert "the 8 controls vary along 2 directions only, of 3 features" in capsys.readouterr().err
    assert read_wells(tmp_path / "out").features.shape == (24, 2)


@pytest.mark.parametrize(
    ("columns", "batch", "sentence"),
    [
        ({"control": pl.lit(False)}, None, "no well is a control"),
        (
            {"control": (pl.col("gene") == "NTC") & (pl.col("plate") == "P1")},
            "plate",
            r"too few controls in plate P2 \(0\)",
        ),
        (
            {"control": (pl.col("gene") == "NTC") & (pl.col("well") != "A03")},
            "well",
            r"well A01 \(0\)",
        ),
        ({"control": pl.col("well") == "A03"}, "plate", r"plate P1 \(1\), plate P2 \(1\)"),
        ({"batch": pl.lit(None)}, "batch", "batch batch: the column is empty for 24 of 24"),
        ({}, "day", "batch day: there is no such column"),
        ({"y": pl.lit(float("inf"))}, None, "NaN, empty or infinite: wells P1 A01, P1 A02"),
        (
            {name: pl.lit(1.0) for name in "xyz"},
            "plate",
            "the controls of .* do not differ in any feature",
        ),
    ],
)
def test_wells_that_will_not_do(tmp_path, columns, batch, sentence):
    wells = make_wells(tmp_path / "wells", **columns)
    with pytest.raises(ValueError, match=sentence):
        correct(wells, tmp_path / "out", settings=CorrectSettings("center-scale", batch))
    assert [path.name for path in tmp_path.iterdir()] == ["wells"]
