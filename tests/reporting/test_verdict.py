"""The cards at the head of the page: value, interval, chance, p-value, and a verdict by a rule."""

import numpy as np
import polars as pl
import pytest

from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.reporting.evidence.verdict import compare_with_chance, describe_difference
from phenomae.reporting.words import p_value


@pytest.mark.parametrize(
    ("interval", "p", "verdict"),
    [
        ((0.11, 0.3), None, "above chance"),
        ((0.11, 0.3), 0.05, "above chance"),
        ((0.11, 0.3), 0.051, "not shown to differ from chance"),
        ((0.09, 0.3), 0.001, "not shown to differ from chance"),
        ((0.1, 0.3), None, "not shown to differ from chance"),
        ((0.01, 0.1), 0.9, "not shown to differ from chance"),
        ((0.01, 0.09), 0.9, "below chance"),
        ((0.01, 0.09), None, "below chance"),
        ((None, None), 0.001, "undetermined"),
        ((1.0, 1.0), None, "undetermined"),
        ((1.0, 1.0), 0.005, "above chance"),
        ((0.0, 0.0), 1.0, "not shown to differ from chance"),
    ],
)
def test_the_verdict_follows_from_interval_and_p(interval, p, verdict):
    assert compare_with_chance(0.1, interval, p) == verdict


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.001, 0.2), "better"),
        ((-0.2, -0.001), "worse"),
        ((0.0, 0.2), "no difference shown"),
        ((-0.1, 0.2), "no difference shown"),
        (None, "undetermined"),
    ],
)
def test_a_difference_is_shown_if_its_interval_has_no_zero(interval, verdict):
    assert describe_difference(interval) == verdict


def test_p_values_have_two_digits():
    assert [p_value(p) for p in (None, 0.0004998, 0.0344, 0.5, 1.0)] == [
        *("–", "0.0005", "0.034", "0.50", "1.00")
    ]


def cards_of(source: str) -> list[str]:
    """Return the text of each card, line by line."""
    cards = source.partition('<dl class="tiles">')[2].partition("</dl>")[0].split("<div")[1:]
    text = [card.replace("<wbr>", "").replace("\N{NO-BREAK SPACE}", " ") for card in cards]
    return [
        "\n".join(line.partition(">")[2].partition("</")[0] for line in card.splitlines()[1:])
        for card in text
    ]


def test_cards_are_before_the_sections_and_say_what_the_tables_say(screen, tmp_path, make_page):
    page = make_page(tmp_path / "out", results=screen.results)
    assert page.source.index('<dl class="tiles">') < page.source.index("<nav")
    recall = pl.read_csv(screen.results / "recall.csv").filter(low=0.05)
    hits = pl.read_csv(screen.results / "precision.csv").filter(k=1)
    expected = [
        (f"recall, {row['source']}", row["recall"], row) for row in recall.iter_rows(named=True)
    ] + [
        (f"nearest neighbor is a known partner, {row['source']}", row["precision"], row)
        for row in hits.iter_rows(named=True)
    ]
    cards = cards_of(page.source)
    assert len(cards) == len(expected) == 4
    for card, (heading, value, row) in zip(cards, expected, strict=True):
        assert card.splitlines()[:6] == [
            heading.replace("<", "&lt;").replace(">", "&gt;").replace("&lt;&&gt;", "&lt;&amp;&gt;"),
            f"{value:.3f}",
            compare_with_chance(row["chance"], (row["ci_low"], row["ci_high"]), row["p"]),
            f"95 % CI {row['ci_low']:.3f} to {row['ci_high']:.3f}",
            f"chance {row['chance']:.3f}",
            f"p {p_value(row['p'])}",
        ]
    assert sum("above chance" in card for card in cards) == 4


def test_the_page_of_noise_claims_nothing(screen, tmp_path, make_page):
    import anndata

    features = np.random.default_rng(8).normal(size=(40, 16)).astype(np.float32)
    names = [f"GENE{row:02d}" for row in range(40)]
    anndata.AnnData(features, obs={"obs_names": names}).write_h5ad(tmp_path / "noise.h5ad")
    settings = BenchmarkSettings(screen.annotations, shuffle=99)
    benchmark(tmp_path / "noise.h5ad", tmp_path / "results", settings=settings)
    page = make_page(tmp_path / "out", results=tmp_path / "results", map=tmp_path / "noise.h5ad")
    cards = cards_of(page.source)
    assert [card.splitlines()[2] for card in cards] == ["not shown to differ from chance"] * 4
    assert "above chance" not in page.text


def test_results_without_intervals_and_p_are_undetermined(screen, tmp_path, make_page):
    settings = BenchmarkSettings(screen.annotations, resamples=0)
    benchmark(screen.map, tmp_path / "results", settings=settings)
    page = make_page(tmp_path / "out", results=tmp_path / "results")
    for card in cards_of(page.source):
        assert card.splitlines()[2:] == [
            *("undetermined", "no interval", card.splitlines()[4], "no p-value", "")
        ]


def test_the_table_of_neighbors_says_what_precision_csv_says(screen, tmp_path, make_page):
    page = make_page(tmp_path / "out", results=screen.results)
    (table,) = [table for table in page.tables if "k" in table[0]]
    rows = pl.read_csv(screen.results / "precision.csv").rows(named=True)
    assert table[1:] == [
        [
            row["source"],
            str(row["k"]),
            f"{row['precision']:.3f}",
            f"{row['ci_low']:.3f} to {row['ci_high']:.3f}",
            f"{row['chance']:.3f}",
            f"{row['precision'] / row['chance']:.1f} ×",
            f"{row['max_precision']:.3f}",
            p_value(row["p"]),
            str(row["n_genes"]),
        ]
        for row in rows
    ]


def test_cells_name_their_column_where_rows_are_cards(whole, read_page):
    page = read_page(whole)
    # On a narrow screen the row of headings is hidden, and each cell has its own.
    narrow = page.source.partition("@media (max-width: 50rem) {\n  .paper")[2].partition("\n}")[0]
    for rule in ("thead { display: none; }", "td::before { content: attr(data-column);"):
        assert rule in narrow
    for table in page.source.split("<table>")[1:]:
        table = table.partition("</table>")[0]
        columns = [part.partition("</th>")[0] for part in table.split('<th scope="col">')[1:]]
        for row in table.split("<tr")[2:]:
            named = [part.partition('"')[0] for part in row.split('data-column="')[1:]]
            assert named in ([], columns[1:])
