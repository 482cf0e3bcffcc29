"""`benchmark --baseline`: scores beside those of other maps, paired, and what was learned."""

import json
from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest

from phenomae.evaluation.baseline_inputs import open_baseline_map
from phenomae.evaluation.baseline_maps import kind_of, missing_kinds, without_learning
from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.learned import read_baselines, read_learned
from phenomae.evaluation.recall.baselines import find_learned
from phenomae.evaluation.recall.recall_tables import measure
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.read import ConsensusProfiles, read_map

GENES = [f"G{row:02d}" for row in range(60)]
COMPLEX = np.arange(60) // 4
PAIRS = np.argwhere(np.triu(COMPLEX[:, None] == COMPLEX, k=1))


def write_map(path: Path, features: np.ndarray, names: list[str] = GENES) -> Path:
    anndata.AnnData(features.astype(np.float32), obs={"obs_names": names}).write_h5ad(path)
    return path


def draw(noise: float, seed: int | list[int]) -> np.ndarray:
    """Return features in which the genes of a complex are alike, the more the less the noise."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(15, 16))[COMPLEX] + noise * rng.normal(size=(60, 16))


def found_of(features: np.ndarray, pairs: np.ndarray, low: float = 0.05) -> np.ndarray:
    """Return which pairs are in the tails, by a full sort."""
    rows = features.astype(np.float32).astype(float)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    every = np.sort((unit @ unit.T)[np.triu_indices(60, k=1)])
    share = round(low * len(every))
    cosines = np.einsum("pd,pd->p", unit[pairs[:, 0]], unit[pairs[:, 1]])
    return (cosines < every[share]) | (cosines > every[len(every) - share - 1])


@pytest.fixture
def screen(tmp_path: Path) -> Path:
    """Maps of three qualities, and lists of the known pairs of even and of odd complexes."""
    for name, noise in {"clear": 0.3, "spectra": 1.0, "count": 30.0}.items():
        write_map(tmp_path / f"{name}.h5ad", draw(noise, seed=len(name)))
    (tmp_path / "known").mkdir()
    for name, parity in {"even": 0, "odd": 1}.items():
        lines = [f"{GENES[a]},{GENES[b]}" for a, b in PAIRS if COMPLEX[a] % 2 == parity]
        text = "\n".join(["entity1,entity2", *lines]) + "\n"
        (tmp_path / "known" / f"{name}.csv").write_text(text)
    return tmp_path


def settings_of(screen: Path, *names: str, **others: object) -> BenchmarkSettings:
    baseline = tuple(f"{name}={screen / name}.h5ad" for name in names)
    return BenchmarkSettings(screen / "known", baseline=baseline, **others)


def test_scores_stand_beside_those_of_baselines_on_the_same_resamples(screen, capsys):
    settings = settings_of(screen, "spectra", "count", resamples=200, seed=3, shuffle=99)
    benchmark(screen / "clear.h5ad", screen / "results", settings=settings)
    table = pl.read_csv(screen / "results/baselines.csv")
    assert table["source"].unique(maintain_order=True).to_list() == ["even", "odd", "all sources"]
    rows = {
        row["map"]: row
        for row in table.filter(pl.col("source") == "all sources").iter_rows(named=True)
    }
    assert list(rows) == ["these features", "spectra", "count", "shuffled"]
    maps = {"these features": draw(0.3, 5), "spectra": draw(1.0, 7), "count": draw(30.0, 5)}
    found = {name: found_of(features, PAIRS) for name, features in maps.items()}
    # The pigeonhole bootstrap, typed out: a pair counts as often as both its genes are drawn.
    drawn = np.empty((3, 200))
    for k in range(200):
        times = np.bincount(np.random.default_rng([3, k]).integers(60, size=60), minlength=60)
        weights = times[PAIRS[:, 0]] * times[PAIRS[:, 1]]
        drawn[:, k] = [(weights * marks).sum() / weights.sum() for marks in found.values()]
    for number, (name, marks) in enumerate(found.items()):
        row = rows[name]
        assert row["recall"] == pytest.approx(marks.mean())
        wanted = np.quantile(drawn[number], [0.025, 0.975])
        np.testing.assert_allclose((row["ci_low"], row["ci_high"]), wanted)
        if number:
            assert row["difference"] == pytest.approx(found["these features"].mean() - marks.mean())
            wanted = np.quantile(drawn[0] - drawn[number], [0.025, 0.975])
            got = (row["difference_ci_low"], row["difference_ci_high"])
            np.testing.assert_allclose(got, wanted)
    assert rows["these features"]["difference"] is None
    assert rows["shuffled"]["recall"] == pytest.approx(0.1, abs=0.02)
    assert (
        rows["count"]["recall"] < 0.4 < rows["spectra"]["recall"] < rows["these features"]["recall"]
    )
    low = rows["spectra"]["difference_ci_low"]
    assert low > 0.01
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].startswith("learned: +.")
    assert printed[-1].endswith("over the best feature without learning (spectra)")
    assert f"({low:.2f} to ".replace("0.", ".") in printed[-1]
    assert printed[-2] == (
        "missing baselines: untrained (random-network or random-network-spread or random-layer), "
        "position (position)"
    )


def test_recall_of_the_map_is_the_same_bytes_beside_baselines(screen):
    for name, settings in {
        "alone": settings_of(screen, resamples=50),
        "beside": settings_of(screen, "spectra", resamples=50),
    }.items():
        benchmark(screen / "clear.h5ad", screen / name, settings=settings)
    for name in ("recall.csv", "curve.csv", "unknown_genes.csv"):
        assert (screen / "alone" / name).read_bytes() == (screen / "beside" / name).read_bytes()
    assert not (screen / "alone/baselines.csv").exists()


def test_what_is_no_better_than_a_baseline_was_not_learned(screen, capsys):
    settings = settings_of(screen, "clear", "count", resamples=100)
    benchmark(screen / "spectra.h5ad", screen / "results", settings=settings)
    assert (
        capsys.readouterr().out.splitlines()[-1].startswith("nothing was learned beyond clear: -.")
    )
    found = json.loads((screen / "results/learned.json").read_text())
    assert [one["source"] for one in found["learned"]] == ["even", "odd", "all sources"]
    assert not any(one["learned"] for one in found["learned"])
    assert found["kinds"] == {"clear": "hand-made", "count": "count"}
    assert list(found["missing"]) == ["untrained", "position", "shuffled"]


def test_the_order_of_rows_and_other_names_of_a_baseline_do_not_matter(screen):
    order = np.random.default_rng(1).permutation(60)
    names = [f"{GENES[row]}_old" if row == 7 else GENES[row] for row in order]
    write_map(screen / "turned.h5ad", draw(1.0, 7)[order], names)
    (screen / "aliases.csv").write_text("alias,gene\nG07_old,G07\n")
    settings = settings_of(
        screen, "spectra", "turned", resamples=20, aliases=screen / "aliases.csv"
    )
    benchmark(screen / "clear.h5ad", screen / "results", settings=settings)
    table = pl.read_csv(screen / "results/baselines.csv")
    one, other = (table.filter(pl.col("map") == name) for name in ("spectra", "turned"))
    assert one.drop("map").equals(other.drop("map"))


def test_another_baseline_is_another_result(screen):
    settings = settings_of(screen, "spectra", resamples=5)
    benchmark(screen / "clear.h5ad", screen / "results", settings=settings)
    write_map(screen / "spectra.h5ad", draw(2.0, 1))
    with pytest.raises(ValueError, match="another source: baseline spectra"):
        benchmark(screen / "clear.h5ad", screen / "results", settings=settings)


def test_one_source_stands_for_itself_and_a_trained_baseline_is_no_bar(screen, capsys):
    write_map(screen / "trained-other.h5ad", draw(0.1, 5))
    settings = BenchmarkSettings(
        screen / "known/even.csv",
        baseline=(f"trained-other={screen}/trained-other.h5ad",),
        resamples=50,
    )
    benchmark(screen / "clear.h5ad", screen / "results", settings=settings)
    table = pl.read_csv(screen / "results/baselines.csv")
    assert table["source"].unique().to_list() == ["even"]
    assert capsys.readouterr().out.splitlines()[-1] == (
        "what was learned is unknown: no baseline without learning was given"
    )


def test_maps_of_baselines_of_questions_are_read_when_their_turn_comes(screen):
    genes = read_map(screen / "clear.h5ad")
    path = screen / "spectra.h5ad"
    baseline = open_baseline_map("spectra", path, genes, screen / "clear.h5ad")
    assert np.array_equal(baseline.read().features, draw(1.0, 7).astype(np.float32))
    path.unlink()
    with pytest.raises(ValueError, match=r"spectra\.h5ad is not a map"):
        baseline.read()


def test_kinds_of_names():
    assert kind_of("random-layer") == "untrained"
    assert kind_of("cellprofiler") == "hand-made"
    assert kind_of("trained-dino") == "trained"
    kinds = {"some.h5ad": "", "trained-dino": "trained", "count": "count", "shuffled": "shuffled"}
    assert without_learning(kinds) == ["count", "shuffled"]
    names = ["random-network", "intensity", "count", "position"]
    assert missing_kinds(names, shuffled=True) == {}
    assert missing_kinds(names[1:], shuffled=False) == {
        "untrained": ["random-network", "random-network-spread", "random-layer"],
        "shuffled": ["shuffle"],
    }


def test_other_names_are_said_to_count_as_hand_made(screen, capsys):
    names = ("openphenom", "cellprofiler", "trained-other", "count")
    for name in names[:3]:
        write_map(screen / f"{name}.h5ad", draw(1.0, 7))
    settings = settings_of(screen, *names, resamples=5)
    benchmark(screen / "clear.h5ad", screen / "results", settings=settings)
    lines = [line for line in capsys.readouterr().err.splitlines() if "hand-made" in line]
    assert lines == [
        "baseline openphenom counts as hand-made features: name it trained-openphenom if it was "
        "trained"
    ]


def test_a_map_as_good_as_its_baselines_has_learned_seldom():
    # The interval is above 0 by chance in 2.5 % of screens, and less as the best of two is the bar.
    settings, learned = BenchmarkSettings("x", resamples=199), 0
    for screen in range(150):
        maps = [
            ConsensusProfiles(GENES, draw(1.5, [screen, number]), pl.DataFrame(), "")
            for number in range(3)
        ]
        known = {"s": PAIRS}
        tables = measure(maps[0], known, [(0.05, 0.95)], settings, {"a": maps[1], "b": maps[2]})
        (found,) = find_learned(tables["baselines.csv"], ["a", "b"])
        learned += found["learned"]
    assert learned / 150 <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / 150)


def learned_from(*differences: tuple[float | None, float | None, float | None]) -> list[dict]:
    rows = [
        ("s", 0.05, 0.95, f"m{number}", 0.5 - 0.1 * number, 0.0, 1.0, *numbers)
        for number, numbers in enumerate(differences)
    ]
    columns = ["source", "low", "high", "map", "recall", "ci_low", "ci_high"]
    columns += ["difference", "difference_ci_low", "difference_ci_high"]
    return find_learned(pl.DataFrame(rows, columns, orient="row"), ["m0", "m1"])


def test_the_line_says_by_how_much():
    (found,) = learned_from((0.07, 0.02, 0.12), (0.2, 0.1, 0.3))
    assert found["line"] == (
        "learned: +.07 (.02 to .12) over the best feature without learning (m0)"
    )
    (found,) = learned_from((0.012, 0.0021, 0.02))
    assert "+.0120 (.0021 to .0200)" in found["line"]
    (found,) = learned_from((0.01, -0.02, 0.04))
    assert (found["line"], found["learned"]) == (
        "nothing was learned beyond m0: +.01 (-.02 to .04)",
        False,
    )
    (found,) = learned_from((0.01, -0.001, 0.02))
    assert found["line"].endswith("m0: +.01 (.00 to .02)")
    (found,) = learned_from((-0.001, -0.002, 0.0))
    assert found["line"].endswith("m0: -.0010 (-.0020 to .0000)")
    (found,) = learned_from((10.5, 0.25, 20.05))  # of odds ratios
    assert "+10.50 (.25 to 20.05)" in found["line"]
    (found,) = learned_from((0.01, None, None))
    assert found["line"] == "nothing was learned beyond m0: the difference has no interval"


@pytest.mark.parametrize(
    ("baseline", "sentence"),
    [
        (("spectra",), "baseline must be NAME=MAP, like spectra=spectra.h5ad, not spectra"),
        (("a=clear.h5ad", "a=count.h5ad"), "baseline a is repeated: give every baseline its own"),
        (("shuffled=clear.h5ad",), "baseline shuffled is the name of another row of the table"),
        (
            ("few=few.h5ad",),
            r"baseline few \(.*few.h5ad\) has other genes than .*clear.h5ad: it lacks 2, like G58 "
            "and it has 1 more, like X; make both maps from the same wells",
        ),
        (("none=none.h5ad",), "none.h5ad is not a map: there is no file of that name"),
        (("zero=zero.h5ad",), "zero.h5ad has rows that are NaN, infinite or all 0"),
    ],
)
def test_baselines_that_will_not_do(screen, monkeypatch, baseline, sentence):
    monkeypatch.chdir(screen)
    write_map(screen / "few.h5ad", draw(1.0, 0)[:59], [*GENES[:58], "X"])
    write_map(screen / "zero.h5ad", np.zeros((60, 2)))
    with pytest.raises(ValueError, match=sentence):
        benchmark(
            screen / "clear.h5ad",
            screen / "results",
            settings=BenchmarkSettings(screen / "known", baseline=baseline),
        )
    assert not list(screen.glob("results*"))


def test_differences_need_resamples(screen):
    with pytest.raises(ValueError, match="baseline needs resamples of at least 1"):
        settings_of(screen, "spectra", resamples=0)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"missing": 1, "line": "a"}', '{"missing": {}, "line": 1}'],
)
def test_a_damaged_verdict_is_to_be_made_again(screen, text):
    settings = settings_of(screen, "spectra", resamples=5)
    benchmark(screen / "clear.h5ad", screen / "results", settings=settings)
    (screen / "results/learned.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"learned.json is missing or damaged: make .*results again"
    ):
        read_learned(screen / "results")


def test_a_table_of_an_earlier_version_is_to_be_made_again(screen):
    benchmark(screen / "clear.h5ad", screen / "results", settings=settings_of(screen, "spectra"))
    table = screen / "results/baselines.csv"
    table.write_text(table.read_text().replace("these features", "this map"))
    with pytest.raises(
        ValueError, match=r"baselines\.csv has no row called these features, so it "
    ):
        read_baselines(screen / "results")


@pytest.mark.parametrize("text", ["{}", '{"missing": {}, "learned": []}'])
def test_a_verdict_of_an_earlier_version_is_to_be_made_again(tmp_path, text):
    (tmp_path / "learned.json").write_text(text)
    with pytest.raises(ValueError, match=r"learned\.json was made by an earlier version"):
        read_learned(tmp_path)
