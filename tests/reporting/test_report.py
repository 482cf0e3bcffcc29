"""The command `report`: the same bytes each time, whole or absent, and when it refuses."""

import shutil
import signal
import time
from pathlib import Path

import anndata
import matplotlib
import numpy as np
import pytest

from phenomae.cli import run
from phenomae.reporting.report import ReportSettings, report
from phenomae.reporting.sections import table
from phenomae.runs import run_folder
from phenomae.signatures import Origin, hash_files, sign


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def arguments(settings: ReportSettings, out: Path) -> list[str]:
    words = ["report", str(out), "--run", str(settings.run), "--results", str(settings.results)]
    words += ["--map", str(settings.map), "--title", settings.title, "--baseline"]
    return [*words, *settings.baseline]


def test_the_same_inputs_are_the_same_bytes_whatever_a_persons_style(everything, whole, tmp_path):
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": True}):
        report(tmp_path / "again", settings=everything)
    assert contents(tmp_path / "again") == contents(whole)


def test_killed_and_repeated_it_is_the_same_report(everything, whole, tmp_path, fork):
    process = fork(arguments(everything, tmp_path / "out"))
    begun = tmp_path / "out.partial" / "figures" / "recall.png"
    deadline = time.monotonic() + 60
    while process.poll() is None and not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait().returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    (begun.parent / "curve.svg.partial").write_bytes(b"half of it")
    report(tmp_path / "out", settings=everything)
    assert contents(tmp_path / "out") == contents(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_it_is_made_once_and_other_work_is_told_apart(screen, new_run, tmp_path, capsys):
    out, settings = tmp_path / "out", ReportSettings(results=screen.results)
    report(out, settings=settings)
    before = contents(out)
    report(out, settings=settings)
    assert "already there" in capsys.readouterr().err
    assert contents(out) == before
    for other, sentence in (
        ({"title": "another"}, "another setting: title = 'phenomae report', now 'another'"),
        ({"baseline": (f"noisy={screen.baseline}",)}, "another setting: baselines"),
        ({"map": screen.map}, "another source: map = None"),
        ({"run": new_run()}, "another source: run = None"),
    ):
        with pytest.raises(ValueError, match=sentence):
            report(out, settings=ReportSettings(results=screen.results, **other))
    assert contents(out) == before
    report(out, settings=ReportSettings(results=screen.results, title="another"), overwrite=True)
    assert "<h1>another</h1>" in (out / "report.html").read_text()


def test_the_command_takes_flags_and_a_recipe(everything, screen, whole, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'[report]\nrun = "{screen.run}"\nmap = "{screen.map}"\n'
        f'baseline = ["noisy map={screen.baseline}"]\n'
        f'results = "{screen.results}"\ntitle = "{everything.title}"\n'
    )
    out = tmp_path / "out"
    assert run(["report", str(out), "--config", str(recipe)]) == 0
    assert "out/report.html in a browser" in capsys.readouterr().err
    assert contents(out) == contents(whole)
    assert run(["report", str(tmp_path / "none")]) == 1
    said = capsys.readouterr().err
    assert said == "phenomae: there is nothing to show: give run, results or map\n"


TOY = """
from phenomae.reporting.sections.section import Row, Section, Table

SECTION = Section(
    "toy",
    link="Toy",
    heading="A toy section",
    needs=lambda evidence: evidence.results is not None,
    text=lambda evidence: "It counts the sources & says so.",
    table=lambda evidence: Table(
        "Toy", ["what", "how many"], [("", [Row(["sources", str(len(evidence.measured.main))])])]
    ),
)
"""


def test_a_section_is_one_module_and_one_line(screen, tmp_path, monkeypatch):
    (tmp_path / "toy_section.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(table, "SECTIONS", ["toy_section:SECTION", *table.SECTIONS])
    assert run(["report", str(tmp_path / "out"), "--results", str(screen.results)]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<a href="#toy">Toy</a>' in page
    assert '<section id="toy">' in page
    assert "It counts the sources &amp; says so." in page
    assert '<th scope="row">sources</th>\n        <td data-column="how many">2</td>' in page
    assert page.index("A toy section") < page.index("Comparison with baselines</h2>")
    assert run(["report", str(tmp_path / "without"), "--run", str(screen.run)]) == 0
    assert "toy" not in (tmp_path / "without" / "report.html").read_text()


def test_it_returns_what_it_made_also_when_it_was_there(everything, whole):
    made = report(str(whole), settings=everything)
    assert repr(made) == f"Report('{whole}')"
    assert made.page == whole / "report.html"
    assert made.page.exists()


@pytest.mark.parametrize(
    ("baselines", "sentence"),
    [
        (["intensity"], "baseline must be NAME=RESULTS, like .*, not intensity$"),
        (["=folder"], "baseline must be NAME=RESULTS, like .*, not =folder$"),
        (["intensity="], "baseline must be NAME=RESULTS, like .*, not intensity=$"),
        (["a=one", "a=two"], "baseline a is repeated"),
        (["these features=one"], "is the name of another row of the table"),
        (["shuffled=one"], "is the name of another row of the table"),
        (["a=absent"], "absent holds no results: there is nothing of that name"),
    ],
)
def test_baselines_that_will_not_do(screen, tmp_path, baselines, sentence):
    with pytest.raises(ValueError, match=sentence):
        report(
            tmp_path / "out",
            settings=ReportSettings(results=screen.results, baseline=tuple(baselines)),
        )
    assert not list(tmp_path.iterdir())


def test_baselines_need_results_to_compare_with(screen):
    with pytest.raises(ValueError, match="baseline needs results to compare with"):
        ReportSettings(map=screen.map, baseline=(f"noisy={screen.baseline}",))


def test_a_report_does_not_swallow_what_it_shows(screen, tmp_path):
    copy = shutil.copytree(screen.results, tmp_path / "results")
    for out in (copy, copy.parent):
        with pytest.raises(
            ValueError,
            match=r"cannot be the folder of the report, because it contains the input .*results",
        ):
            report(out, settings=ReportSettings(results=copy), overwrite=True)
    assert contents(copy) == contents(screen.results)


def test_a_map_and_the_results_of_another_are_not_shown_together(screen, tmp_path):
    settings = ReportSettings(map=screen.map, results=screen.baseline)
    with pytest.raises(ValueError, match=r"are results of another map, not of .*good\.h5ad"):
        report(tmp_path / "out", settings=settings)


def test_runs_that_are_none(screen, tmp_path):
    def refuse(folder: Path, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            report(tmp_path / "out", settings=ReportSettings(run=folder))
        assert not list(tmp_path.glob("out*"))

    refuse(tmp_path / "absent", "absent holds no run: there is nothing of that name")
    refuse(screen.results, "holds results, not run")
    with run_folder(tmp_path / "begun", Origin("run"), "pretrain vit-mae"):
        pass
    refuse(tmp_path / "begun", "begun is unfinished: run the command that makes it again to")


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ("", "log.jsonl has no line with a finite loss"),
        ('{"step": 20, "lr": 0.1}\n', "no line with a finite loss"),
        ('{"step": 20, "loss": NaN}\n', "no line with a finite loss"),
        ('{"loss": 1.0}\n', "log.jsonl is damaged: expected one JSON object per line"),
        ('{"step": 20, "loss": "low"}\n', "log.jsonl is damaged"),
        ("7\n", "log.jsonl is damaged"),
    ],
)
def test_logs_that_will_not_do(new_run, tmp_path, log, sentence, resign):
    folder = new_run()
    (folder / "log.jsonl").write_text(log)
    resign(folder)
    with pytest.raises(ValueError, match=sentence):
        report(tmp_path / "out", settings=ReportSettings(run=folder))


def test_runs_without_anything_to_show(new_run, tmp_path, resign):
    folder = new_run(log=False, picture=False)
    with pytest.raises(ValueError, match="has nothing to show"):
        report(tmp_path / "out", settings=ReportSettings(run=folder))
    (folder / "reconstructions.png").write_bytes(b"GIF89a")
    resign(folder, files=hash_files(folder))
    with pytest.raises(ValueError, match="expected the PNG that pretrain wrote"):
        report(tmp_path / "out", settings=ReportSettings(run=folder))


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("recall.csv", None, "results is damaged: recall.csv is missing; .* again with overwrite"),
        ("curve.csv", None, "results is damaged: curve.csv is missing; .* again with overwrite"),
        ("recall.csv", "", "recall.csv is missing or damaged"),
        ("recall.csv", "source,low\nx,0.05\n", "recall.csv lacks .* an earlier version"),
        ("shuffled.csv", "source,low,high,mean,sd,n\n", "shuffled.csv is missing or damaged"),
        (
            "shuffled.csv",
            "source,low,high,mean,sd,n\nx,y,z,1,1,1\n",
            "results again with overwrite",
        ),
    ],
)
def test_results_that_will_not_do(screen, tmp_path, file, content, sentence, resign):
    results = shutil.copytree(screen.results, tmp_path / "results")
    if content is None:
        (results / file).unlink()
    else:
        (results / file).write_text(content)
        resign(results)
    with pytest.raises(ValueError, match=sentence):
        report(tmp_path / "out", settings=ReportSettings(results=results))


def test_results_that_are_none(screen, tmp_path):
    with pytest.raises(ValueError, match="holds run, not results"):
        report(tmp_path / "out", settings=ReportSettings(results=screen.run))
    sign(tmp_path, Origin("results"), None, {})
    (tmp_path / "results.partial").mkdir()
    with pytest.raises(ValueError, match="it is unfinished; run the command that makes it again"):
        report(tmp_path / "out", settings=ReportSettings(results=tmp_path / "results"))


@pytest.mark.parametrize(
    ("features", "sentence"),
    [
        (np.ones((1, 3)), "has 1 row: at least two are needed"),
        (np.array([[1, 2], [0, 0], [3, 1]]), r"have no cosine: G1 \(1 in total\)"),
        (np.array([[1, np.nan], [1, 2], [np.inf, 1]]), r"have no cosine: G0, G2 \(2 in total\)"),
    ],
)
def test_maps_that_will_not_do(tmp_path, features, sentence):
    names = [f"G{row}" for row in range(len(features))]
    path = tmp_path / "map.h5ad"
    anndata.AnnData(features.astype(np.float32), obs={"obs_names": names}).write_h5ad(path)
    with pytest.raises(ValueError, match=sentence):
        report(tmp_path / "out", settings=ReportSettings(map=path))
    with pytest.raises(ValueError, match="there is no file of that name"):
        report(tmp_path / "out", settings=ReportSettings(map=tmp_path / "absent.h5ad"))
    assert [item.name for item in tmp_path.iterdir()] == ["map.h5ad"]


def test_a_map_that_something_else_made_is_shown(tmp_path):
    features = np.random.default_rng(0).normal(size=(250, 4))
    path = tmp_path / "map.h5ad"
    names = [f"G{row}" for row in range(250)]
    anndata.AnnData(features.astype(np.float32), obs={"obs_names": names}).write_h5ad(path)
    report(tmp_path / "out", settings=ReportSettings(map=path))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "not made by phenomae" in page
    assert "Cosines of 250 rows with 4 features" in page
    assert ">G0<" not in (tmp_path / "out" / "figures" / "similarity.svg").read_text()
