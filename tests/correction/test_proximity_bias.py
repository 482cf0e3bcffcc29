"""Proximity bias: what the genes of an arm have in common is subtracted."""

import re

import numpy as np
import polars as pl
import pytest

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.correction.proximity_bias import arm_shifts, read_arms
from phenomae.wells import read_wells

ARMS = pl.DataFrame({"gene": [f"G{i}" for i in range(7)], "arm": ["1p", "1p", "1p", *["2q"] * 4]})


def write(path, table: pl.DataFrame = ARMS):
    if path.suffix == ".parquet":
        table.write_parquet(path)
    else:
        table.write_csv(path)
    return path


@pytest.mark.parametrize("file", ["arms.csv", "arms.parquet"])
def test_every_gene_of_an_arm_counts_once(make_screen, tmp_path, capsys, file):
    """G3 lacks its wells on P1, G7 is on no arm, and 1p has too few genes."""
    lost = (pl.col("plate") == "P1") & (pl.col("gene") == "G3")
    wells = make_screen(gene=pl.when(~lost).then("gene"))
    plain = CorrectSettings("center-scale", "plate")
    correct(wells, tmp_path / "plain", settings=plain)
    chosen = CorrectSettings("center-scale", "plate", arms=write(tmp_path / file), arm_genes=4)
    correct(wells, tmp_path / "out", settings=chosen)
    before, after = read_wells(tmp_path / "plain"), read_wells(tmp_path / "out")
    genes = before.table["gene"].to_numpy()
    on_arm = ["G3", "G4", "G5", "G6"]
    means = [before.features[genes == gene].astype(np.float64).mean(axis=0) for gene in on_arm]
    shift = sum(means) / 4
    moved = np.isin(genes.astype(str), on_arm)
    np.testing.assert_allclose(
        after.features[moved], before.features[moved] - shift, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(after.features[~moved], before.features[~moved])
    told = (
        "arms: the mean of the arm is subtracted from 4 genes; not changed are 1 genes that are "
        "not in the table and 3 genes on arms of fewer than 4 genes (1p)"
    )
    assert told in capsys.readouterr().err


def test_controls_that_name_a_gene_are_left_alone(make_screen, tmp_path):
    wells = make_screen(gene=pl.when("control").then(pl.lit("G0")).otherwise("gene"))
    arms = write(tmp_path / "arms.csv")
    for name, chosen in (
        ("plain", CorrectSettings("tvn")),
        ("out", CorrectSettings("tvn", arms=arms, arm_genes=1)),
    ):
        correct(wells, tmp_path / name, settings=chosen)
    before, after = read_wells(tmp_path / "plain"), read_wells(tmp_path / "out")
    control = before.table["control"].to_numpy()
    np.testing.assert_array_equal(after.features[control], before.features[control])
    genes = before.table["gene"].to_numpy()
    means = [after.features[(genes == f"G{index}") & ~control].mean(axis=0) for index in range(3)]
    np.testing.assert_allclose(np.mean(means, axis=0), 0, atol=1e-5)


def test_the_usual_least_is_20():
    means = {f"g{index}": np.array([float(index)]) for index in range(39)}
    arms = {gene: "1p" if index < 20 else "2q" for index, gene in enumerate(means)}
    shifts, left = arm_shifts(means, arms, 20)
    assert left == ["2q"]
    assert {float(shift[0]) for shift in shifts.values()} == {sum(range(20)) / 20}


def test_where_the_table_lies_does_not_matter_but_what_it_says_does(make_screen, tmp_path, capsys):
    wells = make_screen()
    chosen = CorrectSettings("tvn", arms=write(tmp_path / "a.csv"), arm_genes=1)
    correct(wells, tmp_path / "out", settings=chosen)
    moved = CorrectSettings("tvn", arms=write(tmp_path / "b.csv", ARMS.reverse()), arm_genes=1)
    correct(wells, tmp_path / "out", settings=moved)
    assert "already there" in capsys.readouterr().err
    other = CorrectSettings("tvn", arms=write(tmp_path / "c.csv", ARMS[:5]), arm_genes=1)
    with pytest.raises(ValueError, match="was made with another source: arms"):
        correct(wells, tmp_path / "out", settings=other)


def test_names_that_look_like_numbers_stay_as_they_are(tmp_path):
    named = pl.DataFrame({"gene": ["007", "1e3", *["12"] * 200, "TP53"], "arm": "1"})
    arms = read_arms(write(tmp_path / "arms.csv", named))
    assert arms == {"007": "1", "1e3": "1", "12": "1", "TP53": "1"}


def test_a_gene_may_be_there_twice_on_one_arm(tmp_path):
    arms = read_arms(write(tmp_path / "arms.csv", pl.concat([ARMS, ARMS])))
    assert arms == dict(ARMS.rows())


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (ARMS.drop("arm"), "arms.csv has no column 'arm': expected gene and arm, it has gene"),
        (
            pl.concat([ARMS, ARMS.with_columns(arm=pl.lit("9p"))]),
            "arms.csv has gene 'G0' on 1p and 9p: expected one arm per gene",
        ),
        (
            ARMS.with_columns(gene="ENSG" + pl.col("gene")),
            "arms.csv has none of the 8 genes of the wells: expected names like G1, G2, G3",
        ),
    ],
)
def test_a_table_that_will_not_do(make_screen, tmp_path, table, sentence):
    arms = write(tmp_path / "arms.csv", table)
    with pytest.raises(ValueError, match=sentence):
        correct(make_screen(), tmp_path / "out", settings=CorrectSettings(arms=arms))


@pytest.mark.parametrize("name", ["absent.csv", "bad.parquet"])
def test_a_file_that_cannot_be_read(tmp_path, name):
    (tmp_path / "bad.parquet").write_text("x")
    path = tmp_path / name
    with pytest.raises(ValueError, match=f"arms {re.escape(str(path))} is not a readable table"):
        read_arms(path)


def test_arm_genes_below_1():
    with pytest.raises(ValueError, match="arm_genes must be at least 1, not 0"):
        CorrectSettings(arms="arms.csv", arm_genes=0)
