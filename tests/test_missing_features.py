"""Missing features of profiles made elsewhere: as pycytominer leaves them out, and said."""

import json

import numpy as np
import polars as pl
import pytest
from pycytominer.operations import get_na_columns

from phenomae.cli import run
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.maps.map import MapSettings, map_wells
from phenomae.wells import read_wells, write_wells

NAMES = [f"Cells_F{number}" for number in range(12)]


def draw(missing: dict[str, list[int]], count: int = 40, value: float = np.nan) -> pl.DataFrame:
    """Return `count` wells of two plates; `missing` are the wells in which a feature is missing."""
    features = np.random.default_rng(0).normal(size=(count, len(NAMES)))
    for name, rows in missing.items():
        features[rows, NAMES.index(name)] = value
    plates = {
        "plate": ["P1"] * (count // 2) + ["P2"] * (count // 2),
        "well": [f"{'ABCD'[at // 12]}{at % 12 + 1:02d}" for at in range(count // 2)] * 2,
        "compound": [None if at % 4 == 0 else f"c{at % 4}" for at in range(count)],
        "control": ["negcon" if at % 4 == 0 else "trt" for at in range(count)],
    }
    return pl.DataFrame(plates).with_columns(pl.from_numpy(features, schema=NAMES))


@pytest.mark.parametrize("value", [np.nan, np.inf, None])
@pytest.mark.parametrize("max_missing", [0.0, 0.05, 0.1, 0.5])
def test_features_are_left_out_as_by_pycytominer_and_then_wells(tmp_path, value, max_missing):
    # Missing in 1, 2 (5 %: not more than the default), 3, 4 (10 %), 5 and all wells.
    missing = {
        name: list(range(number))
        for name, number in zip(NAMES[:6], (1, 2, 3, 4, 5, 40), strict=True)
    }
    table = draw(missing, value=np.inf if value == np.inf else np.nan)
    if value is None:
        table = table.fill_nan(None)
    write_wells(tmp_path / "wells", table, NAMES, max_missing=max_missing)
    frame = draw(missing).to_pandas()
    left_out = get_na_columns(frame, features=NAMES, samples="all", cutoff=max_missing)
    kept = [name for name in NAMES if name not in left_out]
    rest = frame.dropna(subset=kept)
    wells = read_wells(tmp_path / "wells")
    np.testing.assert_array_equal(wells.features, rest[kept].to_numpy().astype(np.float32))
    assert wells.table["well"].to_list() == rest["well"].to_list()
    settings = json.loads((tmp_path / "wells/artefact.json").read_text())["settings"]
    assert settings["features"] == kept
    assert settings["max_missing"] == max_missing
    assert settings["left_out_features"] == {name: len(missing[name]) for name in left_out}
    gone = frame[frame[kept].isna().any(axis=1)]
    assert settings["left_out_wells"] == [
        f"{plate} {well}" for plate, well in zip(gone.plate, gone.well, strict=True)
    ]


def test_what_is_left_out_is_said(tmp_path, capsys):
    table = draw({"Cells_F7": list(range(10, 33)), "Cells_F2": [3], "Cells_F11": list(range(3))})
    write_wells(tmp_path / "wells", table, NAMES)
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "the table of wells: 2 of 12 features are left out, missing (NaN, empty or infinite) in "
        "more than 5 % of 40 wells (max_missing): Cells_F7 (23 wells), Cells_F11 (3 wells)"
    )
    assert second == (
        "the table of wells: 1 of 40 wells are left out, which lack a feature that others have: "
        "Cells_F2 (1 well); wells P1 A04"
    )
    write_wells(tmp_path / "whole", draw({}), NAMES)
    assert capsys.readouterr().err == ""
    settings = json.loads((tmp_path / "whole/artefact.json").read_text())["settings"]
    assert settings == {"features": NAMES}


def test_wells_without_cells_do_not_count_against_features(tmp_path, capsys):
    empty = [1, 2, 3, 30]  # a tenth of the wells
    missing = dict.fromkeys(NAMES, empty) | {NAMES[0]: [*empty, 5], NAMES[1]: [*empty, 6, 7]}
    write_wells(tmp_path / "wells", draw(missing), NAMES)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == (
        "the table of wells: 4 of 40 wells are left out, in which every feature is missing; wells "
        "P1 A02, P1 A03, P1 A04, P2 A11"
    )
    assert "1 of 12 features are left out" in said[1]
    assert "in more than 5 % of 36 wells (max_missing): Cells_F1 (2 wells)" in said[1]
    assert said[2].endswith(
        "which lack a feature that others have: Cells_F0 (1 well); wells P1 A06"
    )
    wells = read_wells(tmp_path / "wells")
    gone = [1, 2, 3, 5, 30]
    rest = np.delete(
        draw({}).select(pl.exclude("Cells_F1")).select("^Cells.*$").to_numpy(), gone, 0
    )
    np.testing.assert_array_equal(wells.features, rest.astype(np.float32))
    settings = json.loads((tmp_path / "wells/artefact.json").read_text())["settings"]
    assert settings["left_out_wells"] == ["P1 A02", "P1 A03", "P1 A04", "P1 A06", "P2 A11"]


def test_all_commands_take_what_is_left(tmp_path):
    table = draw({"Cells_F0": list(range(0, 40, 2)), "Cells_F1": [5]}, count=48)
    write_wells(tmp_path / "wells", table, NAMES)
    for method in ("center-scale", "tvn"):
        settings = CorrectSettings(method=method, batch="plate")
        out = correct(tmp_path / "wells", tmp_path / method, settings=settings)
        assert len(read_wells(out).table) == 47
    map_wells(tmp_path / "wells", tmp_path / "m.h5ad", settings=MapSettings(by="compound"))
    words = ["ask", "replicates", str(tmp_path / "wells"), str(tmp_path / "r"), "--by", "compound"]
    assert run(words) == 0


def test_nothing_is_left(tmp_path):
    every = {name: list(range(40)) for name in NAMES}
    with pytest.raises(ValueError, match=r"every well would be left out, because of missing feat"):
        write_wells(tmp_path / "wells", draw(every), NAMES)
    most = {name: list(range(number % 2, 40, 2)) for number, name in enumerate(NAMES)}
    with pytest.raises(ValueError, match=r"every feature would be left out, .* \(20 wells\)"):
        write_wells(tmp_path / "wells", draw(most), NAMES)
    one = {name: [2 * at, 2 * at + 1] for at, name in enumerate(NAMES[:10])}
    one |= {NAMES[10]: list(range(20, 40))}
    with pytest.raises(ValueError, match=r"every well would be left out, because of missing feat"):
        write_wells(tmp_path / "wells", draw(one), NAMES, max_missing=0.5)
    with pytest.raises(ValueError, match="max_missing must be from 0 to 1, not 5"):
        write_wells(tmp_path / "wells", draw({}), NAMES, max_missing=5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["negcon", "trt", None, "poscon_cp"], [True, False, False, False]),
        (["", "poscon_diverse", "NEGCON", "poscon"], [False, False, True, False]),
        (["true", "False", "0", "1.0"], [True, False, False, True]),
        (["yes", "no", "no", "yes"], [True, False, False, True]),
    ],
)
def test_words_for_controls(tmp_path, words, expected):
    table = draw({})[:4].with_columns(control=pl.Series(words))
    write_wells(tmp_path / "wells", table, NAMES)
    assert read_wells(tmp_path / "wells").table["control"].to_list() == expected
