"""A question needs one module and one entry of the table: a toy one runs from the command line."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae.cli import run
from phenomae.evaluation.questions.question import load_question
from phenomae.evaluation.questions.signal import SignalSettings
from phenomae.evaluation.questions.table import QUESTIONS, ask_commands
from phenomae.evaluation.results import Results
from phenomae.reporting import ask
from phenomae.wells import write_wells

TOY = '''
from dataclasses import dataclass

import polars as pl
from cyclopts import Parameter
from matplotlib.figure import Figure as Canvas

from phenomae import checks
from phenomae.evaluation.questions.question import Figure, Question, takes_wells
from phenomae.reporting.figures.style import Drawing


@Parameter(name="*")
@dataclass(frozen=True)
class ToySettings:
    """What is counted."""

    times: int = 1
    """Multiply the count by this."""

    def __post_init__(self):
        checks.at_least("times", self.times, 1)


def count(profiles, path, settings):
    return {"toy.csv": pl.DataFrame({"wells": [len(profiles.table) * settings.times]})}


def draw(tables, profiles, settings):
    canvas = Canvas()
    canvas.subplots().bar(["wells"], tables["toy.csv"]["wells"])
    return Drawing(canvas, "One bar.")


QUESTION = Question(
    name="toy",
    help="""Count the wells.

    Writes toy.csv.
    """,
    takes=(takes_wells(),),
    settings=ToySettings,
    tables=count,
    printed="toy.csv",
    figure=Figure("toy", draw),
)
'''
REGISTER = """
import sys
sys.path.insert(0, {folder!r})
from phenomae.evaluation.questions.table import QUESTIONS
QUESTIONS["toy"] = ("toy_question:QUESTION", "How many wells are there?")
"""


@pytest.fixture
def wells(tmp_path: Path) -> Path:
    """Six wells of one plate, two of them controls."""
    table = pl.DataFrame(
        {
            "plate": ["P1"] * 6,
            "well": [f"A{row:02d}" for row in range(1, 7)],
            "perturbation": [*"aabbnn"],
            "control": [False] * 4 + [True] * 2,
            **{f"f{k}": np.random.default_rng(k).normal(size=6) for k in range(3)},
        }
    )
    write_wells(tmp_path / "wells", table, ["f0", "f1", "f2"])
    return tmp_path / "wells"


@pytest.fixture
def run_toy(fork: Callable, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs a command line in a process where the toy question is registered."""
    (tmp_path / "toy_question.py").write_text(TOY)
    before = REGISTER.format(folder=str(tmp_path))
    return lambda *words: fork(words, before=before).wait()


def test_a_toy_question_runs_from_the_command_line(wells: Path, tmp_path: Path, run_toy: Callable):
    out = tmp_path / "out"
    done = run_toy("ask", "toy", str(wells), str(out), "--times", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["wells", "12"]
    assert (out / "toy.csv").read_text() == "wells\n12\n"
    assert (out / "figures" / "toy.png").stat().st_size > 0
    assert json.loads((out / "artefact.json").read_text())["settings"] == {
        "question": "toy",
        "times": 2,
    }


def test_a_toy_question_is_listed_described_and_checked(
    wells: Path, tmp_path: Path, run_toy: Callable
):
    assert "How many wells are there?" in run_toy("ask", "--help").stdout
    described = run_toy("ask", "toy", "--help").stdout
    assert "WELLS OUT" in described
    assert "Multiply the count by this." in described
    wrong = run_toy("ask", "toy", str(wells), str(tmp_path / "out"), "--times", "0")
    assert "times must be at least 1, not 0" in wrong.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_entry_of_the_table_is_a_question_with_a_function(name: str):
    question, function = load_question(name), getattr(ask, f"ask_{name}")
    assert question.name == name
    assert ask_commands()[name][0] == f"phenomae.reporting.ask:ask_{name}"
    assert function.__name__ == f"ask_{name}"
    parameters = inspect.signature(function).parameters
    takes_baselines = ["baseline"] * (question.score is not None)
    last = ["out", "settings", *takes_baselines, "overwrite"]
    assert [*parameters][-len(last) :] == last
    assert parameters["settings"].annotation is question.settings
    assert all(
        f"\n{parameter}\n" in function.__doc__
        for parameter in parameters
        if parameter != "settings"
    )
    assert f"ask_{name}" in dir(ask)


def test_the_table_is_read_without_numpy_or_polars():
    words = (
        "import sys, phenomae.evaluation.questions.table; "
        "print({'numpy', 'scipy', 'polars', 'cyclopts'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert found.stdout.strip() == "set()", found.stderr


def test_there_is_no_function_of_an_unknown_question():
    with pytest.raises(AttributeError, match="has no attribute 'ask_nothing'"):
        ask.ask_nothing  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'signal'"):
        ask.signal  # noqa: B018


def test_a_function_takes_text_and_returns_what_it_made(wells: Path, tmp_path: Path):
    settings, out = SignalSettings(min_wells=2, draws=2, unexpressed=str(tmp_path / "names")), "out"
    (tmp_path / "names").write_text("b\n")
    made = ask.ask_signal(str(wells), str(tmp_path / out), settings=settings)
    assert made == Results(tmp_path / out)
    assert made.tables == ["active", "signal"]
    assert made.to_polars("signal")["perturbation"].to_list() == ["a", "b"]
    assert made.to_pandas("active")["measure"].to_list() == ["consistency", "magnitude"]
    assert ask.ask_signal(wells, made, settings=settings) == made
    with pytest.raises(TypeError, match="ask_signal takes wells, out, not 1 paths"):
        ask.ask_signal(wells)
    (tmp_path / "names").unlink()
    with pytest.raises(ValueError, match=r"names: there is no such file \(unexpressed\)"):
        ask.ask_signal(wells, tmp_path / "other", settings=settings)


def test_an_answer_with_settings_under_their_old_names_is_the_same_work(
    wells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], resign: Callable[..., None]
):
    (tmp_path / "names").write_text("b\n")
    words = f"ask signal {wells} {tmp_path}/out --min-wells 2 --unexpressed {tmp_path}/names"
    assert run(words.split()) == 0
    recorded = json.loads((tmp_path / "out" / "artefact.json").read_text())["settings"]
    for old, new in (("least_wells", "min_wells"), ("most_controls", "max_controls")):
        assert new in recorded
        recorded[old] = recorded.pop(new)
    resign(tmp_path / "out", settings=recorded)
    assert run(words.split()) == 0
    assert "already there" in capsys.readouterr().err
