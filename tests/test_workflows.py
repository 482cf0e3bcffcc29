"""The workflow of Snakemake: the demo's commands, stopped and started again, to the report.

Snakemake needs versions of packages other than those in constraints.txt, so that it has an
environment of its own: `make workflow-test`.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
import yaml
from packaging.requirements import Requirement

from phenomae import cli, command_parser
from phenomae.reporting.check import check

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / "workflows"
NETWORK = {"embed_dim": 24, "depth": 1, "decoder_embed_dim": 16, "decoder_depth": 1}
STEPS, CHECKPOINT = 60, 10
SMALL = {
    "program": f"{sys.executable} -m phenomae",
    "simulate": {
        "genes": 8,
        "complexes": 4,
        "guides": 1,
        "controls": 4,
        "sites": 1,
        "field_size": 64,
    },
    "pretrain": {
        "steps": STEPS,
        "crops_per_step": 4,
        "log_every": 1,
        "checkpoint_every": CHECKPOINT,
        **NETWORK,
    },
    "means": "0:24",
    "correction": "pca-center-scale",
    "baselines": ["random-network", "intensity"],
    "shuffle": 0,
}


@pytest.fixture
def snakemake() -> list[str]:
    """The words that start the workflow with two cores."""
    program = shutil.which("snakemake")
    if program is None:
        pytest.skip("needs snakemake on PATH (make workflow-test)")
    return [program, "--snakefile", str(WORKFLOWS / "Snakefile"), "--cores", "2"]


def run(words: Sequence[str], cwd: Path) -> str:
    """Run Snakemake; return what it has printed."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stderr + done.stdout


def commands_of(printed: str) -> set[str]:
    """Return the commands of a dry run without what only shares work: shards and threads."""
    lines = [line.strip() for line in printed.splitlines()]
    commands = [line for line in lines if line.startswith("phenomae ")]
    bare = [re.sub(r" --(shard \d+/\d+|threads \d+)", "", line) for line in commands]
    return {shlex.join(shlex.split(line)[1:]) for line in bare}


def test_the_commands_are_those_of_the_demo(snakemake, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    import demo

    expected = {shlex.join(shlex.split(step)) for step in demo.list_steps(Path("at"), 3)}
    words = [*snakemake, "--dry-run", "--printshellcmds", "--config", "folder=at", "seed=3"]
    printed = run([*words, "shards=3"], tmp_path)
    found = commands_of(printed)
    assert {shlex.join(sorted(shlex.split(step))) for step in found} == {
        shlex.join(sorted(shlex.split(step))) for step in expected
    }
    for output in ("store", "wells-trained", "wells-random"):
        shards = set(re.findall(rf"at/{output} .*--shard (\S+)", printed))
        assert shards == {"1/3", "2/3", "3/3", "1/1"}
    assert "--shard 1/3" not in run([*words, "shards=1"], tmp_path)


def test_a_folder_with_blanks_and_brackets_is_one_word(snakemake, tmp_path):
    words = [*snakemake, "--dry-run", "--printshellcmds", "--config", "folder=my screen (1)"]
    commands = [shlex.split(command) for command in commands_of(run(words, tmp_path))]
    assert {words[1] for words in commands if words[0] == "simulate"} == {"my screen (1)/raw"}
    assert {words[2] for words in commands if words[0] == "ingest"} == {"my screen (1)/store"}


@pytest.mark.slow
def test_stopped_in_the_training_it_goes_on_to_the_report_and_is_then_done(snakemake, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    words = [*snakemake, "--configfile", "small.yaml", "--"]
    folder = tmp_path / "demo"
    log = folder / "run/log.jsonl"
    before = stop_in_training([*words, "demo/done/run.json"], log)
    assert not (folder / "done/run.json").exists()

    run(words, tmp_path)
    # Lines have clocks: the same line is the same step, which was not taken twice.
    after = log.read_text().splitlines()
    assert after[: CHECKPOINT + 1] == before[: CHECKPOINT + 1]
    assert json.loads(after[-1])["step"] == STEPS
    found = check(folder / "report")
    # The network at random is known by its seed and the run, and is no output.
    assert found.filter(state="not found here")["output"].to_list() == ["run"]
    made = found.filter(pl.col("output").str.starts_with(str(folder)))
    assert set(made["state"]) == {"complete"}
    assert {"report", "run", "store"} < {Path(output).name for output in made["output"]}
    assert "Nothing to be done" in run(words, tmp_path)

    # Forced, everything is found done: Snakemake has deleted nothing that phenomae has made.
    times = times_of(folder)
    run([*words[:-1], "--forceall", "--", "demo/done/run.json"], tmp_path)
    assert times_of(folder) == times
    # A copy that is the same again brings no other work with it.
    assert "Nothing to be done" in run(words, tmp_path)


def stop_in_training(words: Sequence[str], log: Path) -> list[str]:
    """Interrupt all processes once a checkpoint is written, as Ctrl-C does; return the log."""
    with subprocess.Popen(
        words,
        cwd=log.parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 300
        while not (log.exists() and log.read_text().count("\n") >= CHECKPOINT + 5):
            assert process.poll() is None, "it ended before the training"
            assert time.monotonic() < deadline, "the training did not begin"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=120) != 0
    lines = log.read_text().splitlines()
    assert len(lines) < STEPS
    return lines


def times_of(folder: Path) -> dict[str, int]:
    """Return when the signatures were written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("*/artefact.json")}


def test_the_commands_of_nextflow_parse():
    """Nextflow is not run: only the commands are checked, with words for what it fills in."""
    text = (WORKFLOWS / "main.nf").read_text()
    commands = re.findall(r"^ +\$\{params\.program\} (.+)$", text, re.MULTILINE)
    filled = {
        "shard": "1",
        "params.shards": "2",
        "task.cpus": "2",
        "seed": "0",
        "params.seed": "0",
        "params.simulate": "--level real",
        "params.shuffle": "200",
        "kind": "spectra",
        "params.pretrain": "",
        "network_of(network)": "RUN",
        "correction_of(name)": "tvn",
        "others": "NAME=MAP",
        "params.recipe": "demo-energy-mae",
    }
    names = []
    for command in commands:
        line = re.sub(r"\$\{([^}]+)\}", lambda match: filled.get(match[1], "X"), command)
        tokens, _, _ = cli.split_common_flags(shlex.split(line))
        command_parser.parse(tokens, None)
        names.append(tokens[0])
    both = ["ingest", "embed"]  # shards, and the task that follows them
    others = ["simulate", "pretrain", "features", "correct", "map", "benchmark", "report"]
    assert sorted(names) == sorted([*both, *both, *others])


def test_the_version_of_snakemake_is_pinned():
    (line,) = (WORKFLOWS / "requirements.txt").read_text().split()
    requirement = Requirement(line)
    assert requirement.name == "snakemake"
    assert str(requirement.specifier).startswith("==")
