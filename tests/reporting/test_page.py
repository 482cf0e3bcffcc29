"""The page: what it shows of what was given, and that it is one whole, safe file."""

import base64
import re

import numpy as np
import polars as pl
import pytest

from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.signatures import hash_files


@pytest.fixture(scope="module")
def page(whole, read_page):
    return read_page(whole)


def test_every_part_has_its_heading(page):
    assert page.headings == [
        "A <b>screen</b> & its map",
        "Find a gene",
        "Comparison with baselines",
        "Recall of known pairs",
        "Recall across percentiles",
        "Nearest neighbors",
        "Similarity of the map",
        "Reconstructions",
        "Loss",
        "Provenance",
    ]


PARTS = {
    "results": {
        "Recall of known pairs",
        "Recall across percentiles",
        "Nearest neighbors",
        "Comparison with baselines",
    },
    "map": {"Find a gene", "Similarity of the map"},
    "run": {"Reconstructions", "Loss"},
}


@pytest.mark.parametrize("given", sorted(PARTS))
def test_what_is_not_given_is_not_on_the_page(screen, tmp_path, given, make_page):
    page = make_page(tmp_path / "out", **{given: getattr(screen, given)})
    assert set(page.headings) == PARTS[given] | {"phenomae report", "Provenance"}
    links = {address[1:] for address in page.addresses if address.startswith("#")}
    # Those of the parts of the search box are for its script.
    assert links == {name for name in page.ids if not name.startswith("search-")}
    assert len(page.images) == len(list((tmp_path / "out" / "figures").glob("*.png")))


def test_a_run_without_log_or_picture_shows_the_other(new_run, tmp_path, make_page, resign):
    page = make_page(tmp_path / "out", run=new_run(log=False))
    assert page.headings[1:] == ["Reconstructions", "Provenance"]
    (tmp_path / "own_run" / "log.jsonl").write_text('{"step": 0, "validation_loss": 1.5}\n')
    (tmp_path / "own_run" / "reconstructions.png").unlink()
    resign(tmp_path / "own_run", files=hash_files(tmp_path / "own_run"))
    page = make_page(tmp_path / "out2", run=tmp_path / "own_run")
    assert page.headings[1:] == ["Loss", "Provenance"]
    assert "validation 1.5 at step 0" in page.text


def test_results_without_shuffles_or_baselines_have_no_table_of_them(
    screen, tmp_path, make_page, resign
):
    results = tmp_path / "results"
    results.mkdir()
    for name in ("artefact.json", "recall.csv", "curve.csv"):
        (results / name).write_bytes((screen.results / name).read_bytes())
    resign(results)
    page = make_page(tmp_path / "out", results=results)
    assert "Comparison with baselines" not in page.headings
    assert "shuffled" not in page.text


def test_the_table_of_recall_says_what_recall_csv_says(page, screen):
    recall = pl.read_csv(screen.results / "recall.csv")
    shuffled = pl.read_csv(screen.results / "shuffled.csv")
    rows = [row for row in page.tables[1][1:] if len(row) > 1]
    wanted = []
    for low in (0.05, 0.1):
        for row, luck in zip(recall.rows(named=True), shuffled.rows(named=True), strict=True):
            if row["low"] == low:
                wanted.append(
                    [
                        row["source"],
                        f"{row['recall']:.3f}",
                        f"{row['ci_low']:.3f} to {row['ci_high']:.3f}",
                        f"{2 * low:.3f}",
                        f"{row['recall'] / (2 * low):.1f} ×",
                        f"{luck['mean']:.3f} ± {luck['sd']:.3f}",
                        f"{row['p']:.3f}",
                        str(row["n_pairs"]),
                        str(row["n_genes"]),
                    ]
                )
    assert rows == wanted
    groups = [row[0] for row in page.tables[1] if len(row) == 1]
    assert groups == ["Lowest 5\xa0% and highest 5\xa0%", "Lowest 10\xa0% and highest 10\xa0%"]


def with_paired_interval(screen, source: str, difference: float) -> str:
    """Return a difference as on the page, by the pigeonhole bootstrap typed out."""
    lists = [
        pl.read_csv(results / "known_pairs.csv").filter(source=source)
        for results in (screen.results, screen.baseline)
    ]
    assert lists[0]["entity1"].equals(lists[1]["entity1"])
    assert lists[0]["entity2"].equals(lists[1]["entity2"])
    genes = sorted({*lists[0]["entity1"], *lists[0]["entity2"]})
    one, two = ([genes.index(gene) for gene in lists[0][name]] for name in ("entity1", "entity2"))
    minus = lists[0]["recalled"].cast(int).to_numpy() - lists[1]["recalled"].cast(int).to_numpy()
    drawn = []
    for resample in range(1000):
        rng = np.random.default_rng([0, resample])
        times = np.bincount(rng.integers(len(genes), size=len(genes)), minlength=len(genes))
        weights = times[one] * times[two]
        drawn.append((weights * minus).sum() / weights.sum() if weights.any() else np.nan)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"{difference:+.3f} ({low:.3f} to {high:.3f})"


def test_the_table_of_other_results_says_what_their_files_say(page, screen):
    own = pl.read_csv(screen.results / "recall.csv")
    other = pl.read_csv(screen.baseline / "recall.csv")
    luck = pl.read_csv(screen.results / "shuffled.csv")
    rows = [row for row in page.tables[0][1:] if len(row) > 1]
    groups = [row[0] for row in page.tables[0] if len(row) == 1]
    # The order of recall.csv, as these results have no row of all sources together.
    assert groups == ["complexes", "signal_ing <&> more"]
    assert [row[0].strip() for row in rows] == [
        *("these features", "untrained", "noisy map", "count", "position", "shuffled"),
        *("these features", "noisy map", "shuffled"),
    ]
    named = [row for row in rows if row[1] != "missing"]
    for place, source in enumerate(groups):
        mine, theirs, lucky = (
            table.filter(pl.col("source") == source, pl.col("low") == 0.05).row(0, named=True)
            for table in (own, other, luck)
        )
        shown = [[cell.replace("\xa0", " ") for cell in row[1:]] for row in named[3 * place :][:3]]
        assert shown == [
            [f"{mine['recall']:.3f} ({mine['ci_low']:.3f} to {mine['ci_high']:.3f})", "", ""],
            [
                f"{theirs['recall']:.3f} ({theirs['ci_low']:.3f} to {theirs['ci_high']:.3f})",
                with_paired_interval(screen, source, mine["recall"] - theirs["recall"]),
                "better",
            ],
            [
                f"{lucky['mean']:.3f}",
                f"{mine['recall'] - lucky['mean']:+.3f} "
                f"({mine['ci_low'] - lucky['mean']:.3f} to {mine['ci_high'] - lucky['mean']:.3f})",
                "better",
            ],
        ]


def test_missing_kinds_are_shown_where_the_first_source_has_no_comparison(
    screen, tmp_path, make_page, resign
):
    results = tmp_path / "results"
    results.mkdir()
    for name in ("artefact.json", "recall.csv", "curve.csv"):
        (results / name).write_bytes((screen.results / name).read_bytes())
    resign(results)
    settings = BenchmarkSettings(screen.annotations / "signal_ing <&> more.csv")
    benchmark(screen.map, tmp_path / "other", settings=settings)
    baseline = (f"noisy map={tmp_path / 'other'}",)
    page = make_page(tmp_path / "out", results=results, baseline=baseline)
    rows = page.tables[0][1:]
    assert [row[0] for row in rows if len(row) == 1] == ["signal_ing <&> more"]
    missing = [row[0] for row in rows if row[1:2] == ["missing"]]
    assert missing == ["untrained", "count", "position", "shuffled"]


def test_what_cannot_be_compared_is_said(screen, new_run, tmp_path, make_page, resign):
    fewer = (screen.annotations / "complexes.csv").read_text().splitlines()[:-3]
    (tmp_path / "complexes.csv").write_text("\n".join(fewer) + "\n")
    settings = BenchmarkSettings(tmp_path / "complexes.csv")
    benchmark(screen.map, tmp_path / "fewer", settings=settings)
    run = new_run()
    with open(run / "log.jsonl", "a") as file:
        file.write('{"step": 80, "loss": NaN}\n')
    resign(run)
    baseline = (f"fewer={tmp_path / 'fewer'}",)
    page = make_page(tmp_path / "out", run=run, results=screen.results, baseline=baseline)
    text = " ".join(page.text.split())
    assert "fewer: benchmarked on another number of known pairs than this map" in text
    assert "fewer was not benchmarked with signal_ing <&> more." in text
    assert "The training loss was not finite in 1 lines of the log" in text


def test_the_page_is_one_file_and_its_pictures_are_those_beside_it(whole, page):
    links = {one for one in page.addresses if not one.startswith(("#", "data:"))}
    # Files that are named on the page are beside it.
    files = {f"figures/{path.name}" for path in (whole / "figures").iterdir()}
    assert links == files - {"figures/similarity_order.csv"}
    assert set(re.findall(r"figures/[\w.]+\w", page.text)) == files
    text = (whole / "report.html").read_text()
    # The script of the search box, which test_search.py looks at.
    assert re.findall("<script[^>]*>", text) == [
        '<script type="application/json" id="search-data">',
        "<script>",
    ]
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text
    pictures = {base64.b64decode(image["src"].split(",", 1)[1]) for image in page.images}
    shown = (
        "baselines.svg",
        "recall.svg",
        "curve.svg",
        "similarity.svg",
        "loss.svg",
        "reconstructions.png",
    )
    assert pictures == {(whole / "figures" / name).read_bytes() for name in shown}
    for path in (whole / "figures").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_pictures_say_in_words_what_they_show(page, screen):
    alts = [image["alt"] for image in page.images]
    assert len(alts) == 6
    assert all(len(alt) > 40 for alt in alts)
    recall = pl.read_csv(screen.results / "recall.csv")["recall"][0]
    assert f"complexes: these features {recall:.3f}, noisy map " in alts[0]
    assert f"complexes {recall:.3f}" in alts[1]
    assert "training 0.0167 at step 60, validation 0.5 at step 60" in alts[5]
    sizes = [(int(image["width"]), int(image["height"])) for image in page.images]
    assert sizes[4] == (150, 100)
    assert min(min(size) for size in sizes) > 50


def test_where_it_all_comes_from_is_on_the_page(page, screen):
    assert "7" * 32 in page.text
    assert "made from store" in " ".join(page.text.split())
    assert "family = vit-mae" in page.text
    assert "through = wells" in page.text
    assert "low = 0.05, 0.1" in page.text
    assert str(screen.run.parent) not in page.text


def test_the_heat_map_names_its_rows_from_the_top(whole):
    order = pl.read_csv(whole / "figures" / "similarity_order.csv")
    assert order["row"].to_list() == list(range(1, 41))
    svg = (whole / "figures" / "similarity.svg").read_text()
    assert svg.count(">GENE") == 80  # names stand at both sides
    first = svg[svg.index('id="matplotlib.axis_1"') :]
    assert first.index(f">{order['name'][0]}<") < first.index(f">{order['name'][1]}<")
