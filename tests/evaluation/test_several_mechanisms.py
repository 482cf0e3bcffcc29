"""Compounds with several mechanisms match where they share one, in both forms of the list."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from phenomae.evaluation.questions.compound_profiles import (
    join_mechanisms,
    list_members,
    read_mechanisms,
    share_one,
)
from phenomae.evaluation.questions.copairs_map import mean_precisions
from phenomae.evaluation.questions.exchange_test import p_of_groups
from phenomae.evaluation.questions.known_pairs import read_sources
from phenomae.evaluation.questions.linear_probe import LinearProbeSettings, choose_wells
from phenomae.evaluation.questions.mechanisms import MechanismSettings, match_mechanisms
from phenomae.evaluation.questions.neighbours import count_matches, count_right, matched_share
from phenomae.evaluation.questions.pairing import Pairing
from phenomae.evaluation.questions.perturbation_agreement import measure_agreement
from phenomae.evaluation.questions.precision_settings import PrecisionSettings
from phenomae.records import WELL_COLUMNS
from phenomae.wells import Profiles

OF = {"c1": "H", "c2": "H|X", "c3": "X|H", "c4": "T", "c5": "T|A", "c6": "T"}
LONG = [(compound, name) for compound, names in OF.items() for name in names.split("|")]
FORMS = {
    "cells": [f"{compound},{names}" for compound, names in OF.items()],
    "rows": [f"{compound},{name}" for compound, name in LONG],
    "blanks and repeats": ["c1, H ,x", 'c2,"H | X| H"', "c3,X|", "c3,H", "c4,T", "c5,A|T", "c6,T"],
}


def write_list(path: Path, form: str) -> Path:
    extra = ",note" if form.startswith("blanks") else ""
    lines = [line if line.count(",") > 1 or not extra else f"{line}," for line in FORMS[form]]
    path.write_text("\n".join([f"compound,mechanism{extra}", *lines]) + "\n")
    return path


@pytest.fixture
def wells() -> Profiles:
    """Two batches of six compounds, H and T far apart, one well a compound and batch."""
    rng = np.random.default_rng(0)
    at = {"H": rng.normal(size=8) * 4, "T": rng.normal(size=8) * 4}
    names = [(batch, compound) for batch in ("b1", "b2") for compound in OF]
    table = pl.DataFrame(
        {
            "plate": [batch for batch, _ in names],
            "batch": [batch for batch, _ in names],
            "well": [f"A{int(compound[1]):02d}" for _, compound in names],
            "compound": [compound for _, compound in names],
            "perturbation": [compound for _, compound in names],
            "control": [False] * len(names),
        }
    )
    absent = [pl.lit(None, kind).alias(n) for n, kind in WELL_COLUMNS.items() if n not in table]
    features = np.stack([at["H" if "H" in OF[compound] else "T"] for _, compound in names])
    noise = rng.normal(size=features.shape)
    complete = table.with_columns(absent).select(list(WELL_COLUMNS))
    return Profiles(complete, (features + noise).astype(np.float32), "")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_lists_the_same(tmp_path, form):
    known = read_mechanisms(write_list(tmp_path / "list.csv", form))
    assert known.rows() == sorted(LONG)
    joined = dict(join_mechanisms(known).rows())
    assert joined == {key: "|".join(sorted(names.split("|"))) for key, names in OF.items()}


@pytest.mark.parametrize("form", FORMS)
def test_a_neighbour_that_shares_one_mechanism_is_right(wells, tmp_path, form):
    path = write_list(tmp_path / "list.csv", form)
    settings = MechanismSettings(mechanisms=path, shuffle=20)
    table, confusion = match_mechanisms(wells, tmp_path, settings)
    assert table["accuracy"].to_list() == [1.0, 1.0]
    assert table.select("profiles", "left_out", "compounds", "mechanisms").rows() == [
        (12, 0, 6, 4),
        (12, 0, 6, 4),
    ]
    assert set(confusion["mechanism"]) == {"H", "H|X", "T", "A|T"}


@pytest.mark.parametrize("form", FORMS)
def test_pairs_of_a_mechanism_are_those_of_both_forms(tmp_path, form):
    path = write_list(tmp_path / "list.csv", form)
    (source,) = read_sources(None, None, path, list(OF), tmp_path)
    expected = [
        (i, j)
        for i, one in enumerate(OF.values())
        for j, other in enumerate(OF.values())
        if i < j and set(one.split("|")) & set(other.split("|"))
    ]
    assert source.pairs.tolist() == [list(pair) for pair in expected]


def test_the_probe_leaves_out_compounds_of_several_and_says_so(wells, tmp_path, capsys):
    path = write_list(tmp_path / "list.csv", "rows")
    settings = LinearProbeSettings(by="mechanism", mechanisms=path, leave_out=("batch",))
    names, labels, _ = choose_wells(wells.table, tmp_path, settings)
    assert names.tolist() == ["H", "T"]
    kept = set(wells.table["compound"].filter(pl.Series(labels >= 0)))
    assert kept == {"c1", "c4", "c6"}
    said = capsys.readouterr().err
    assert f"compounds left out, with several mechanisms in {path}: 3" in said


def drawn_labels(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random names of one to three of six mechanisms; return a code per row, and `agree`."""
    kinds = [rng.choice(list("ABCDEF"), rng.integers(1, 4), replace=False) for _ in range(9)]
    joined = sorted({"|".join(sorted(kind)) for kind in kinds})
    agree = share_one(list_members(joined)[1])
    assert agree is not None
    sets = [set(name.split("|")) for name in joined]
    assert agree.tolist() == [[bool(one & other) for other in sets] for one in sets]
    return rng.integers(0, len(joined), count), agree


@pytest.mark.parametrize("seed", range(4))
def test_counts_of_candidates_are_those_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    labels, agree = drawn_labels(rng, 60)
    codes = [rng.integers(0, kinds, 60) for kinds in (25, 3, 4)]
    for excluded in ([], codes[:1], codes[:2], codes):
        may = np.ones((60, 60), dtype=bool)
        for code in excluded:
            may &= code[:, None] != code
        expected = (may & agree[np.ix_(labels, labels)]).sum(axis=1)
        found = count_matches(labels, *excluded, agree=agree)
        if excluded:
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_array_equal(found, expected)
    nearest, used = rng.permutation(60), rng.random(60) < 0.7
    right = agree[labels, labels[nearest]]
    assert matched_share(labels, nearest, used, agree) == right[used].mean()
    every, matched = count_right(labels, nearest, used, codes[1], agree)
    for unit in range(3):
        rows = used & (codes[1] == unit)
        assert (every[unit], matched[unit]) == (rows.sum(), right[rows].sum())


def test_precisions_are_those_of_copairs_with_several_labels():
    from copairs.map import multilabel

    rng = np.random.default_rng(1)
    members = rng.random((40, 5)) < 0.3
    members[~members.any(axis=1), 0] = True
    sources = np.repeat(np.arange(20), 2)
    features = rng.normal(size=(40, 6)) + members @ rng.normal(size=(5, 6))
    pairing = Pairing(members.argmax(axis=1), sources, against="groups", members=members)
    ours = mean_precisions(features, pairing, 100, 0)
    meta = pd.DataFrame(
        {"label": [np.flatnonzero(row).tolist() for row in members], "source": sources}
    )
    theirs = multilabel.average_precision(
        meta, features, ["label"], ["source"], [], ["label"], "label", progress_bar=False
    )
    kept = theirs[theirs["n_pos_pairs"] > 0].groupby("label")["average_precision"]
    expected = kept.mean()
    assert ours["code"].to_list() == expected.index.to_list()
    np.testing.assert_allclose(ours["average_precision"], expected.to_numpy(), rtol=1e-6)
    assert ours["rows"].to_list() == kept.size().to_list()


def test_p_values_of_profiles_of_several_groups_are_even_without_an_effect():
    """With 200 random data sets, p is at most .2 in about a fifth of the groups."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        members = np.zeros((24, 3), dtype=bool)
        members[np.arange(24), np.arange(24) % 3] = True
        members[rng.permutation(24)[:8], rng.integers(0, 3, 8)] = True
        pairing = Pairing(members.argmax(axis=1), against="groups", members=members)
        found.append(p_of_groups(rng.normal(size=(24, 4)), pairing, np.array([0]), 99, seed)[0])
    assert 0.13 < np.mean(np.array(found) <= 0.2) < 0.27


def test_one_mechanism_each_gives_what_it_gave(wells, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("compound,mechanism\nc1,H\nc2,H\nc3,H\nc4,T\nc5,T\nc6,T\n")
    settings = PrecisionSettings(by="compound", agree="mechanism", mechanisms=path, draws=200)
    plain = measure_agreement(wells, tmp_path, settings)
    # A mechanism that one compound has beside another one changes nothing for the first two.
    path.write_text("compound,mechanism\nc1,H|own\nc2,H\nc3,H\nc4,T\nc5,T\nc6,T\n")
    several = measure_agreement(wells, tmp_path, settings)
    columns = ["mechanism", "rows", "average_precision", "chance"]
    assert several.select(columns).equals(plain.select(columns))
