"""The command `compare`: maps side by side, runs side by side, and what it refuses."""

import json
from pathlib import Path

import polars as pl
import pytest

from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.reporting.compare import CompareSettings, compare
from phenomae.reporting.evidence.training_flops import read_compute
from phenomae.runs import append_log, finish_run, run_folder
from phenomae.signatures import Origin

FIGURES = {"recall", "curve"}


def make_run(folder: Path, flops_per_step: float | None = 1e9, shift: float = 0.0) -> Path:
    """A finished run's log of ten steps."""
    origin = Origin("run", {"shift": shift})
    with run_folder(folder, origin, "pretrain vit-mae"):
        append_log(folder, step=0, validation_loss=1.0)
        for step in range(2, 11, 2):
            told = {"flops": step * flops_per_step} if flops_per_step else {}
            append_log(folder, step=step, loss=1 / step + shift, **told)
        append_log(folder, step=5, recall=0.2 + shift, recall_chance=0.1)
        append_log(folder, step=10, validation_loss=0.2 + shift)
        finish_run(folder, origin, origin.identity)
    return folder


def figures(out: Path) -> set[str]:
    return {path.stem for path in (out / "figures").iterdir()}


@pytest.fixture
def maps(screen) -> list[str]:
    """Two maps of one screen, as words of the command line."""
    noisy = screen.map.with_name("noisy.h5ad")
    return [str(screen.map), f"noisier={noisy}"]


def test_maps_side_by_side(screen, maps, tmp_path, capsys):
    runs = [make_run(tmp_path / "long"), make_run(tmp_path / "short", 1e8)]
    settings = CompareSettings(
        screen.annotations, run=(f"good={runs[0]}", f"noisier = {runs[1]}"), resamples=100
    )
    compare(*maps, str(tmp_path / "out"), settings=settings)
    recall = pl.read_csv(tmp_path / "out" / "recall.csv")
    own = pl.read_csv(screen.results / "recall.csv").filter(pl.col("low") == 0.05)
    good = recall.filter(pl.col("map") == "good")
    assert good["recall"].to_list() == own["recall"].to_list()
    differences = pl.read_csv(tmp_path / "out" / "differences.csv")
    assert differences["map"].unique().to_list() == ["noisier"]
    assert (differences["difference"] < 0).all()
    assert figures(tmp_path / "out") == FIGURES | {"flops"}
    drawn = (tmp_path / "out" / "figures" / "flops.svg").read_text()
    assert "1e+09" in drawn  # FLOPs of ten steps, and of the shorter run's
    assert "1e+10" in drawn
    assert "$" not in drawn
    printed = capsys.readouterr().out
    assert "noisier" in printed
    first = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    compare(*maps, str(tmp_path / "out"), settings=settings)
    again = capsys.readouterr()
    assert "already there" in again.err
    assert again.out == printed
    compare(*maps, str(tmp_path / "out"), settings=settings, overwrite=True)
    assert all(path.read_bytes() == content for path, content in first.items())


def test_one_trained_map_beside_features_without_learning(screen, tmp_path, capsys, resign):
    noisy = screen.map.with_name("noisy.h5ad")
    given = [f"spectra={noisy}", f"trained={screen.map}"]
    settings = CompareSettings(screen.annotations, resamples=100)
    compare(*given, str(tmp_path / "out"), settings=settings)
    printed = capsys.readouterr().out.splitlines()
    missing = "untrained (random-network or random-network-spread or random-layer), count (count)"
    assert printed[-2] == f"missing baselines: {missing}, position (position)"
    # The same resamples of the same pairs as those of benchmark.
    beside = BenchmarkSettings(screen.annotations, baseline=(f"spectra={noisy}",), resamples=100)
    benchmark(screen.map, tmp_path / "results", settings=beside)
    assert printed[-1] == capsys.readouterr().out.splitlines()[-1]
    assert printed[-1].startswith("learned: +.")
    found = json.loads((tmp_path / "out/learned.json").read_text())
    assert found["kinds"] == {"spectra": "hand-made", "trained": "trained"}
    assert [one["map"] for one in found["learned"]] == ["trained"] * 3
    compare(*given, str(tmp_path / "out"), settings=settings)
    assert capsys.readouterr().out.splitlines() == printed
    (tmp_path / "out/learned.csv").write_text("source\n")
    resign(tmp_path / "out")
    with pytest.raises(ValueError, match=r"learned.csv is missing or damaged: .* make .*out again"):
        compare(*given, str(tmp_path / "out"), settings=settings)


@pytest.mark.parametrize(
    ("names", "last"),
    [
        (("mine", "count"), "what was learned is unknown: name the map of a trained network train"),
        (("trained-a", "trained-b", "count"), "missing baselines: untrained"),
        (("tvn", "harmony"), "complexes"),
    ],
)
def test_what_is_said_where_there_is_not_one_trained_map(screen, tmp_path, capsys, names, last):
    given = [f"{name}={screen.map}" for name in names]
    compare(
        *given, str(tmp_path / "out"), settings=CompareSettings(screen.annotations, resamples=9)
    )
    printed = capsys.readouterr()
    # Without a trained map, other names are no baselines.
    assert "counts as hand-made" not in printed.err
    assert printed.out.splitlines()[-1 if last != "complexes" else -2].startswith(last)
    assert (tmp_path / "out/learned.csv").exists() == ("count" in names)


def test_runs_side_by_side(tmp_path, capsys):
    runs = [str(make_run(tmp_path / "a")), f"b={make_run(tmp_path / 'other', 1e10, shift=0.1)}"]
    compare(*runs, str(tmp_path / "out"))
    table = pl.read_csv(tmp_path / "out" / "runs.csv")
    assert table.columns == ["run", "step", "flops", "loss", "validation_loss", "recall"]
    b = table.filter(pl.col("run") == "b")
    # Recall was logged at step 5, between two lines with FLOPs; each step took 1e10.
    assert b.filter(pl.col("recall").is_not_null()).select("step", "flops", "recall").rows() == [
        (5, 5e10, pytest.approx(0.3))
    ]
    assert b["flops"].to_list() == [1e10 * step for step in (0, 2, 4, 5, 6, 8, 10)]
    assert figures(tmp_path / "out") == {"runs"}
    assert "1.000e+11" in capsys.readouterr().out


def test_only_genes_of_all_maps_are_asked(screen, maps, tmp_path, capsys):
    from anndata import read_h5ad

    part = read_h5ad(screen.map)[:20].copy()
    del part.uns["phenomae"]  # else it would be refused as an edited map
    part.write_h5ad(tmp_path / "part.h5ad")
    out = tmp_path / "out"
    settings = CompareSettings(screen.annotations, resamples=20)
    compare(*maps, str(tmp_path / "part.h5ad"), str(out), settings=settings)
    assert "the 20 names that all maps have" in capsys.readouterr().err
    assert pl.read_csv(out / "recall.csv")["n_genes"].max() == 20


def test_maps_that_share_too_few_genes_are_not_compared(screen, tmp_path):
    from anndata import read_h5ad

    whole = read_h5ad(screen.map)
    del whole.uns["phenomae"]
    for name, rows in (("first", slice(0, 24)), ("second", slice(18, 40))):
        whole[rows].copy().write_h5ad(tmp_path / f"{name}.h5ad")
    given = [str(tmp_path / f"{name}.h5ad") for name in ("first", "second")]
    # Six genes make 15 pairs, of which 5 % are none.
    with pytest.raises(
        ValueError, match=r"in common has 6 genes, too few: 5 % of all pairs \(15\) is less"
    ):
        compare(*given, str(tmp_path / "out"), settings=CompareSettings(screen.annotations))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("words", "settings", "sentence"),
    [
        (["{map}"], {}, "there is nothing to compare .* with: compare A B OUT"),
        (["{map}", "{map}"], {}, "two inputs are called good"),
        (["{map}", "={map}"], {}, "is not a map or a run: expected PATH or NAME=PATH"),
        (["{map}", "{run}"], {}, "maps .* and runs cannot be compared with each other"),
        (["{map}", "b={map}"], {}, "by the recall of known pairs: give annotations"),
        (["{run}", "b={old}"], {}, "old has no FLOPs in its log"),
        (["{run}", "b=nowhere"], {}, "nowhere holds no run"),
        (["{map}", "b={map}"], {"run": ("c=x",)}, "NAME one of good, b, not c=x"),
        (["{run}", "b={old}"], {"low": 0.1}, "are for maps: leave them out, because runs"),
        (["{map}", "b={map}"], {"low": 0.9, "high": 0.1}, "with 0 <= low <= high <= 1"),
        (["{map}", "b={map}"], {"resamples": 0}, "resamples must be at least 1, not 0"),
        (["{map}", "b={map}"], {"seed": -1}, "seed must be at least 0, not -1"),
        (["{map}", "b={alien}"], {}, "have 0 names in common"),
    ],
)
def test_what_cannot_be_compared(screen, tmp_path, words, settings, sentence):
    from anndata import read_h5ad

    alien = read_h5ad(screen.map)
    alien.obs_names = [f"other {name}" for name in alien.obs_names]
    del alien.uns["phenomae"]
    alien.write_h5ad(tmp_path / "alien.h5ad")
    places = {
        "map": screen.map,
        "run": make_run(tmp_path / "run"),
        "old": make_run(tmp_path / "old", flops_per_step=None),
        "alien": tmp_path / "alien.h5ad",
    }
    if settings:
        settings["annotations"] = screen.annotations
    if "names in common" in sentence:
        settings = {"annotations": screen.annotations}
    given = [word.format(**places) for word in words]
    with pytest.raises(ValueError, match=sentence):
        compare(*given, str(tmp_path / "out"), settings=CompareSettings(**settings))
    assert not list(tmp_path.glob("out*"))


def test_the_last_word_is_no_map(screen, tmp_path):
    third = tmp_path / "third.h5ad"
    with pytest.raises(ValueError, match=r"third.h5ad has the name of a map, but the last arg"):
        compare(f"a={screen.map}", f"b={screen.map}", str(third))
    assert not third.exists()


def test_an_unfinished_run_is_not_compared(tmp_path):
    with run_folder(tmp_path / "run", Origin("run", {}), "pretrain vit-mae"):
        pass
    with pytest.raises(
        ValueError, match="run is unfinished: run the command that makes it again to go on"
    ):
        read_compute(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "artefact.json").read_text())["identity"] is None
