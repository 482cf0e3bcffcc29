"""The command `benchmark`: what it writes and prints, when it refuses."""

from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest

from phenomae.evaluation.benchmark import benchmark, check_count
from phenomae.evaluation.results import Results
from phenomae.evaluation.settings import BenchmarkSettings

COLUMNS = ["source", "low", "high", "recall", "n_pairs", "n_genes", "chance"]


def write_map(path: Path, features: np.ndarray, names: list[str] | None = None) -> Path:
    names = names or [f"G{row:02d}" for row in range(len(features))]
    anndata.AnnData(features.astype(np.float32), obs={"obs_names": names}).write_h5ad(path)
    return path


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Path, Path]:
    """A map of ten complexes of four genes each, and the file that lists them."""
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(10, 16)), 4, axis=0) + 0.3 * rng.normal(size=(40, 16))
    lines = [
        f"G{first:02d},G{second:02d}"
        for first in range(40)
        for second in range(first + 1, 40)
        if first // 4 == second // 4
    ]
    pairs = tmp_path / "planted.csv"
    pairs.write_text("\n".join(["entity1,entity2", *lines, "G00,ABSENT"]) + "\n")
    return write_map(tmp_path / "map.h5ad", features), pairs


def test_planted_pairs_are_found_and_shuffled_ones_are_not(planted, tmp_path, capsys):
    settings = BenchmarkSettings(planted[1], low=(0.05, 0.1), high=(0.95, 0.9), shuffle=200)
    benchmark(planted[0], tmp_path / "results", settings=settings)
    table = pl.read_csv(tmp_path / "results" / "recall.csv")
    assert table.columns == [*COLUMNS, "ci_low", "ci_high", "p"]
    assert (table["p"] == 1 / 201).all()
    assert (table["ci_low"] <= table["recall"]).all()
    assert (table["ci_high"] >= table["recall"]).all()
    assert table["recall"].min() > 0.6  # 60 pairs, and the highest 5 % are 39
    assert table.select("source", "low", "high", "n_pairs", "n_genes", "chance").rows() == [
        ("planted", 0.05, 0.95, 60, 40, 0.1),
        ("planted", 0.1, 0.9, 60, 40, 0.2),
    ]
    shuffled = pl.read_csv(tmp_path / "results" / "shuffled.csv")
    assert shuffled.columns == ["source", "low", "high", "mean", "sd", "n"]
    np.testing.assert_allclose(shuffled["mean"], [0.1, 0.2], atol=0.01)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == [*table.columns, "shuffled", "+-"]
    assert printed[1].split()[:3] == ["planted", "0.05", "0.95"]


def test_the_curve_runs_from_one_percent_to_everything(planted, tmp_path):
    benchmark(planted[0], tmp_path / "results", settings=BenchmarkSettings(planted[1]))
    curve = pl.read_csv(tmp_path / "results" / "curve.csv")
    assert curve.columns == COLUMNS
    assert curve["low"].to_list() == [step / 100 for step in range(1, 51)]
    assert curve["recall"].is_sorted()
    assert curve["recall"][-1] == 1
    assert curve["chance"][-1] == 1
    recall = pl.read_csv(tmp_path / "results" / "recall.csv")
    assert curve.filter(pl.col("low") == 0.05).equals(recall.select(COLUMNS))
    assert not (tmp_path / "results" / "shuffled.csv").exists()


def test_it_takes_text_and_returns_the_results_new_or_found(planted, tmp_path):
    settings = BenchmarkSettings(str(planted[1]), resamples=0)
    made = benchmark(str(planted[0]), str(tmp_path / "results"), settings=settings)
    assert made == Results(tmp_path / "results")
    assert made.tables == ["curve", "known_pairs", "precision", "recall", "unknown_genes"]
    assert made.to_polars("recall")["source"].to_list() == ["planted"]
    assert benchmark(planted[0], made, settings=settings) == made


def test_the_same_results_are_the_same_bytes_and_made_once(planted, tmp_path, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    settings = BenchmarkSettings(planted[1], shuffle=1)
    benchmark(planted[0], one, settings=settings)
    first = capsys.readouterr()
    benchmark(planted[0], two, settings=settings)
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()
    capsys.readouterr()
    benchmark(planted[0], one, settings=settings)
    again = capsys.readouterr()
    assert "already there" in again.err
    assert again.out == first.out
    with pytest.raises(ValueError, match="another setting: seed = 0, now 1"):
        benchmark(planted[0], one, settings=BenchmarkSettings(planted[1], shuffle=1, seed=1))
    planted[1].write_text("entity1,entity2\nG00,G01\n")
    with pytest.raises(ValueError, match="another source: annotations"):
        benchmark(planted[0], one, settings=settings)


@pytest.mark.parametrize("text", ["", "source\n", "\xff\n", "a,b\n1,2\n", "a,b\n1,2,3\n"])
@pytest.mark.parametrize("name", ["recall.csv", "shuffled.csv"])
def test_results_that_were_damaged_are_to_be_made_anew(
    planted, tmp_path, name, text, capsys, resign
):
    settings = BenchmarkSettings(planted[1], shuffle=2)
    benchmark(planted[0], tmp_path / "results", settings=settings)
    (tmp_path / "results" / name).write_text(text)
    with pytest.raises(
        ValueError, match=f"results is damaged: {name} has changed since .* again with overwrite"
    ):
        benchmark(planted[0], tmp_path / "results", settings=settings)
    resign(tmp_path / "results")
    with pytest.raises(ValueError, match=f"{name} is missing or damaged.* again with overwrite"):
        benchmark(planted[0], tmp_path / "results", settings=settings)
    assert capsys.readouterr().out.count("recall") == 1
    benchmark(planted[0], tmp_path / "results", settings=settings, overwrite=True)


def test_results_of_an_earlier_version_are_to_be_made_anew(planted, tmp_path, resign):
    settings = BenchmarkSettings(planted[1])
    benchmark(planted[0], tmp_path / "results", settings=settings)
    table = tmp_path / "results/recall.csv"
    pl.read_csv(table).drop("ci_high", "p").write_csv(table)
    resign(tmp_path / "results")
    with pytest.raises(
        ValueError,
        match=r"recall\.csv lacks the columns ci_high p, so it was made by an earlier version of "
        "phenomae: make .*results again with overwrite",
    ):
        benchmark(planted[0], tmp_path / "results", settings=settings)


def test_a_source_without_a_pair_is_passed_over(planted, tmp_path, capsys):
    folder = tmp_path / "annotations"
    folder.mkdir()
    planted[1].rename(folder / "planted.csv")
    (folder / "yeast.csv").write_text("entity1,entity2\nCDC28,CLN2\n")
    benchmark(planted[0], tmp_path / "results", settings=BenchmarkSettings(folder))
    assert "yeast is skipped" in capsys.readouterr().err
    assert pl.read_csv(tmp_path / "results" / "recall.csv")["source"].to_list() == ["planted"]


def test_a_pair_that_no_resample_draws_has_no_interval(planted, tmp_path):
    (tmp_path / "one.csv").write_text("entity1,entity2\nG00,G01\n")
    # Seed 0 draws one of the two genes twice.
    benchmark(
        planted[0], tmp_path / "r", settings=BenchmarkSettings(tmp_path / "one.csv", resamples=1)
    )
    table = pl.read_csv(tmp_path / "r" / "recall.csv", schema_overrides={"ci_low": pl.String})
    assert table.select("recall", "ci_low").row(0) == (1.0, None)


NORMAL = np.random.default_rng(1).normal(size=(8, 3))
BROKEN = NORMAL.copy()
BROKEN[2, 1] = np.nan
ZERO = NORMAL.copy()
ZERO[3] = 0


@pytest.mark.parametrize(
    ("features", "names", "pairs", "sentence"),
    [
        (NORMAL[:2], None, "G00,G01", r"has 2 genes, too few: 5 % of all pairs \(1\) is less"),
        (NORMAL[:1], None, "G00,G01", "has 1 gene, too few"),
        (BROKEN, None, "G00,G01", r"rows that are NaN, .* have no cosine: G02 \(1 in total"),
        (ZERO, None, "G00,G01", "all 0 and have no cosine: G03"),
        (NORMAL, ["A", "B", "A", *"CDEFG"], "A,B", "has A more than once"),
        (NORMAL, None, "X,Y", "no annotated pair has both its genes on the map"),
        (NORMAL, None, "G01,G01", "no annotated pair has both"),
    ],
)
def test_maps_that_will_not_do(tmp_path, features, names, pairs, sentence):
    annotations = tmp_path / "pairs.csv"
    annotations.write_text(f"entity1,entity2\n{pairs}\n")
    path = tmp_path / "map.h5ad"
    write_map(path, features, names)
    with pytest.raises(ValueError, match=sentence):
        benchmark(path, tmp_path / "results", settings=BenchmarkSettings(annotations))
    assert not list(tmp_path.glob("results*"))


def test_a_share_is_taken_as_it_is_written():
    # Five genes make ten pairs, of which 10 % are one; in floating point 10 (1 - 0.9) is below 1.
    check_count(5, "MAP", [(0.1, 0.9)])
    with pytest.raises(ValueError, match=r"MAP has 5 genes, too few: 9.9 % .* \(10\) is less than"):
        check_count(5, "MAP", [(0.1, 0.9), (0.1, 0.901)])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"low": (0.05, 0.1)}, "must have the same number of values, at least one"),
        ({"low": (), "high": ()}, "must have the same number of values, at least one"),
        ({"low": (0.95,), "high": (0.05,)}, "fractions of all pairs with 0 <= low <= high <= 1"),
        ({"low": (5.0,), "high": (95.0,)}, "fractions of all pairs with 0 <= low <= high <= 1"),
        ({"shuffle": -1}, "shuffle must be at least 0, not -1"),
    ],
)
def test_settings_that_will_not_do(planted, tmp_path, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        benchmark(planted[0], tmp_path / "r", settings=BenchmarkSettings(planted[1], **wrong))
