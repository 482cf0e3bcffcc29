"""Warnings of too few controls for what is estimated from them, and of batches of one condition."""

import json

import polars as pl
import pytest

from phenomae.correction.correct import CorrectSettings, correct

FIRST = pl.col("plate") == "P1"
# P1 has four of its eight controls; there are six features.
FEW = pl.col("control") & ~(FIRST & (pl.col("well") > "B01"))
TOO_FEW = (
    "estimates 6 directions from the controls of each batch, more than there are controls in 1 of "
    "4 batches: plate P1 (5); a coarser batch column, fewer components, or center-scale need fewer "
    "controls"
)


@pytest.fixture
def correct_wells(tmp_path, capsys):
    """Corrects wells, and returns the warnings as printed; those in verdict.json are the same."""

    def run(wells, *then, name="out", apply=None, save=None, **settings):
        chosen = CorrectSettings(*then, **settings)
        capsys.readouterr()
        correct(wells, tmp_path / name, settings=chosen, apply=apply, save=save)
        lines = capsys.readouterr().out.splitlines()
        printed = [line.removeprefix("warning: ") for line in lines if line.startswith("warning:")]
        if chosen.diagnose:
            recorded = json.loads((tmp_path / name / "verdict.json").read_text())["warnings"]
            assert recorded == printed
        return printed

    return run


@pytest.mark.parametrize("method", ["tvn", "tvn-2024", "sphering"])
@pytest.mark.parametrize("diagnose", [True, False])
def test_fewer_controls_than_directions(make_screen, correct_wells, method, diagnose):
    wells = make_screen(control=FEW)
    assert correct_wells(wells, method, "plate", diagnose=diagnose) == [f"{method} {TOO_FEW}"]
    assert correct_wells(wells, method, "batch", name="days") == []
    assert correct_wells(wells, method, name="whole") == []


@pytest.mark.parametrize(
    "method", ["center-scale", "pca-center-scale", "tvn(components=5)", "tvn-2024(components=3)"]
)
def test_enough_controls_for_what_is_estimated(make_screen, correct_wells, method):
    assert correct_wells(make_screen(control=FEW), method, "plate") == []


def test_each_step_of_a_chain_is_checked(make_screen, correct_wells):
    steps = ("tvn:plate", "sphering:plate")
    found = correct_wells(make_screen(control=FEW), "center-scale", "plate", steps)
    assert found == [f"tvn {TOO_FEW}", f"sphering {TOO_FEW}"]


def test_of_plates_that_come_later_new_batches_are_checked(
    make_screen, make_plates, correct_wells, tmp_path
):
    saved = tmp_path / "tvn.npz"
    assert len(correct_wells(make_screen(control=FEW), "tvn", "plate", save=saved)) == 1
    few = pl.col("control") & (pl.col("well") < "B01")
    later = make_plates("later", ("P1", "P8"), control=few)
    (found,) = correct_wells(later, name="out2", apply=saved)
    assert "in 1 of 2 batches: plate P8 (4);" in found


ONLY = "only one condition in the batch, so nothing but its controls can tell its effect"


def test_a_plate_of_one_condition(make_screen, correct_wells):
    only = pl.when(FIRST & ~pl.col("control")).then(pl.lit("G0")).otherwise("gene")
    wells = make_screen(gene=only)
    for name, column in (("plates", "plate"), ("whole", None)):
        (found,) = correct_wells(wells, "center-scale", column, name=name)
        assert found.startswith(f"plate P1 (G0, 8 controls): {ONLY}")
    assert correct_wells(wells, "center-scale", "batch", name="days") == []


def test_many_plates_of_one_condition_are_counted(make_screen, correct_wells):
    gene = pl.when(~pl.col("control")).then(pl.col("plate").str.replace("P", "G"))
    (found,) = correct_wells(make_screen(gene=gene), "center-scale", "plate")
    start = "plate P1 (G1, 8 controls), plate P2 (G2, 8 controls), plate P3 (G3, 8 controls)"
    assert found.startswith(f"{start} and 1 more: {ONLY}")


def test_doses_of_a_compound_are_conditions(make_screen, correct_wells):
    treated = pl.when(~pl.col("control"))
    one = {"gene": pl.lit(None, pl.String), "compound": treated.then(pl.lit("taxol"))}
    doses = treated.then(pl.col("well").str.slice(1).cast(pl.Float64))
    wells = make_screen(concentration_um=doses, **one)
    assert correct_wells(wells, "center-scale", "plate") == []
    (found,) = correct_wells(make_screen("one", **one), "center-scale", "plate", name="same")
    assert found.startswith("plate P1 (taxol, 8 controls), plate P2 (taxol, 8 controls)")


def test_plates_of_controls_and_of_wells_without_names_are_no_condition(make_screen, correct_wells):
    wells = make_screen(gene=pl.when(~FIRST).then("gene"), control=FIRST | pl.col("control"))
    assert correct_wells(wells, "center-scale", "plate") == []
