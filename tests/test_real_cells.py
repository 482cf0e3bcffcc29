"""`benchmarks/real_cells.sh`: how cells are laid out, what is scored, and what it prints."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
import tifffile
from PIL import Image
from scipy.stats import spearmanr
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from phenomae.evaluation.questions.linear_probe import LinearProbeSettings
from phenomae.evaluation.questions.mechanisms import MechanismSettings
from phenomae.reporting.ask import ask_mechanisms, ask_probe
from phenomae.row_filter import match_rows
from phenomae.wells import read_wells, write_wells

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks/real_cells.sh"


def load(name: str) -> ModuleType:
    path = ROOT / f"benchmarks/real_cells/{name}.py"
    spec = importlib.util.spec_from_file_location(f"real_cells_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)  # as if it were run: scripts import each other
        spec.loader.exec_module(module)
    return module


lay_out, table, real_position = load("lay_out"), load("table"), load("real_position")
held_out = load("held_out_compounds")


def test_cells_of_a_mosaic_are_laid_out_in_wells_of_their_own(tmp_path: Path):
    folder, raw = tmp_path / "cells", tmp_path / "raw"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    mosaics = {
        channel: rng.integers(60000, size=(136, 204)).astype(np.uint16)
        for channel in ("DNA", "actin", "tubulin")
    }
    for channel, mosaic in mosaics.items():
        tifffile.imwrite(folder / f"images/M1_{channel}.tif", mosaic)
    rows = [
        ("M1", 0, 0, "W1", "P1", "B02", "taxol", "0.3", "stabilizers", "false", "false"),
        ("M1", 0, 68, "W1", "P1", "B02", "taxol", "0.3", "stabilizers", "false", "false"),
        ("M1", 0, 136, "W1", "P1", "C03", "DMSO", "0.0", "DMSO", "true", "false"),
        ("M1", 68, 0, "W1", "P1", "C04", "AZ-C", "1.0", "Eg5", "false", "true"),
        ("M1", 68, 68, "W1", "P1", "C05", "AZ-C", "1.0", "Eg5", "false", "false"),
    ]
    head = "mosaic,y,x,batch,plate,well,compound,concentration_um,moa,control,blank"
    lines = [head, *(",".join(map(str, row)) for row in rows)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    lay_out.main("bbbc021", folder, raw)
    cells = pl.read_csv(raw / "plate_map.csv").sort("well")
    assert cells["well"].to_list() == ["A01", "A02", "A03", "A04"]
    expected = ["AZ-C@1.0", "DMSO@0.0", "taxol@0.3", "taxol@0.3"]
    assert sorted(cells["perturbation"]) == expected
    known = pl.read_csv(raw / "mechanisms.csv").rows()
    assert known == [("AZ-C", "Eg5"), ("taxol", "stabilizers")]
    places = {(y, x) for _, y, x, *rest in rows if rest[-1] == "false"}
    for cell in cells.iter_rows(named=True):
        images = [
            tifffile.imread(raw / f"P1/{cell['well']}_s1_{channel}.tif") for channel in mosaics
        ]
        (place,) = [
            (y, x)
            for y, x in places
            if all(
                np.array_equal(image, mosaic[y : y + 68, x : x + 68])
                for image, mosaic in zip(images, mosaics.values(), strict=True)
            )
        ]
        places.remove(place)
        (row,) = [row for row in rows if row[1:3] == place]
        assert (cell["real_well"], cell["compound"]) == (row[5], row[6])
    assert not places


def test_fields_of_rxrx1_are_cut_into_tiles_that_stay_on_their_plate(tmp_path: Path):
    folder, raw, rng = tmp_path / "sample", tmp_path / "raw", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    lines, images = ["file,experiment,cell_type,plate,well,site,channel"], {}
    for experiment, plate, site, channel in np.ndindex(2, 2, 2, 2):
        name = f"images/{experiment}-{plate}-{site}-{channel}.png"
        pixels = rng.integers(256, size=(512, 512)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
        images[f"E{experiment}_{plate + 1}", site + 1, channel + 1] = pixels
        cell_type = ("U2OS", "RPE")[experiment]
        lines.append(f"{name},E{experiment},{cell_type},{plate + 1},B02,{site + 1},{channel + 1}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    lay_out.main("rxrx1", folder, raw)
    cells = pl.read_csv(raw / "plate_map.csv")
    assert cells.columns == ["plate", "well", "real_well", "batch", "perturbation", "control"]
    assert len(cells) == len(cells.unique(["plate", "well"])) == 4 * 64
    for (plate, cell_type, batch), some in cells.group_by("plate", "perturbation", "batch"):
        assert (cell_type, batch) == (("U2OS", "RPE")[plate.startswith("E1")], plate[:2])
        tiles = {
            tuple(
                np.asarray(Image.open(raw / f"{plate}/{well}_s1_w{channel}.png")).tobytes()
                for channel in (1, 2)
            )
            for well in some["well"]
        }
        fields = [images[plate, 1, channel] for channel in (1, 2)]
        corners = [(64 * row, 64 * column) for row, column in np.ndindex(8, 8)]
        assert tiles == {
            tuple(np.ascontiguousarray(field[y : y + 64, x : x + 64]).tobytes() for field in fields)
            for y, x in corners
        }


def test_cells_are_in_random_order_and_each_in_a_well_of_its_own():
    labels = pl.DataFrame({"plate": ["P"] * 1536 + ["Q"] * 2, "well": "A01", "row": range(1538)})
    placed = lay_out.place_cells(labels)
    assert len(placed.unique(["plate", "well"])) == 1538
    assert {"A01", "AF48"} <= {*placed["well"]}
    first = placed.filter(pl.col("plate") == "P")
    number = pl.int_range(1536, eager=True)
    assert abs(spearmanr(first.sort("well")["row"], number).statistic) < 0.1
    assert placed.equals(lay_out.place_cells(labels))


def test_real_positions_are_those_of_the_plate_that_all_wells_are_on(tmp_path: Path):
    cells = pl.DataFrame(
        {
            "plate": ["P", "P", "Q"],
            "well": ["A01", "A02", "A01"],
            "real_well": ["A01", "A24", "P12"],
            "control": [False] * 3,
        }
    )
    cells.write_csv(tmp_path / "plate_map.csv")
    real_position.main(tmp_path / "plate_map.csv", tmp_path / "wells")
    found = read_wells(tmp_path / "wells")
    # 16 rows and 24 columns, from -1 to 1.
    rows, columns = np.array([0, 0, 15]), np.array([0, 23, 11])
    down, across = rows / 7.5 - 1, columns / 11.5 - 1
    expected = np.stack([down, across, down**2, across**2, [0, 0, 0]], axis=1)
    np.testing.assert_allclose(found.features, expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_the_mean_over_seeds_draws_seeds_with_replacement():
    values = np.arange(12.0).reshape(3, 4)  # seeds, all units and three resamples
    means = table.mean_of_seeds(values, "row")
    assert means[0] == values[:, 0].mean()
    possible = [
        {round(np.mean(column[list(drawn)]), 9) for drawn in np.ndindex(3, 3, 3)}
        for column in values.T
    ]
    assert all(round(mean, 9) in some for mean, some in zip(means, possible, strict=True))
    np.testing.assert_array_equal(table.mean_of_seeds(values[:1], "row"), values[0])


def test_a_resample_of_the_balanced_accuracy_is_that_of_repeated_units():
    rng = np.random.default_rng(1)
    units, names = rng.integers(8, size=200), rng.integers(5, size=200)
    names = np.where(units == 3, 4, np.where(names == 4, 0, names))  # name 4 is of one unit
    predicted = np.where(rng.random(200) < 0.5, names, rng.integers(5, size=200))
    score = table.balanced_score(units, names, predicted == names)
    weights = table.draw_weights(score.strata, 20)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 8).all()
    assert any(row[3] == 0 for row in weights)
    for row in weights:
        times = row[units].astype(int)
        expected = balanced_accuracy_score(np.repeat(names, times), np.repeat(predicted, times))
        assert score.of(row) == pytest.approx(expected)
    assert score.chance == 1 / 5


def test_differences_are_paired_and_strata_are_kept():
    strata = np.array([0] * 4 + [10] * 6)
    weights = table.draw_weights(strata, 50)
    assert (weights[:, :4].sum(axis=1) == 4).all()
    assert (weights[:, 4:].sum(axis=1) == 6).all()
    units = np.arange(30)
    hits = np.random.default_rng(0).random(30) < 0.5
    scores = [table.balanced_score(units, np.zeros(30), some) for some in (hits, hits, ~hits)]
    one, same, other = table.resample(scores, 200)
    np.testing.assert_array_equal(one, same)
    np.testing.assert_allclose(one + other, 1)
    # The standard deviation of a share of 30 independent units.
    expected = np.sqrt(hits.mean() * (1 - hits.mean()) / 30)
    assert one[1:].std() == pytest.approx(expected, rel=0.15)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wells of 8 compounds of 3 mechanisms at 2 doses, and what `ask` finds on them."""
    out, rng = tmp_path_factory.mktemp("real-cells"), np.random.default_rng(3)
    compound = np.repeat(np.arange(8), 10)
    features = rng.normal(size=(80, 4)) + 2 * rng.normal(size=(3, 4))[compound % 3]
    wells = pl.DataFrame(features, schema=[*"abcd"]).with_columns(
        plate=pl.Series([f"P{number}" for number in np.arange(80) % 5]),
        well=pl.Series([f"A{number + 1:02d}" for number in range(80)]),
        batch=pl.Series([f"B{number}" for number in compound // 2 % 2]),
        compound=pl.Series([f"c{code}" for code in compound]),
        concentration_um=pl.Series(np.tile([1.0, 2.0], 40)),
        control=pl.lit(False),
    )
    write_wells(out / "wells/name", wells, [*"abcd"])
    write_wells(out / "corrected/name", wells, [*"abcd"])
    (out / "raw").mkdir()
    wells.drop(*"abcd").write_csv(out / "raw/plate_map.csv")
    known, answers = out / "raw/mechanisms.csv", out / "answers/name"
    lines = ["compound,mechanism", *(f"c{code},m{code % 3}" for code in range(8))]
    known.write_text("\n".join(lines) + "\n")
    ask_mechanisms(
        out / "corrected/name", answers / "mechanisms-corrected", settings=MechanismSettings(known)
    )
    for columns in (("plate",), ("compound", "batch")):
        probe = LinearProbeSettings("mechanism", known, columns, 3)
        ask_probe(out / "wells/name", answers / "-".join(columns), settings=probe)
    return out


@pytest.mark.parametrize("match", ["nsc", "nscb"])
def test_the_nearest_treatment_of_another_compound_is_scored_by_compound(out: Path, match: str):
    rows = read_wells(out / "corrected/name")
    keys = rows.table.select("compound", "concentration_um", "batch")
    treatments = keys.unique().sort(keys.columns).rows()
    means = [rows.features[[row == key for row in keys.rows()]].mean(axis=0) for key in treatments]
    unit = np.array([mean / np.linalg.norm(mean) for mean in means])
    mechanism = [int(key[0][1:]) % 3 for key in treatments]
    found = []
    for one, (name, _, batch) in enumerate(treatments):
        others = [
            (unit[one] @ unit[other], mechanism[other])
            for other, (its, _, week) in enumerate(treatments)
            if its != name and (match == "nsc" or week != batch)
        ]
        if mechanism[one] in [label for _, label in others]:
            found.append((int(name[1:]), max(others)[1] == mechanism[one]))
    score = table.nearest_score(out, "name", f"corrected {match}")
    assert score.of(np.ones(len(score.strata))) == pytest.approx(np.mean([hit for _, hit in found]))
    weights = np.arange(len(score.strata), dtype=float)
    compounds = sorted({code for code, _ in found})
    repeated = [hit for code, hit in found for _ in range(compounds.index(code))]
    assert score.of(weights) == pytest.approx(np.mean(repeated))


def test_compounds_are_left_out_once_and_those_of_a_mechanism_in_different_networks():
    names = [f"c{number}" for number in range(12)]
    known = pl.DataFrame({"compound": names, "mechanism": [*"aaabbccccdde"]})
    fold_of = held_out.split_compounds(known.sample(fraction=1, shuffle=True, seed=0), 5)
    assert sorted(fold_of) == sorted(names)
    assert {*fold_of.values()} == {*range(5)}
    for (_,), group in known.group_by("mechanism"):
        assert len({fold_of[name] for name in group["compound"]}) == len(group)


def test_wells_of_compounds_that_are_left_out_take_no_part_in_pairs():
    wells = pl.DataFrame({"plate": [*"PPPQ"], "compound": ["a", "5'-b", "c", "c"]})
    where = held_out.exclude("plate != 'Q' OR plate IS NULL", "compound", ["a", "5'-b"])
    assert wells.filter(match_rows(wells, where, "wells"))["compound"].to_list() == ["c"]
    assert held_out.exclude("plate = 'Q'", "plate", []) == "plate = 'Q'"


def test_plates_with_one_treatment_are_found_among_the_wells_that_are_left():
    wells = [("P", "a", False), ("P", "b", False), ("Q", "a", False), ("Q", "x", False)]
    wells += [("Q", "a", False), ("Q", "DMSO", True), ("R", "x", False)]
    columns = ("plate", "perturbation", "control")
    table = pl.DataFrame(wells, schema=columns, orient="row")
    assert held_out.plates_of_one(table, "perturbation != 'x'") == ["Q"]
    assert held_out.plates_of_one(table, "plate != 'R'") == []


def test_labels_are_judged_on_compounds_that_were_left_out_and_on_the_others(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "raw").mkdir()
    shutil.copy(out / "raw/mechanisms.csv", tmp_path / "raw")
    wells = read_wells(out / "corrected/name")
    names, hits = [f"fold-{fold}" for fold in range(2)], {}
    rows = [*names, *(f"{row}-{seed}" for row in held_out.ROWS for seed in range(2))]
    columns = [f"f{number}" for number in range(wells.features.shape[1])]
    for seed, name in enumerate([*rows, f"{held_out.ROWS[0]}-fold-0"]):
        noisy = wells.features + 3 * np.random.default_rng(seed).normal(size=wells.features.shape)
        noisy_wells = wells.table.hstack(pl.DataFrame(noisy, schema=columns))
        write_wells(tmp_path / "corrected" / name, noisy_wells, columns)
        compounds, hits[name] = table.find_hits(tmp_path, name, "corrected nsc")
    fold_of = {f"c{code}": code % 2 for code in range(8)}
    held_out.tabulate(tmp_path, names, fold_of, "corrected nsc")
    printed = dict(line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines())
    its = np.array([fold_of[compound] for compound in compounds])
    left_out = np.where(its == 0, hits["fold-0"], hits["fold-1"]).mean()
    others = np.where(its == 0, hits["fold-1"], hits["fold-0"]).mean()
    assert float(printed[held_out.LEFT_OUT].split()[0]) == pytest.approx(left_out, abs=6e-4)
    assert float(printed[held_out.OTHERS].split()[0]) == pytest.approx(others, abs=6e-4)
    for row in held_out.ROWS:
        mean = np.mean([hits[f"{row}-0"], hits[f"{row}-1"]])
        assert float(printed[row].split()[0]) == pytest.approx(mean, abs=6e-4)
        gain = printed[f"{held_out.LEFT_OUT}, minus {row}"]
        assert float(gain.split()[0]) == pytest.approx(left_out - mean, abs=6e-4)


@pytest.mark.parametrize("answer", ["plate", "compound-batch"])
def test_a_probe_is_scored_by_the_first_column_that_was_left_out(out: Path, answer: str):
    """Networks of each fold have answers, and no wells of their own."""
    shutil.copytree(out / "answers/name", out / "answers/by-fold", dirs_exist_ok=True)
    found = pl.read_csv(out / "answers/name" / answer / "predictions.csv")
    score = table.probe_score(out, "by-fold", answer)
    expected = balanced_accuracy_score(found["name"], found["predicted"])
    assert score.of(np.ones(len(score.strata))) == pytest.approx(expected)
    assert score.chance == 1 / 3
    number = found["well"].str.slice(1).cast(int).to_numpy() - 1
    units = number % 5 if answer == "plate" else number // 10
    assert len(score.strata) == len(np.unique(units))
    weights = np.arange(1, 1 + len(score.strata))
    times = weights[np.unique(units, return_inverse=True)[1]]
    repeated = (np.repeat(found[name].to_numpy(), times) for name in ("name", "predicted"))
    assert score.of(weights.astype(float)) == pytest.approx(balanced_accuracy_score(*repeated))


def test_controls_and_dose_series_are_scored_without_the_well_itself(tmp_path: Path):
    rng = np.random.default_rng(2)
    dose = np.repeat(np.arange(11), 4)
    features = rng.normal(size=(44, 3)).astype(np.float32)
    features[:, 0] += 0.2 * dose
    wells = pl.DataFrame(features, schema=["a", "b", "c"]).with_columns(
        plate=pl.lit("P"),
        well=pl.Series([f"A{k + 1:02d}" for k in range(44)]),
        perturbation=pl.Series(dose.astype(str)),
        control=pl.Series(dose == 0),
    )
    write_wells(tmp_path / "corrected/name", wells, ["a", "b", "c"])
    along = np.empty(44)
    for k, vector in enumerate(features.astype(np.float64)):
        kept = np.arange(44) != k
        means = [
            features.astype(np.float64)[kept & (dose == level)].mean(axis=0) for level in (0, 10)
        ]
        along[k] = vector @ (means[1] - means[0])
    controls, series = np.isin(dose, (0, 10)), (dose > 0) & (dose < 10)
    auc, rank = table.control_score(tmp_path, "name", ""), table.dose_score(tmp_path, "name", "")
    expected = roc_auc_score(dose[controls] == 10, along[controls])
    assert auc.of(np.ones(len(auc.strata))) == pytest.approx(expected)
    twice = np.r_[2.0, np.ones(len(rank.strata) - 1)]
    first = np.flatnonzero(series)[0]
    pairs = np.r_[first, np.flatnonzero(series)]
    expected = spearmanr(dose[pairs], along[pairs]).statistic
    assert rank.of(twice) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("bbbc021", "real_cells.sh needs a set, its folder and a folder to write"),
        (
            "bbbc022 {0} {0}/out",
            "there is no set 'bbbc022': sets are bbbc021, mitocheck, rxrx1, bbbc013",
        ),
        ("bbbc021 {0} {0}/out", "labels.csv: there is no such file, so {0} is not the folder of"),
        ("bbbc013 {0}/full {0}/out zzz", "there is no row 'zzz' of bbbc013: rows are spectra,"),
    ],
)
def test_words_that_will_not_do(words: str, sentence: str, tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/1049_Metadata.csv").touch()
    command = ["bash", str(SCRIPT), *words.format(tmp_path).split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert sentence.format(tmp_path) in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def run_script(set_name: str, folder: Path, out: Path, *rows: str) -> dict[str, list[str]]:
    """Run the script; return the first table, as cells by row."""
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["bash", str(SCRIPT), set_name, str(folder), str(out), *rows]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    lines = done.stdout.partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: rest for name, *rest in cells}


@pytest.mark.slow
def test_intensity_of_mitocheck_is_what_others_report(shared: Path, tmp_path: Path):
    folder = shared / "data/images/mitocheck_nuclei_16classes"
    rows = run_script("mitocheck", folder, tmp_path / "out", "intensity", "position")
    assert rows["features"] == ["logistic, plates out"]
    assert float(rows["intensity"][0].split()[0]) == pytest.approx(0.26, abs=0.01)
    assert rows["chance"] == [f"{1 / 16:.3f}"]
    assert (tmp_path / "out/table.md").read_text().count("\n| intensity |") == 2


@pytest.mark.slow
def test_intensity_of_bbbc013_separates_its_controls(shared: Path, tmp_path: Path):
    folder = shared / "data/images/bbbc013_cellprofiler_sbs96"
    rows = run_script("bbbc013", folder, tmp_path / "out", "intensity")
    auc, rank = (float(cell.split()[0]) for cell in rows["intensity"])
    assert (auc, rank) == pytest.approx((1.0, 0.858), abs=0.01)  # docs/log.md, 2026-11-24
