"""Effects of position and count: planted ones are found and removed, with outside oracles."""

import re
import shutil
import tracemalloc

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from phenomae.cli import run
from phenomae.correction import CenterScale, Harmony
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.wells import read_wells, write_wells

PLATES = ("P1", "P2", "P3", "P4", "P5")
FEATURES = [f"x{index}" for index in range(5)]
COUNTS = ["log_count", "blob_area"]
WELLS = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]
ROWS, COLUMNS = np.divmod(np.arange(96), 12)


def terms() -> np.ndarray:
    """The terms of position of a plate of 96 wells, typed out."""
    row, column = (ROWS - 3.5) / 3.5, (COLUMNS - 5.5) / 5.5
    distance = np.minimum.reduce([ROWS, 7 - ROWS, COLUMNS, 11 - COLUMNS])
    return np.stack([row, row**2, column, column**2, np.minimum(distance, 2) / 2], axis=1)


def make_screen(seed=0, plates=PLATES, position=0.0, count=0.0) -> dict[str, np.ndarray]:
    """Plates of 96 wells, 32 of them controls, with offsets of plates and planted effects."""
    rng, planted = np.random.default_rng(seed), np.random.default_rng(3)
    slopes, per_cell = planted.normal(size=(5, 5)), planted.normal(size=(2, 5))
    n = 96 * len(plates)
    plate = np.repeat(plates, 96)
    control = np.concatenate([rng.permutation(96) < 32 for _ in plates])
    counts = (
        rng.normal(size=(n, 2)) * [1.0, 0.1] + np.repeat(rng.normal(size=len(plates)), 96)[:, None]
    )
    counts[~control, 0] -= 0.5  # many perturbations lower the number of cells
    counts = counts.astype(np.float32).astype(np.float64)
    effects = rng.normal(size=(n, 5)) * ~control[:, None]
    noise = rng.normal(size=(n, 5)) * 0.3
    offset = np.repeat(rng.normal(size=(len(plates), 5)) * 5, 96, axis=0)
    shift = position * np.tile(terms(), (len(plates), 1)) @ slopes + count * counts @ per_cell
    return {
        "plate": plate,
        "control": control,
        "counts": counts,
        "clean": effects + noise + offset,
        "shift": shift,
        "features": (effects + noise + offset + shift).astype(np.float32).astype(np.float64),
    }


def write(folder, screen, values="features", names=FEATURES, rows=slice(None)):
    table = pl.DataFrame(
        {
            "plate": screen["plate"],
            "well": WELLS * (len(screen["plate"]) // 96),
            "control": screen["control"],
        }
    ).with_columns(pl.from_numpy(screen[values], schema=names))
    write_wells(folder, table[rows], names, max_missing=None)
    return folder


def centered(values: np.ndarray, screen: dict, rows: np.ndarray) -> np.ndarray:
    """The values minus the mean of the controls of their plate, typed out."""
    found = values[rows].copy()
    for plate in np.unique(screen["plate"]):
        own = screen["plate"] == plate
        found[own[rows]] -= values[own & screen["control"]].mean(axis=0)
    return found


def expected(screen: dict, covariates: np.ndarray) -> np.ndarray:
    """The corrected features by numpy's least squares."""
    rows, every = screen["control"], np.ones(len(screen["plate"]), dtype=bool)
    x, y = (centered(values, screen, rows) for values in (covariates, screen["features"]))
    slopes, *_ = np.linalg.lstsq(x, y, rcond=None)
    return screen["features"] - centered(covariates, screen, every) @ slopes


def test_planted_effects_of_position_are_removed_from_all_wells(tmp_path):
    screen = make_screen(position=1.0)
    wells = write(tmp_path / "wells", screen)
    correct(wells, tmp_path / "out", settings=CorrectSettings("position"))
    after = read_wells(tmp_path / "out").features
    wanted = expected(screen, np.tile(terms(), (5, 1)))
    np.testing.assert_allclose(after, wanted, rtol=1e-5, atol=1e-5)
    # What is left of the planted effect, but for a constant per plate: the error of 160 controls
    # with a standard deviation of .3 in five coefficients.
    every = np.ones(480, dtype=bool)
    left = centered(after - screen["clean"], screen, every)
    assert left.std() < 0.08 < 0.5 < centered(screen["shift"], screen, every).std()


def test_planted_effects_of_count_are_removed_from_all_wells(tmp_path):
    screen = make_screen(count=1.0)
    wells, counts = write(tmp_path / "wells", screen), tmp_path / "counts"
    write(counts, screen, "counts", COUNTS)
    correct(wells, tmp_path / "out", settings=CorrectSettings("count", counts=counts))
    after = read_wells(tmp_path / "out").features
    np.testing.assert_allclose(after, expected(screen, screen["counts"]), rtol=1e-5, atol=1e-5)
    every = np.ones(480, dtype=bool)
    left = centered(after - screen["clean"], screen, every)
    assert left.std() < 0.08 < 0.5 < centered(screen["shift"], screen, every).std()


@pytest.mark.parametrize("method", ["position", "count"])
def test_without_an_effect_the_command_stops_with_the_numbers(tmp_path, method, capsys):
    screen = make_screen()
    wells, counts = write(tmp_path / "wells", screen), tmp_path / "counts"
    write(counts, screen, "counts", COUNTS)
    words = ["correct", str(wells), str(tmp_path / "out"), "--method", "center-scale"]
    words += ["--batch", "plate", "--then", f"{method}:"]
    assert run([*words, *(["--counts", str(counts)] if method == "count" else [])]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    found = re.fullmatch(
        rf"phenomae: {method} does not lower the variance of the controls on unseen plates: it "
        r"explains (-0\.\d{3}) of the variance of the controls' features on average, "
        r"(-?0\.\d{3}) of feature_(000\d) at most \(160 controls of 5 plates, each plate left out "
        rf"of the fit once\); leave {method} out",
        message,
    )
    assert found is not None, message
    # The same numbers by scikit-learn, of features standardised by the controls of each plate.
    rows, plates = screen["control"], screen["plate"][screen["control"]]
    scaled = CenterScale().fit_transform(
        screen["features"], controls=rows, batches=screen["plate"]
    )[rows]
    covariates = np.tile(terms(), (5, 1)) if method == "position" else screen["counts"]
    x = centered(covariates, screen, rows)
    predicted = cross_val_predict(
        LinearRegression(), x, scaled, groups=plates, cv=LeaveOneGroupOut()
    )
    explained = 1 - ((scaled - predicted) ** 2).sum(axis=0) / (scaled**2).sum(axis=0)
    assert float(found[1]) == pytest.approx(explained.mean(), abs=0.0006)
    assert float(found[2]) == pytest.approx(explained.max(), abs=0.0006)
    assert int(found[3]) == explained.argmax()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts", "wells"]


def test_the_controls_of_every_plate_keep_their_mean(tmp_path):
    """So plates that were centred before are centred afterwards."""
    screen = make_screen(position=1.0, count=1.0)
    wells, counts = write(tmp_path / "wells", screen), tmp_path / "counts"
    write(counts, screen, "counts", COUNTS)
    chosen = CorrectSettings("center-scale", "plate", ("count:", "position:"), counts=counts)
    correct(wells, tmp_path / "out", settings=chosen)
    after = read_wells(tmp_path / "out").features
    for plate in PLATES:
        means = after[(screen["plate"] == plate) & screen["control"]].mean(axis=0)
        np.testing.assert_allclose(means, 0, atol=1e-6)


def test_after_harmony(tmp_path):
    screen = make_screen(position=2.0)
    wells = write(tmp_path / "wells", screen)
    correct(wells, tmp_path / "out", settings=CorrectSettings("harmony", "plate", ("position:",)))
    moved = Harmony().fit_transform(screen["features"], batches=screen["plate"])
    wanted = expected(screen | {"features": moved}, np.tile(terms(), (5, 1)))
    np.testing.assert_allclose(read_wells(tmp_path / "out").features, wanted, rtol=1e-4, atol=1e-4)


def test_memory_holds_the_controls_and_a_plate_but_not_the_screen(tmp_path):
    rng, plates, width = np.random.default_rng(0), [f"P{at:02d}" for at in range(30)], 200
    names = [f"x{index}" for index in range(width)]
    few = np.concatenate([rng.permutation(96) < 4 for _ in plates])
    effect = np.tile(terms(), (30, 1)) @ rng.normal(size=(5, width)) * 5
    screen = {"plate": np.repeat(plates, 96), "control": few}
    wells = write(
        tmp_path / "wells", screen | {"x": effect + rng.normal(size=effect.shape)}, "x", names
    )
    # What is imported does not count.
    write(tmp_path / "small", make_screen(position=1.0))
    alone = CorrectSettings("position", diagnose=False)  # a diagnosis holds its sample of wells
    correct(tmp_path / "small", tmp_path / "first", settings=alone)
    tracemalloc.start()
    correct(wells, tmp_path / "out", settings=alone)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * 96 * width * 8 / 3  # all wells in float32 would be half


def test_the_order_of_plates_does_not_matter(tmp_path):
    screen = make_screen(position=1.0)
    turned = screen | {"plate": np.repeat(PLATES[::-1], 96)}
    for name, each in (("one", screen), ("two", turned)):
        write(tmp_path / name, each)
        correct(tmp_path / name, tmp_path / f"{name}.out", settings=CorrectSettings("position"))
    one, two = (read_wells(tmp_path / f"{name}.out").features for name in ("one", "two"))
    np.testing.assert_allclose(two.reshape(5, 96, 5)[::-1].reshape(480, 5), one, atol=1e-6)


def test_controls_in_one_column_say_nothing_about_columns(tmp_path, capsys):
    screen = make_screen(position=1.0)
    screen["control"] = np.tile(COLUMNS == 3, 5)
    wells = write(tmp_path / "wells", screen)
    correct(wells, tmp_path / "out", settings=CorrectSettings("position"))
    x = np.tile(terms(), (5, 1))
    x[:, 2:4] = 0  # the term of the edge varies with the row
    np.testing.assert_allclose(
        read_wells(tmp_path / "out").features, expected(screen, x), rtol=1e-4, atol=1e-4
    )
    told = "position: 440 of 480 wells have covariates outside the range of the controls, where"
    assert told in capsys.readouterr().err


@pytest.fixture
def saved(tmp_path):
    """A screen with both effects, its counts, and the file of a correction by both."""
    screen = make_screen(position=1.0, count=1.0)
    wells, counts = write(tmp_path / "wells", screen), tmp_path / "counts"
    write(counts, screen, "counts", COUNTS)
    chosen = CorrectSettings("count", then=("position",), counts=counts)
    correct(wells, tmp_path / "out", settings=chosen, save=tmp_path / "fitted.npz")
    return screen, tmp_path / "fitted.npz"


def test_the_same_plates_by_the_file(saved, tmp_path):
    chosen = CorrectSettings(counts=tmp_path / "counts")
    again = tmp_path / "again"
    correct(tmp_path / "wells", again, settings=chosen, apply=saved[1])
    for plate in PLATES:
        file = f"{plate}.parquet"
        assert (again / file).read_bytes() == (tmp_path / "out" / file).read_bytes()


def test_later_plates_by_the_file(saved, tmp_path):
    """P7 is centred on its own controls; P8 has none and is centred on those of the fit."""
    screen, file = saved
    late = make_screen(1, ("P7", "P8"), position=1.0, count=1.0)
    late["control"][96:] = False
    wells, counts = write(tmp_path / "late", late), tmp_path / "late.counts"
    write(counts, late, "counts", COUNTS)
    correct(wells, tmp_path / "new", settings=CorrectSettings(counts=counts), apply=file)
    wanted = late["features"].copy()
    old = screen["features"]
    for first, second in (
        (screen["counts"], late["counts"]),
        (np.tile(terms(), (5, 1)), np.tile(terms(), (2, 1))),
    ):
        rows = screen["control"]
        x, y = centered(first, screen, rows), centered(old, screen, rows)
        slopes, *_ = np.linalg.lstsq(x, y, rcond=None)
        old = old - centered(first, screen, np.ones(480, dtype=bool)) @ slopes
        wanted[:96] -= (second[:96] - second[:96][late["control"][:96]].mean(axis=0)) @ slopes
        wanted[96:] -= (second[96:] - first[rows].mean(axis=0)) @ slopes
    np.testing.assert_allclose(read_wells(tmp_path / "new").features, wanted, rtol=1e-4, atol=1e-4)


def test_other_counts_than_the_file_was_fitted_on(saved, tmp_path):
    screen, file = saved
    narrow = screen | {"counts": screen["counts"][:, :1]}
    counts = write(tmp_path / "narrow", narrow, "counts", COUNTS[:1])
    with pytest.raises(ValueError, match="counts has 1 feature, but count was fitted on 2: both"):
        correct(
            tmp_path / "wells",
            tmp_path / "new",
            settings=CorrectSettings(counts=counts),
            apply=file,
        )
    with pytest.raises(ValueError, match=r"apply .*\(count:\): count needs counts WELLS, a wells"):
        correct(tmp_path / "wells", tmp_path / "new", apply=file)


def test_later_plates_of_another_format(saved, tmp_path):
    table = pl.DataFrame({"plate": "P9", "well": ["A01", "J13"], "control": False})
    for name, names in (("late", FEATURES), ("late.counts", COUNTS)):
        write_wells(tmp_path / name, table.with_columns(pl.lit(1.0).alias(x) for x in names), names)
    chosen = CorrectSettings(counts=tmp_path / "late.counts")
    with pytest.raises(
        ValueError, match="fitted on plates of 8 rows and 12 columns, which have no well J13: exp"
    ):
        correct(tmp_path / "late", tmp_path / "new", settings=chosen, apply=saved[1])


def test_what_counts_say_is_part_of_the_identity_and_where_they_are_is_not(tmp_path, capsys):
    screen = make_screen(count=1.0)
    wells, counts = write(tmp_path / "wells", screen), tmp_path / "counts"
    write(counts, screen, "counts", COUNTS)
    file = tmp_path / "fitted.npz"
    correct(wells, tmp_path / "out", settings=CorrectSettings("count", counts=counts), save=file)
    shutil.copytree(counts, tmp_path / "moved")
    moved = CorrectSettings("count", counts=tmp_path / "moved")
    correct(wells, tmp_path / "out", settings=moved, save=file)
    assert capsys.readouterr().err.count("already there") == 2
    write(tmp_path / "others", screen | {"counts": screen["counts"] + 1}, "counts", COUNTS)
    other = CorrectSettings("count", counts=tmp_path / "others")
    with pytest.raises(ValueError, match="was made with another source: counts"):
        correct(wells, tmp_path / "out", settings=other)
    with pytest.raises(ValueError, match=r"fitted.npz is already there, made with other"):
        correct(wells, tmp_path / "new", settings=other, save=file)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"method": "count"}, "method count: count needs counts WELLS, a wells folder whose feat"),
        ({"then": ("count:",)}, "then count:: count needs counts WELLS"),
        (
            {"then": ("count",), "batch": "plate", "counts": "counts"},
            "then count: count is fitted on the controls of all plates together and takes no batch "
            "column: leave out batch, or write count: with a colon and no column",
        ),
        ({"method": "position:plate"}, "position is fitted on the controls of all plates together"),
        ({"method": "position(order=3)"}, "position has no setting 'order'; it has none"),
        (
            {"counts": "counts", "diagnose": False},
            "counts .*counts is only used by the method count and by diagnose:",
        ),
    ],
)
def test_settings_that_will_not_do(tmp_path, chosen, sentence):
    wells = write(tmp_path / "wells", make_screen())
    with pytest.raises(ValueError, match=sentence):
        correct(wells, tmp_path / "out", settings=CorrectSettings(**chosen))
    assert [path.name for path in tmp_path.iterdir()] == ["wells"]


def test_counts_that_will_not_do(tmp_path):
    screen = make_screen(count=1.0)
    wells = write(tmp_path / "wells", screen)
    short = write(tmp_path / "short", screen, "counts", COUNTS, slice(7, None))
    with pytest.raises(
        ValueError, match=r"counts has no row for wells P1 A01, P1 A02, .*, P1 A05 and 2 more: exp"
    ):
        correct(wells, tmp_path / "out", settings=CorrectSettings("count", counts=short))
    broken = screen | {"counts": np.where(np.arange(960).reshape(480, 2) == 3, np.nan, 1.0)}
    write(tmp_path / "broken", broken, "counts", COUNTS)
    with pytest.raises(
        ValueError,
        match=r"broken has features that are NaN, .*: wells P1 A02, features blob_area \(1",
    ):
        correct(
            wells, tmp_path / "out", settings=CorrectSettings("count", counts=tmp_path / "broken")
        )
    with pytest.raises(ValueError, match="absent holds no wells: there is nothing"):
        correct(
            wells, tmp_path / "out", settings=CorrectSettings("count", counts=tmp_path / "absent")
        )


def test_wells_that_are_left_out_need_no_counts(tmp_path):
    screen = make_screen(count=1.0)
    screen["control"][:96] = False
    wells = write(tmp_path / "wells", screen)
    counts = write(tmp_path / "counts", screen, "counts", COUNTS, slice(96, None))
    chosen = CorrectSettings("center-scale", "plate", ("count:",), "drop", counts=counts)
    correct(wells, tmp_path / "out", settings=chosen)
    assert read_wells(tmp_path / "out").table["plate"].n_unique() == 4


def test_names_that_are_no_wells(tmp_path, resign):
    table = pl.DataFrame({"plate": "P1", "well": ["A01", "A02"], "control": True, "x": [0.0, 1.0]})
    write_wells(tmp_path / "wells", table, ["x"])
    file = tmp_path / "wells/P1.parquet"
    pl.read_parquet(file).with_columns(well=pl.Series(["A01", "first"])).write_parquet(file)
    resign(tmp_path / "wells")
    with pytest.raises(ValueError, match="position: 'first' is not a well: expected row letters"):
        correct(tmp_path / "wells", tmp_path / "out", settings=CorrectSettings("position"))
