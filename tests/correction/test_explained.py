"""What position and count explain of controls on unseen plates, as the diagnosis reports it."""

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.wells import read_wells, write_wells


@pytest.fixture
def screen(make_screen, tmp_path):
    """Wells with an effect of row and count on x0, the folder of their counts, and the counts."""
    table = read_wells(make_screen("plain")).table
    counts = np.random.default_rng(5).normal(size=(96, 2)).astype(np.float32).astype(np.float64)
    named = table.select("plate", "well", "control").hstack(
        pl.from_numpy(counts, schema=["log_count", "area"])
    )
    # In another order than the wells.
    named = named.sample(fraction=1, shuffle=True, seed=1)
    write_wells(tmp_path / "counts", named, ["log_count", "area"])
    shift = np.where(table["well"].str.starts_with("B"), 1.0, 0.0) + 2 * counts[:, 0]
    return make_screen("wells", x0=pl.col("x0") + pl.Series(shift)), tmp_path / "counts", counts


def explained(features, covariates, plates):
    """R2 of every feature by leave-one-plate-out of scikit-learn."""
    x, y = covariates.copy(), features.astype(np.float64)
    for plate in np.unique(plates):
        for values in (x, y):
            values[plates == plate] -= values[plates == plate].mean(axis=0)
    predicted = cross_val_predict(LinearRegression(), x, y, groups=plates, cv=LeaveOneGroupOut())
    return 1 - ((y - predicted) ** 2).sum(axis=0) / (y**2).sum(axis=0)


def test_the_table_holds_what_scikit_learn_gives(screen, tmp_path):
    wells, folder, counts = screen
    chosen = CorrectSettings("center-scale", "plate", ("count:",), counts=folder, diagnose=True)
    correct(wells, tmp_path / "out", settings=chosen)
    table = pl.read_csv(tmp_path / "out" / "diagnosis.csv")
    before, after = read_wells(wells), read_wells(tmp_path / "out")
    control = before.table["control"].to_numpy()
    plates = before.table["plate"].to_numpy().astype(str)[control]
    # Two rows and twelve columns: plates of 24 wells have 4 and 6, so these are of 96 wells.
    well = before.table["well"].to_numpy()[control]
    row = np.array([ord(name[0]) - 65 - 3.5 for name in well]) / 3.5
    column = np.array([int(name[1:]) - 1 - 5.5 for name in well]) / 5.5
    edge = [0 if name[0] == "A" or name[1:] in ("01", "12") else 0.5 for name in well]
    terms = np.stack([row, row**2, column, column**2, edge], axis=1)
    covariates = {
        "row": terms[:, :2],
        "column": terms[:, 2:4],
        "position": terms,
        "count": counts[control],
    }
    rows = {row["measure"]: row for row in table.iter_rows(named=True)}
    for name, values in covariates.items():
        for moment, profiles in (("before", before), ("after", after)):
            wanted = explained(profiles.features[control], values, plates)
            for statistic, number in (("mean", wanted.mean()), ("largest", wanted.max())):
                assert rows[f"R2 of {name}, {statistic}"][moment] == pytest.approx(number, abs=2e-5)
    assert (
        rows["R2 of count, largest"]["before"] > 0.8 > 0.2 > rows["R2 of count, largest"]["after"]
    )
    assert {(row["wells"], row["column"], row["n"]) for row in list(rows.values())[-8:]} == {
        ("controls", "plate", 32)
    }


def test_chance_is_what_counts_of_other_wells_explain(screen, tmp_path):
    wells, folder, counts = screen
    chosen = CorrectSettings("center-scale", "plate", counts=folder, diagnose=True)
    correct(wells, tmp_path / "out", settings=chosen)
    table = pl.read_csv(tmp_path / "out" / "diagnosis.csv")
    after = read_wells(tmp_path / "out")
    control = after.table["control"].to_numpy()
    plates = after.table["plate"].to_numpy().astype(str)[control]
    values = counts[control]
    rng, draws = np.random.default_rng(9), []
    for _ in range(200):
        order = np.concatenate([8 * plate + rng.permutation(8) for plate in range(4)])
        draws.append(explained(after.features[control], values[order], plates))
    draws = np.array(draws)
    for statistic, each in (("mean", draws.mean(axis=1)), ("largest", draws.max(axis=1))):
        row = table.row(by_predicate=pl.col("measure") == f"R2 of count, {statistic}", named=True)
        # The standard error of a mean of 20 permutations, and of the 200 here.
        error = each.std() * np.sqrt(1 / 20 + 1 / 200)
        assert abs(row["chance"] - each.mean()) < 4 * error
        assert row["before"] > row["chance"]


def test_without_counts_there_are_no_rows_of_count(make_screen, tmp_path):
    correct(make_screen(), tmp_path / "out", settings=CorrectSettings(diagnose=True))
    measures = pl.read_csv(tmp_path / "out" / "diagnosis.csv")["measure"].to_list()
    assert measures[-6:] == [
        f"R2 of {name}, {statistic}"
        for name in ("row", "column", "position")
        for statistic in ("mean", "largest")
    ]


def test_controls_of_one_plate_are_not_measured(make_screen, tmp_path, capsys):
    wells = make_screen(control=pl.col("control") & (pl.col("plate") == "P1"))
    correct(wells, tmp_path / "out", settings=CorrectSettings(diagnose=True))
    table = pl.read_csv(tmp_path / "out" / "diagnosis.csv")
    assert not table["measure"].str.starts_with("R2").any()
    told = "fewer than two plates have two controls, so the diagnosis does not cover effects of pos"
    assert told in capsys.readouterr().err


def test_features_that_do_not_vary_leave_the_cells_empty(make_screen, tmp_path):
    dull = {f"x{index}": pl.col("plate").str.slice(1).cast(pl.Float64) for index in range(6)}
    correct(make_screen(**dull), tmp_path / "out", settings=CorrectSettings(diagnose=True))
    table = pl.read_csv(tmp_path / "out" / "diagnosis.csv")
    rows = table.filter(pl.col("measure").str.starts_with("R2"))
    assert len(rows) == 6
    assert rows.select("before", "after", "chance").null_count().row(0) == (6, 6, 6)


def test_counts_that_lack_a_well_are_noticed_before_anything_is_written(screen, tmp_path):
    wells, _, counts = screen
    named = read_wells(wells).table.select("plate", "well", "control")
    write_wells(tmp_path / "short", named.with_columns(n=counts[:, 0])[1:], ["n"])
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match="counts has no row for wells P1 A01: expected a wells"):
        correct(
            wells,
            tmp_path / "out",
            settings=CorrectSettings(counts=tmp_path / "short", diagnose=True),
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == before
