"""Lists of names on the page: read as people paste them, and compared as scikit-learn would."""

import csv
from itertools import combinations, groupby
from urllib.parse import parse_qs, urlsplit

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.explorer import list_answer
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.list_answer import answer_list
from phenomae.explorer.name_text import NamesOfText
from phenomae.explorer.search import SearchIndex
from phenomae.maps.read import read_map

NAMES = ["TP53", "MDM2", "5-FU, salt", "two words", "it's <b>", "a;b\tc"]


@pytest.fixture(scope="module")
def index() -> SearchIndex:
    wells = {"name": ["MDM2"], "plate": ["P1"], "well": ["A01"], "guide": ["sg1"]}
    return SearchIndex.build(NAMES, pl.DataFrame(wells))


@pytest.mark.parametrize(
    ("text", "rows", "unknown"),
    [
        ("TP53 MDM2", [0, 1], []),
        ("mdm2,tp53,, TP53;MDM2", [1, 0], []),
        ("5-FU, salt\ntwo words\n\n  it's <b>  \r\na;b\tc", [2, 3, 4, 5], []),
        ("5-FU, salt", [2], []),
        ("TP53, two words, FOO", [0, 3], ["FOO"]),
        ("TP53 salt\nBAR", [0], ["salt", "BAR"]),
        ("sg1 P1/A01", [1], []),
        (" \n ,; \t", [], []),
    ],
)
def test_a_list_is_read_as_it_is_pasted(index, text, rows, unknown):
    found = NamesOfText.read(text, index)
    assert found.rows.tolist() == rows
    assert found.unknown == unknown


def test_names_that_are_not_on_the_map_have_near_spellings(index):
    sentence = NamesOfText.read("TP53 TP54 qqqq", index).describe_unknown(index)
    assert sentence == "Not on the map: TP54 (did you mean TP53?), qqqq."
    many = " ".join(f"q{number}" for number in range(25))
    assert "q9 and 15 more." in NamesOfText.read(many, index).describe_unknown(index)
    assert NamesOfText.read("TP53", index).describe_unknown(index) == ""


def test_a_list_is_described_by_its_cosines(inputs, explored):
    profiles = read_map(explored.map)
    between = cosine_similarity(profiles.features)
    rows = np.array([7, 0, 3, 9])
    answer = answer_list(inputs, rows)
    order = [profiles.names.index(name) for name in answer.names]
    assert sorted(order) == sorted(rows)
    np.testing.assert_allclose(answer.cosines, between[np.ix_(order, order)], atol=1e-6)
    wanted = sorted((between[pair] for pair in combinations(rows, 2)), reverse=True)
    np.testing.assert_allclose(answer.pairs["cosine"], wanted, atol=1e-6)
    for name, other, cosine, _ in answer.pairs.iter_rows():
        pair = profiles.names.index(name), profiles.names.index(other)
        assert cosine == pytest.approx(between[pair], abs=1e-6)
    [(count, mean, random, high, p)] = answer.summary.iter_rows()
    assert (count, mean) == (4, pytest.approx(np.mean(wanted), abs=1e-6))
    assert random == pytest.approx(answer.cohesion.random.mean())
    assert (answer.cohesion.random < high).mean() == pytest.approx(0.95, abs=0.001)
    assert p == answer.cohesion.p


def test_pairs_of_a_list_name_the_sources_that_have_them(inputs, explored):
    listed: dict[frozenset[str], list[str]] = {}
    for path in sorted(explored.annotations.iterdir()):
        with open(path, newline="") as file:
            for line in csv.DictReader(file):
                pair = frozenset([line["entity1"], line["entity2"]])
                listed.setdefault(pair, []).append(path.stem)
    answer = answer_list(inputs, np.arange(12))
    found = {
        frozenset([name, other]): known.split(" | ")
        for name, other, _, known in answer.pairs.iter_rows()
        if known is not None
    }
    assert found == listed
    assert any(len(sources) == 2 for sources in found.values())


def test_names_that_are_alike_are_beside_each_other(tmp_path):
    """Three groups of four, of which the list has every other name first."""
    rng = np.random.default_rng(0)
    groups = np.repeat(rng.normal(size=(3, 8)), 4, axis=0) + 0.1 * rng.normal(size=(12, 8))
    path = tmp_path / "map.h5ad"
    genes = [f"{'ABC'[row // 4]}{row}" for row in range(12)]
    anndata.AnnData(groups, obs=pd.DataFrame(index=genes)).write_h5ad(path)
    rows = np.array([*range(0, 12, 2), *range(1, 12, 2)])
    answer = answer_list(Inputs.open(path), rows)
    letters = [name[0] for name in answer.names]
    assert sorted(answer.names) == sorted(genes)
    assert [len(list(group)) for _, group in groupby(letters)] == [4, 4, 4]


def test_a_long_list_keeps_its_order(inputs, monkeypatch):
    monkeypatch.setattr(list_answer, "MAX_MATRIX", 3)
    rows = [5, 1, 8, 2]
    assert answer_list(inputs, np.array(rows)).names == [inputs.names[row] for row in rows]


@pytest.mark.slow
def test_sets_in_a_browser(app, inputs, explored, visit, find_faults):
    page = visit(f"{app(inputs)}?view=sets")
    box = page.get_by_label("Names, separated")
    text = f"{explored.hostile['G001']}\ng005, G009 G01x"
    box.fill(text)
    page.get_by_role("button", name="Compare").click()
    sentence = page.get_by_text("3 names on the map. Not on the map: G01x (did you mean")
    sentence.wait_for()
    rows = page.get_by_role("region", name="Pairs of the list: 3").locator("tbody tr")
    shown = [float(row.locator("td").nth(1).inner_text()) for row in rows.all()]
    profiles = read_map(explored.map)
    chosen = [profiles.names.index(name) for name in (explored.hostile["G001"], "G005", "G009")]
    between = cosine_similarity(profiles.features)
    wanted = sorted((between[pair] for pair in combinations(chosen, 2)), reverse=True)
    assert shown == pytest.approx(wanted, rel=1e-2)
    mean = page.get_by_role("region", name="How alike").locator("tbody td").first
    assert float(mean.inner_text()) == pytest.approx(np.mean(wanted), rel=1e-2)
    wanted_query = {"view": ["sets"], "names": [text]}
    page.wait_for_url(lambda address: parse_qs(urlsplit(address).query) == wanted_query)
    assert find_faults(page) == []
    again = visit(page.url, width=400, dark=True)
    again.get_by_text("3 names on the map.").wait_for()
    assert again.get_by_label("Names, separated").input_value() == text
    assert again.locator("canvas").count() == page.locator("canvas").count()
    assert find_faults(again) == []
