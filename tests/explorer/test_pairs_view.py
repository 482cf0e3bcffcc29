"""Pairs of the page: those of the annotations, with cosines of scikit-learn, and in a browser."""

import csv
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from threading import Barrier
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.evaluation.annotations import ALL_SOURCES
from phenomae.evaluation.known_pairs import MapPairs
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.pair_tables import known_of, new_of
from phenomae.explorer.state import State
from phenomae.explorer.table import Table
from phenomae.explorer.view import Session
from phenomae.explorer.views import pairs as pairs_view
from phenomae.maps.read import read_map

COSINES = {"A": 0.9, "B": 0.5, "C": 0.5, "D": -0.2, "E": -0.9}


@pytest.fixture
def pairs() -> MapPairs:
    """Pairs of X with A to E, of two sources, and new ones."""
    sides = {"A": "similar", "E": "opposite"}
    rows = [
        {
            "source": source,
            "entity1": name,
            "entity2": "X",
            "cosine": COSINES[name],
            "percentile": (1 + COSINES[name]) / 2,
            "found": name in sides,
            "side": sides.get(name),
        }
        for source, names in (("one", "EDCBA"), ("two", "AC"))
        for name in names
    ]
    new = {"entity1": ["F", "A"], "entity2": ["X", "F"], "cosine": [0.7, 0.5]}
    return MapPairs(pl.DataFrame(rows), pl.DataFrame(new), (0.05, 0.95))


def test_known_pairs_are_those_of_the_source_with_the_highest_first(pairs):
    table = known_of(pairs, "one")
    assert table["entity1"].to_list() == ["A", "C", "B", "D", "E"]  # C is before B in the source
    assert table["cosine"].to_list() == [0.9, 0.5, 0.5, -0.2, -0.9]
    missed = ["missed"] * 3
    assert table["result"].to_list() == ["similar", *missed, "opposite"]
    assert known_of(pairs, "two")["entity1"].to_list() == ["A", "C"]
    assert known_of(pairs, "three").is_empty()


def test_pairs_of_all_sources_stand_once_with_their_sources(pairs):
    table = known_of(pairs, ALL_SOURCES)
    assert table["entity1"].to_list() == ["A", "C", "B", "D", "E"]
    both = "one | two"
    assert table["sources"].to_list() == [both, both, "one", "one", "one"]
    assert table["result"].to_list() == ["similar", *["missed"] * 3, "opposite"]
    assert known_of(pairs, ALL_SOURCES, found="found", row="X")["sources"].to_list() == [
        both,
        "one",
    ]
    # Each pair counts once: of 0.9, 0.5, 0.5, -0.2 and -0.9, four are below 0.7.
    assert new_of(pairs, ALL_SOURCES)["above"].to_list() == [4 / 5, 2 / 5]
    assert pairs.count_all().rows() == [(ALL_SOURCES, 5, 1, 1, 3, 2 / 5)]
    assert "sources" not in known_of(pairs, "one").columns


def test_known_pairs_are_found_missed_or_those_of_a_row(pairs):
    assert known_of(pairs, "one", found="found")["entity1"].to_list() == ["A", "E"]
    assert known_of(pairs, "one", found="missed")["entity1"].to_list() == ["C", "B", "D"]
    of_row = known_of(pairs, "one", row="X")
    assert of_row["entity1"].to_list() == ["X"] * 5
    assert of_row["entity2"].to_list() == ["A", "C", "B", "D", "E"]
    only = known_of(pairs, "one", row="B").select("entity1", "entity2")
    assert only.rows() == [("B", "X")]


def test_new_pairs_stand_beside_the_known_ones(pairs):
    # Of 0.9, 0.5, 0.5, -0.2 and -0.9, four are below 0.7, and two below 0.5.
    assert new_of(pairs, "one")["above"].to_list() == [4 / 5, 2 / 5]
    assert new_of(pairs, "two")["above"].to_list() == [1 / 2, 0]
    assert new_of(pairs, "three")["above"].to_list() == [None, None]
    of_row = new_of(pairs, "one", row="F")
    assert of_row.rows() == [("F", "X", 0.7, 4 / 5), ("F", "A", 0.5, 2 / 5)]


def test_pairs_are_computed_once_for_all_pages(explored):
    inputs = Inputs.open(explored.map, annotations=explored.annotations)
    together = Barrier(8)

    def ask(_: int) -> MapPairs:
        together.wait(60)
        return inputs.pairs

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert all(one is found[0] for one in found)


def test_many_pairs_are_sent_in_part(inputs, monkeypatch):
    monkeypatch.setattr(pairs_view, "LIMIT", 5)
    state = State()
    with ThreadPoolExecutor(1) as pool:
        view = pairs_view.VIEW.build(Session(inputs, state, pool))
    [known] = [table for table in view.select(Table) if table.label.startswith("Known pairs (")]
    assert known.label == "Known pairs (all sources): 12, the first 5 by cosine"
    assert len(known.data["rows"]) == 5
    first = known.data["rows"]
    state.param.update(found="missed", row="G005")
    assert known.label == "Known pairs missed (all sources, G005): 2"
    state.param.update(found="no such word", scope="map", source="no such source")
    assert known.data["rows"] == first


def expected_rows(explored, source: str) -> list[list[str]]:
    """Return the known pairs of a source, the highest cosine first, as the page writes them."""
    profiles = read_map(explored.map)
    cosines = cosine_similarity(profiles.features)
    row_of = {name: row for row, name in enumerate(profiles.names)}
    with open(explored.annotations / f"{source}.csv", newline="") as file:
        listed = {
            tuple(sorted((row_of[line["entity1"]], row_of[line["entity2"]])))
            for line in csv.DictReader(file)
        }
    every = [cosines[pair] for pair in combinations(range(len(profiles.names)), 2)]
    found = sorted(listed, key=lambda pair: -cosines[pair])
    written = []
    for pair in found:
        below = sum(value < cosines[pair] - 1e-9 for value in every)
        names = [profiles.names[row] for row in pair]
        # Three significant digits, as JavaScript writes them: 0.5, not 0.500.
        numbers = [f"{float(f'{value:.3g}'):g}" for value in (cosines[pair], below / len(every))]
        written.append([*names, *numbers])
    return written


def read_rows(page, label: str) -> list[list[str]]:
    region = page.get_by_role("region", name=label)
    region.wait_for()
    return [row.locator("th, td").all_inner_texts() for row in region.locator("tbody tr").all()]


@pytest.mark.slow
def test_pairs_in_a_browser(app, inputs, explored, visit, find_faults):
    address = app(inputs)
    page = visit(f"{address}?view=pairs")
    rows = read_rows(page, "Known pairs (all sources): 12")
    assert [row[:4] for row in rows] == expected_rows(explored, "complexes")
    few = {tuple(row[:2]) for row in expected_rows(explored, "signal_ing <&> more")}
    for row in rows:
        more = " | signal_ing <&> more" if tuple(row[:2]) in few else ""
        assert row[5] == f"complexes{more}"
    counts = read_rows(page, "Known pairs per source")
    assert [row[:2] for row in counts] == [
        ["complexes", "12"],
        ["signal_ing <&> more", "3"],
        ["all sources", "12"],
    ]
    missed = sum(row[4] == "missed" for row in rows)
    assert counts[0][4] == str(missed)
    page.get_by_label("Source", exact=True).select_option("complexes")
    assert [row[:4] for row in read_rows(page, "Known pairs (complexes): 12")] == [
        row[:4] for row in rows
    ]
    page.get_by_label("Known pairs", exact=True).select_option("missed")
    assert len(read_rows(page, f"Known pairs missed (complexes): {missed}")) == missed
    page.get_by_label("Source", exact=True).select_option("signal_ing <&> more")
    label = "Known pairs missed (signal_ing <&> more): 3"
    names = [name for row in read_rows(page, label) for name in row[:2]]
    name = explored.hostile["G001"]
    assert name in names
    page.get_by_role("region", name=label).get_by_role("link", name=name).first.click()
    label = f"Known pairs missed (signal_ing <&> more, {name}): 2"
    assert {row[0] for row in read_rows(page, label)} == {name}
    chosen = {"view": "pairs", "found": "missed", "source": "signal_ing <&> more", "row": name}
    wanted = {key: [value] for key, value in chosen.items()}
    page.wait_for_url(lambda address: parse_qs(urlsplit(address).query) == wanted)
    assert find_faults(page) == []
    again = visit(page.url, width=400, dark=True)
    assert read_rows(again, label) == read_rows(page, label)
    assert find_faults(again) == []
    again.get_by_label("Pairs of").select_option("all names")
    assert len(read_rows(again, "Known pairs missed (signal_ing <&> more): 3")) == 3


@pytest.mark.slow
def test_without_known_pairs_the_highest_pairs_are_shown(app, explored, visit):
    page = visit(f"{app(Inputs.open(explored.map))}?view=pairs")
    rows = read_rows(page, "The 66 highest pairs of the map")
    cosines = cosine_similarity(read_map(explored.map).features)
    highest = max(cosines[pair] for pair in combinations(range(12), 2))
    assert float(rows[0][2]) == pytest.approx(highest, rel=1e-2)
    assert page.get_by_text("--annotations").is_visible()
