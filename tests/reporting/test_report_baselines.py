"""The report of results with baselines: the line on what was learned, their table and figure."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.reporting.evidence.baselines import compare, find_missing, pair_interval
from phenomae.reporting.evidence.results import read_results
from phenomae.reporting.figures.baseline_dots import draw_baselines


@pytest.fixture(scope="module")
def results(screen, tmp_path_factory) -> Path:
    """Results of two sources and percentile pairs, with baselines of three kinds, in any order."""
    folder = tmp_path_factory.mktemp("beside") / "results"
    noisy = screen.map.with_name("noisy.h5ad")
    names = ("trained-too", "count", "spectra", "random-layer")
    settings = BenchmarkSettings(
        screen.annotations,
        low=(0.05, 0.1),
        high=(0.95, 0.9),
        baseline=tuple(f"{name}={noisy}" for name in names),
        resamples=100,
        shuffle=20,
    )
    benchmark(screen.map, folder, settings=settings)
    return folder


def line_of(page) -> str:
    """Return the HTML of the line on what was learned; "" without it."""
    return page.source.partition('<p class="learned">')[2].partition("</p>")[0]


def test_the_page_begins_with_what_was_learned(results, screen, tmp_path, capsys, make_page):
    page = make_page(tmp_path / "out", results=results)
    assert line_of(page).startswith("learned: +.")
    # Of baselines with the same recall, the first that was given.
    assert line_of(page).endswith(" over the best feature without learning (count)")
    assert page.source.index("</h1>\n  <p class") < page.source.index("<nav")
    assert page.headings[1:3] == ["Comparison with baselines", "Recall of known pairs"]
    settings = BenchmarkSettings(screen.annotations, baseline=(f"spectra={screen.map}",))
    capsys.readouterr()
    benchmark(screen.map, tmp_path / "nothing", settings=settings)
    page = make_page(tmp_path / "other", results=tmp_path / "nothing")
    assert line_of(page).startswith("nothing was learned beyond spectra: +")
    assert line_of(page) == capsys.readouterr().out.splitlines()[-1]


def test_the_second_line_has_the_difference_from_every_map(results, screen, tmp_path, make_page):
    page = make_page(tmp_path / "out", results=results)
    line = page.source.partition('<p class="differences">')[2].partition("</p>")[0]
    table = pl.read_csv(results / "baselines.csv").filter(low=0.05, source="all sources")
    own, *rows = table.iter_rows(named=True)
    said = [f"Recall {own['recall']:.3f} ({own['ci_low']:.3f} to {own['ci_high']:.3f})"]
    for row in rows:
        ends = (row["difference_ci_low"], row["difference_ci_high"])
        low, high = (f"{end:.3f}" for end in ends)
        said.append(f"{row['map']} {row['difference']:+.3f} ({low} to {high})")
    for words in said:
        assert words in line.replace("\N{NO-BREAK SPACE}", " ")
    page = make_page(tmp_path / "map", map=screen.map)
    assert '<p class="differences">' not in page.source


def test_the_table_has_all_rows_of_baselines_csv(results, tmp_path, make_page):
    page = make_page(tmp_path / "out", results=results)
    table = pl.read_csv(results / "baselines.csv")
    found, heading = {}, ""
    for cells in page.tables[0][1:]:
        if len(cells) == 1:
            heading = cells[0].replace("\xa0", " ")
            continue
        found[(heading, cells[0].strip())] = [cell.replace("\xa0", " ") for cell in cells[1:]]
    order = ["these features", "random-layer", "spectra", "count", "shuffled", "trained-too"]
    first = [
        name for heading, name in found if heading == "all sources, lowest 5 % and highest 5 %"
    ]
    assert first == [*order[:4], "position", *order[4:]]
    assert found.pop(("all sources, lowest 5 % and highest 5 %", "position")) == ["missing", "", ""]
    assert len(found) == len(table) == 3 * 2 * 6
    for row in table.iter_rows(named=True):
        ends = f"lowest {100 * row['low']:.0f} % and highest {100 * row['low']:.0f} %"
        interval = f"({row['ci_low']:.3f} to {row['ci_high']:.3f})"
        difference = verdict = ""
        if row["difference"] is not None:
            low, high = row["difference_ci_low"], row["difference_ci_high"]
            difference = f"{row['difference']:+.3f} ({low:.3f} to {high:.3f})"
            verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
        assert found[(f"{row['source']}, {ends}", row["map"])] == [
            f"{row['recall']:.3f} {interval}",
            difference,
            verdict,
        ]
    text = " ".join(page.text.split())
    assert "Missing: position (position). The command benchmark takes maps as --baseline" in text
    assert "random-layer untrained" in text
    assert "spectra hand-made" in text


def test_the_figure_has_a_mark_for_each_row(results):
    tables = read_results(results)
    parts = [part for part in compare(tables, {}) if part.percentiles == (0.05, 0.95)]
    left, right = draw_baselines(parts, find_missing(parts), chance=0.1).figure.axes
    rows = pl.read_csv(results / "baselines.csv").filter(pl.col("low") == 0.05)
    marks, bars = (
        [line.get_xydata() for line in left.lines if len(line.get_xdata()) == count][-size:]
        for count, size in ((1, 18), (2, 18))
    )
    assert sorted(x for ((x, _),) in marks) == pytest.approx(sorted(rows["recall"]))
    assert sorted(float(x) for bar in bars for x in bar[:, 0]) == pytest.approx(
        sorted([*rows["ci_low"], *rows["ci_high"]])
    )
    differences = [line.get_xdata()[0] for line in right.lines if len(line.get_xdata()) == 1]
    assert sorted(differences) == pytest.approx(sorted(rows["difference"].drop_nulls()))
    words = [text.get_text() for text in left.texts]
    assert words.count("missing") == 1
    assert {"all sources", "complexes", "signal_ing <&> more"} < set(words)
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert len(labels) == 19
    assert labels[4] == "position"


def test_other_results_stand_in_the_same_table(results, screen, tmp_path, make_page):
    page = make_page(tmp_path / "out", results=results, baseline=(f"intensity={screen.baseline}",))
    assert page.headings.count("Comparison with baselines") == 1
    assert line_of(page).startswith("learned: +.")
    rows = [cells for cells in page.tables[0] if cells[0].startswith("intensity")]
    recall = pl.read_csv(screen.baseline / "recall.csv").filter(pl.col("low") == 0.05)
    assert len(rows) == 2
    assert rows[0][1].startswith(f"{recall['recall'][0]:.3f}")
    # The bootstrap of benchmark, which has the same resamples where the map is a baseline.
    pairs = pl.read_csv(results / "baselines.csv").filter(low=0.05, map="count")
    for row, source in zip(rows, ("complexes", "signal_ing <&> more"), strict=True):
        ends = pairs.filter(source=source).row(0, named=True)
        drawn = pair_interval(read_results(results), read_results(screen.baseline), source)
        assert drawn == pytest.approx((ends["difference_ci_low"], ends["difference_ci_high"]))
        assert f"({drawn[0]:.3f} to {drawn[1]:.3f})" in row[2].replace("\xa0", " ")
    with pytest.raises(ValueError, match="baseline count is in the results already: choose anoth"):
        make_page(tmp_path / "two", results=results, baseline=(f"count={screen.baseline}",))
    assert not list(tmp_path.glob("two*"))


def test_results_without_baselines_say_how_to_compare(screen, tmp_path, make_page):
    page = make_page(tmp_path / "out", results=screen.results)
    assert line_of(page).startswith(
        "Nothing was compared: give maps of the same genes to benchmark"
    )
    assert '<code class="thin">--baseline</code> NAME=MAP, such as random-network' in line_of(page)
    assert "Missing: untrained (random-network or" in page.text
    baseline = (f"noisy={screen.baseline}",)
    page = make_page(tmp_path / "other", results=screen.results, baseline=baseline)
    assert line_of(page).startswith("What was learned is unknown: these are results of other maps")
    page = make_page(tmp_path / "map", map=screen.map)
    assert line_of(page) == ""


@pytest.mark.parametrize("file", ["baselines.csv", "learned.json"])
def test_damaged_results_are_to_be_made_again(results, tmp_path, file, make_page):
    copy = shutil.copytree(results, tmp_path / "copy")
    (copy / file).unlink()
    with pytest.raises(ValueError, match=rf"copy is damaged: {file} is missing; .* again"):
        make_page(tmp_path / "out", results=copy)
    assert not list(tmp_path.glob("out*"))
