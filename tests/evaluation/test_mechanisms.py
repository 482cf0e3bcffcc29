"""Mechanisms of nearest neighbours: who counts as a neighbour, what is right, what chance is."""

from itertools import permutations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.evaluation.questions.compound_profiles import make_profiles, read_mechanisms
from phenomae.evaluation.questions.mechanisms import (
    MechanismSettings,
    match_mechanisms,
    shuffled_shares,
)
from phenomae.evaluation.questions.neighbours import (
    compare_with_chance,
    count_matches,
    matched_share,
    nearest_others,
)
from phenomae.records import WELL_COLUMNS
from phenomae.wells import Profiles

HERE = Path("WELLS")


def make_wells(features: np.ndarray, **columns: list) -> Profiles:
    """Wells of one plate; those of the compound DMSO are controls."""
    count = len(features)
    given = {"plate": ["P1"] * count, "well": [f"A{row + 1:02d}" for row in range(count)]}
    given["control"] = [name == "DMSO" for name in columns["compound"]]
    absent = {name: [None] * count for name in WELL_COLUMNS}
    table = pl.DataFrame(absent | given | columns, schema=WELL_COLUMNS)
    return Profiles(table, features.astype(np.float32), "")


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Profiles, Path]:
    """Three mechanisms of three compounds, two doses and two batches each, two wells a profile."""
    rng = np.random.default_rng(0)
    compounds = [f"c{number}" for number in range(9)]
    grid = [
        (compound, dose, batch)
        for compound in compounds
        for dose in (1.0, 10.0)
        for batch in ("B1", "B2")
    ] * 2
    directions = np.repeat(3 * rng.normal(size=(3, 12)), 12, axis=0)
    features = np.concatenate([directions] * 2) + rng.normal(size=(72, 12))
    features = np.concatenate([features, rng.normal(size=(4, 12))])
    grid += [("DMSO", None, "B1")] * 2 + [("unknown", 1.0, "B1"), (None, None, "B2")]
    names, doses, batches = zip(*grid, strict=True)
    wells = make_wells(
        features, compound=list(names), concentration_um=list(doses), batch=list(batches)
    )
    path = tmp_path / "mechanisms.csv"
    rows = [f"{name},m{number // 3}" for number, name in enumerate(compounds)]
    path.write_text("\n".join(["compound,mechanism", *rows, "elsewhere,m9", ",m1"]) + "\n")
    return wells, path


def test_planted_mechanisms_are_told_and_shuffled_ones_are_not(planted, capsys):
    wells, path = planted
    table, confusion = match_mechanisms(wells, HERE, MechanismSettings(path, shuffle=200))
    assert "without a mechanism in" in capsys.readouterr().err
    columns = "tier match accuracy profiles left_out compounds mechanisms chance sd p"
    assert table.columns == columns.split()
    assert table.select("match", "accuracy", "profiles", "left_out", "mechanisms").rows() == [
        ("nsc", 1, 36, 0, 3),
        ("nscb", 1, 36, 0, 3),
    ]
    assert table["compounds"].to_list() == [9, 9]
    # Shuffled, two of the eight other compounds have a compound's mechanism.
    np.testing.assert_allclose(table["chance"], [0.25, 0.25], atol=0.05)
    assert (table["p"] < 0.02).all()
    rows = [("any", match, f"m{k}", f"m{k}", 12) for match in ("nsc", "nscb") for k in range(3)]
    assert confusion.rows() == rows


def test_neighbours_and_shares_against_brute_force(planted, tmp_path):
    rng = np.random.default_rng(1)
    wells, path = planted
    wells = Profiles(wells.table, rng.normal(size=(76, 5)).astype(np.float32), "")
    table, confusion = match_mechanisms(wells, HERE, MechanismSettings(path, shuffle=2))
    known = dict(read_mechanisms(path).rows())
    keyed: dict[tuple, list[int]] = {}
    for row, (name, dose, batch) in enumerate(
        wells.table.select("compound", "concentration_um", "batch").iter_rows()
    ):
        if name in known:
            keyed.setdefault((name, dose, batch), []).append(row)
    keys = list(keyed)
    means = np.stack([wells.features[rows].astype(float).mean(axis=0) for rows in keyed.values()])
    cosines = cosine_similarity(means)
    for number, same in enumerate([(0,), (0, 2)]):
        counts: dict[tuple[str, str], int] = {}
        for one, key in enumerate(keys):
            others = [
                other for other in range(36) if all(keys[other][at] != key[at] for at in same)
            ]
            nearest = max(others, key=lambda other: cosines[one, other])
            pair = known[key[0]], known[keys[nearest][0]]
            counts[pair] = counts.get(pair, 0) + 1
        right = sum(count for (one, other), count in counts.items() if one == other)
        assert table["accuracy"][number] == pytest.approx(right / 36)
        found = confusion.filter(pl.col("match") == ("nsc", "nscb")[number])
        assert {row[2:4]: row[4] for row in found.rows()} == counts


def test_turning_and_scaling_every_profile_changes_nothing(planted):
    wells, path = planted
    turn = 4 * np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))[0]
    moved = Profiles(wells.table, (wells.features @ turn).astype(np.float32), "")
    chosen = MechanismSettings(path, shuffle=5)
    for one, other in zip(
        match_mechanisms(wells, HERE, chosen), match_mechanisms(moved, HERE, chosen), strict=True
    ):
        assert one.equals(other)


def test_profiles_that_cannot_be_right_are_left_out(planted):
    wells, path = planted
    path.write_text("compound,mechanism\nc0,m0\nc1,m0\nc3,m1\nc4,m1\nc6,alone\n")
    # c1 has wells in B1 alone, so that c0 of B1 has no match in another batch.
    table = wells.table.with_columns(
        compound=pl.when((pl.col("compound") == "c1") & (pl.col("batch") == "B2"))
        .then(pl.lit("else"))
        .otherwise("compound")
    )
    found, confusion = match_mechanisms(
        Profiles(table, wells.features, ""), HERE, MechanismSettings(path, shuffle=2)
    )
    # 4 + 2 + 4 + 4 + 4 profiles; those of c6 never count, and of c0 only those of B2 with nscb.
    assert found.select("profiles", "left_out").rows() == [(14, 4), (12, 6)]
    assert "alone" not in confusion["mechanism"].to_list()


def test_nearest_others_in_blocks_and_where_there_is_none(monkeypatch):
    unit = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    compounds, batches = np.array([0, 1, 1, 2]), np.array([0, 0, 0, 1])
    for cells in (1, 1 << 22):
        monkeypatch.setattr("phenomae.evaluation.questions.neighbours._CELLS", cells)
        assert nearest_others(unit, compounds).tolist() == [1, 0, 3, 2]
        assert nearest_others(unit, compounds, batches).tolist() == [3, 3, 3, 2]
        assert nearest_others(unit, np.zeros(4, int)).tolist() == [-1] * 4
    assert np.isnan(matched_share(compounds, batches, np.zeros(4, bool)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_right_candidates_are_counted(seed, count):
    rng = np.random.default_rng(seed)
    compounds, batches = rng.integers(6, size=count), rng.integers(3, size=count)
    labels = rng.integers(3, size=6)[compounds]
    right = (labels[:, None] == labels) & (compounds[:, None] != compounds)
    assert count_matches(labels, compounds).tolist() == right.sum(axis=1).tolist()
    right &= batches[:, None] != batches
    assert count_matches(labels, compounds, batches).tolist() == right.sum(axis=1).tolist()
    places = rng.integers(4, size=count)
    right &= places[:, None] != places
    assert count_matches(labels, compounds, batches, places).tolist() == right.sum(axis=1).tolist()


def test_shuffled_shares_average_to_all_orders_of_the_mechanisms(planted):
    wells, path = planted
    path.write_text("compound,mechanism\nc0,a\nc1,a\nc3,b\nc4,b\nc6,b\n")
    chosen = MechanismSettings(path, shuffle=2000)
    profiles = make_profiles(wells, HERE, path, "batch")["any"]
    nearest = nearest_others(profiles.unit, profiles.compounds)
    shares = []
    for labels in permutations(profiles.mechanisms.tolist()):
        of_rows = np.array(labels)[profiles.compounds]
        shares.append((of_rows[nearest] == of_rows).mean())
    excluded = [profiles.compounds]
    found = shuffled_shares(profiles, nearest, excluded, chosen)
    error = np.std(shares) / np.sqrt(2000)
    assert found.mean() == pytest.approx(np.mean(shares), abs=4 * error)
    first = MechanismSettings(path, shuffle=3)
    np.testing.assert_array_equal(
        shuffled_shares(profiles, nearest, [profiles.compounds], first), found[:3]
    )


def test_p_values_by_hand():
    null = np.array([0.1, 0.2, 0.3, 0.4])
    mean, spread, p = compare_with_chance(0.3, null)
    assert (mean, p) == (pytest.approx(0.25), pytest.approx(3 / 5))
    assert spread == pytest.approx(np.sqrt(0.05 / 3))
    assert compare_with_chance(0.3, np.empty(0)) == (None, None, 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("compound,moa\nc0,m0\n", "mechanisms.csv lacks the columns mechanism: a table of mechani"),
        ("a,b\n1,2\n", "mechanisms.csv lacks the columns compound, mechanism"),
        (
            "compound,mechanism\nc0,m,n\n",
            r"mechanisms.csv is not a readable table: found more fields than",
        ),
        (
            "compound,mechanism\nc0,m0\nc0,m1\nc1,m0|m1\n",
            "2 of its 2 mechanisms are in the wells of WELLS, but two that differ are needed",
        ),
        ("compound,mechanism\nc0,m0\nc1,m0\n", "1 of its 1 mechanisms are in the wells of WELLS"),
        (
            "compound,mechanism\nx,m0\ny,m1\n",
            "0 of its 2 mechanisms are .* compounds there are like c0",
        ),
        ("compound,mechanism\nc0,m0\nc1,m1\n", "no mechanism has two compounds in WELLS, so no"),
    ],
)
def test_mechanisms_that_will_not_do(planted, text, sentence):
    wells, path = planted
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        match_mechanisms(wells, HERE, MechanismSettings(path))


def test_nsc_is_reported_if_nscb_cannot_be_computed(planted, capsys):
    wells, path = planted
    one = Profiles(wells.table.with_columns(batch=pl.lit("B1")), wells.features, "")
    found = match_mechanisms(one, HERE, MechanismSettings(path))
    assert "no nscb: WELLS has wells of a single batch, but nscb needs" in capsys.readouterr().err
    expected = match_mechanisms(one, HERE, MechanismSettings(path, match=("nsc",)))
    assert found[0]["match"].to_list() == ["nsc"]
    assert all(one.equals(other) for one, other in zip(found, expected, strict=True))


def test_wells_that_will_not_do(planted):
    wells, path = planted
    one = Profiles(wells.table.with_columns(batch=pl.lit("B1")), wells.features, "")
    with pytest.raises(ValueError, match="WELLS has wells of a single batch, but nscb needs"):
        match_mechanisms(one, HERE, MechanismSettings(path, match=("nscb",)))
    genes = Profiles(wells.table.with_columns(compound=pl.lit(None, pl.String)), wells.features, "")
    with pytest.raises(ValueError, match="WELLS has no treated well with a compound: fill the col"):
        match_mechanisms(genes, HERE, MechanismSettings(path))
    with pytest.raises(ValueError, match=r"batch day: WELLS has no such column; it has .'plate'"):
        match_mechanisms(wells, HERE, MechanismSettings(path, batch="day"))
    apart = pl.when(pl.col("compound").is_in(["c0", "c3", "c6"])).then(pl.lit("B1"))
    same = wells.table.with_columns(batch=apart.otherwise(pl.lit("B2"))).filter(
        pl.col("compound").is_in(["c0", "c3", "c6", "c4"])
    )
    path.write_text("compound,mechanism\nc0,m0\nc3,m0\nc6,m0\nc4,m1\n")
    apart_by_batch = Profiles(same, wells.features[: len(same)], "")
    with pytest.raises(
        ValueError, match="no mechanism has two compounds in WELLS in more than one"
    ):
        match_mechanisms(apart_by_batch, HERE, MechanismSettings(path, match=("nscb",)))
    with pytest.raises(
        ValueError, match=r"WELLS: the mean of the wells of c0, 1.0 uM, batch B1 is zero"
    ):
        match_mechanisms(
            Profiles(wells.table, wells.features * 0, ""), HERE, MechanismSettings(path)
        )
    broken = Profiles(wells.table, wells.features * np.float32(np.nan), "")
    with pytest.raises(ValueError, match="WELLS has features that are NaN, empty or infinite"):
        match_mechanisms(broken, HERE, MechanismSettings(path))


def test_settings_and_files_that_will_not_do(tmp_path):
    with pytest.raises(ValueError, match="there is no such file of mechanisms"):
        read_mechanisms(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match="shuffle must be at least 2, not 0"):
        MechanismSettings(tmp_path, shuffle=0)
    with pytest.raises(ValueError, match="match must be nsc, nscb or both, not empty"):
        MechanismSettings(tmp_path, match=())
