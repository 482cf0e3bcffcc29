"""SIGKILL at any moment: the same command, run again, leaves what an undisturbed one would have.

Most commands are killed by an audit hook, just before their n-th change of a file or folder near
the artefact, so that every state that Python code can leave on the disk is met, and met again each
time. What other threads and processes write (`ingest`, `simulate`) is caught from outside, when so
many files are there.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from phenomae import cli

COMMANDS = (
    "simulate",
    "ingest",
    "pretrain",
    "published",
    "imported",
    "embed",
    "qc",
    "features",
    "correct",
    "map",
    "benchmark",
)


@pytest.fixture
def killed_at(fork, kill_before_change) -> Callable[[int, list[str], Path], int | None]:
    """A function that runs a command that is killed before its change number `moment`.

    It returns None where the command was killed, else the number of its changes.
    """

    def run(moment: int, words: list[str], out: Path) -> int | None:
        before = kill_before_change(out, moment)
        done = fork(words, before=before, after="print(changes)").wait()
        if done.returncode == -signal.SIGKILL:
            return None
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split()[-1])

    return run


@pytest.fixture
def killed_when(fork) -> Callable[[Callable[[], bool], list[str]], bool]:
    """A function that starts a command and kills it and its children when `ready()`.

    It returns whether the command was still running.
    """

    def run(ready: Callable[[], bool], words: list[str]) -> bool:
        process = fork([*words, "--quiet"])
        wait_until(ready, process)
        with suppress(ProcessLookupError):  # it may end by itself just now
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait().returncode == -signal.SIGKILL

    return run


def wait_until(ready: Callable[[], bool], process: Any) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and not ready():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def finish(words: list[str], out: Path) -> None:
    """Run a command that writes `out`, two hours after an earlier call was killed.

    A half-written file beside an output of one file is kept for an hour, because a call that still
    runs may be writing it.
    """
    killed = time.time() - 7200
    for path in out.parent.glob(f"{out.name}.*.partial"):
        os.utime(path, (killed, killed))
    assert cli.run(["--quiet", *words]) == 0


def is_only(out: Path) -> bool:
    """Say whether nothing but the artefact is left in its folder."""
    return [path.name for path in out.parent.iterdir()] == [out.name]


def some_moments(changes: int) -> list[int]:
    """Return every moment of a command with few, and two dozen or so of one with many."""
    return sorted({*range(1, changes + 1, max(1, changes // 24)), changes})


@pytest.mark.parametrize(
    ("work", "moments"),
    [
        ("simulate", (3, 6)),
        ("ingest", (60, 120)),
        ("pretrain", (25,)),
        ("published", (3, 6)),
        ("imported", (3, 6)),
        ("embed", (6,)),
        ("qc", (5, 12)),
        ("features", (2, 7)),
        ("correct", (4, 9)),
        ("map", (1, 3)),
        ("benchmark", (8, 8)),
    ],
    indirect=["work"],
)
def test_killed_and_run_again_it_leaves_the_same_bytes(
    work, moments, tmp_path, contents, killed_at
):
    out = work.out(tmp_path)
    for moment in moments:
        assert killed_at(moment, work.words(out), out) is None
        assert work.name == "pretrain" or not out.exists()
    finish(work.words(out), out)
    assert contents(out) == contents(work.whole)
    assert is_only(out)


@pytest.mark.parametrize(
    ("work", "moment", "folder"),
    [("published", 9, "out.partial"), ("pretrain", 25, "out/checkpoints")],
    indirect=["work"],
)
def test_what_safetensors_had_begun_is_removed(work, moment, folder, tmp_path, contents, killed_at):
    """It writes into `.tmp` and six letters, which no audit hook of Python sees."""
    out = work.out(tmp_path)
    assert killed_at(moment, work.words(out), out) is None
    (tmp_path / folder / ".tmpk8WKv2").write_bytes(b"half of the weights")
    finish(work.words(out), out)
    assert contents(out) == contents(work.whole)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_while_it_writes_wells_and_tokens_it_leaves_the_same_bytes(
    works, step, tmp_path, contents, killed_at
):
    """One pass writes two folders: a plate or a whole folder may be there in one of them only."""

    def write(folder: Path) -> list[str]:
        return [*works["embed"].words(folder / "out"), "--tokens", str(folder / "out-tokens")]

    def find(folder: Path) -> list[dict[str, object]]:
        assert {path.name for path in folder.iterdir()} == {"out", "out-tokens"}
        return [contents(folder / name) for name in ("out", "out-tokens")]

    whole = tmp_path / "whole"
    whole.mkdir()
    changes = killed_at(0, write(whole), whole / "out")
    assert changes is not None
    assert contents(whole / "out") == contents(works["embed"].whole)
    for moment in range(step, changes + 1, step):
        folder = tmp_path / str(moment)
        folder.mkdir()
        assert killed_at(moment, write(folder), folder / "out") is None
        assert cli.run(["--quiet", *write(folder)]) == 0
        assert find(folder) == find(whole), moment


@pytest.mark.slow
@pytest.mark.parametrize("work", COMMANDS, indirect=True)
def test_killed_at_every_moment_it_leaves_the_same_bytes(work, tmp_path, contents, killed_at):
    changes = killed_at(0, work.words(work.out(tmp_path)), work.out(tmp_path))
    assert contents(work.out(tmp_path)) == contents(work.whole)
    assert changes is not None
    for moment in some_moments(changes):
        folder = tmp_path / str(moment)
        folder.mkdir()
        out = work.out(folder)
        assert killed_at(moment, work.words(out), out) is None
        finish(work.words(out), out)
        assert contents(out) == contents(work.whole), moment
        assert is_only(out), moment


@pytest.mark.slow
@pytest.mark.parametrize("work", COMMANDS, indirect=True)
def test_killed_after_any_time_it_leaves_the_same_bytes(
    work, tmp_path, contents, killed_at, killed_when
):
    rng = random.Random(work.name)
    begun = time.monotonic()
    killed_at(0, work.words(work.out(tmp_path)), work.out(tmp_path))
    usual_s = time.monotonic() - begun
    for number in range(6):
        folder = tmp_path / str(number)
        folder.mkdir()
        out = work.out(folder)
        for _ in range(3):
            end = time.monotonic() + rng.uniform(0.3, 1.0) * usual_s
            killed_when(lambda end=end: time.monotonic() > end, work.words(out))
        finish(work.words(out), out)
        assert contents(out) == contents(work.whole)
        assert is_only(out)


def test_killed_while_it_overwrites_nothing_is_lost(works, tmp_path, contents, killed_at):
    for name, moment in (("correct", 13), ("map", 2), ("benchmark", 14)):
        (tmp_path / name).mkdir()
        overwrite(works[name], works[name].out(tmp_path / name), contents, killed_at, [moment])


@pytest.mark.slow
@pytest.mark.parametrize("work", COMMANDS, indirect=True)
def test_killed_at_every_moment_while_it_overwrites(work, tmp_path, contents, killed_at):
    out = work.out(tmp_path)
    finish([*work.words(out), *work.other], out)
    changes = killed_at(0, [*work.words(out), "--overwrite"], out)
    assert changes is not None
    overwrite(work, out, contents, killed_at, some_moments(changes))


def overwrite(work, out: Path, contents: Callable, killed_at: Callable, moments: list[int]) -> None:
    """Kill `--overwrite` at some moments: the old or the new artefact is whole at each."""
    new_words = [*work.words(out), "--overwrite"]
    new = contents(work.whole)
    for moment in moments:
        finish([*work.words(out), *work.other, "--overwrite"], out)
        old = contents(out)
        assert (old != new) == bool(work.other)
        assert killed_at(moment, new_words, out) is None
        kept = [contents(path) for path in (out, Path(f"{out}.replaced")) if path.exists()]
        for left in kept:
            left.pop("writer.lock", None)  # of the call that was killed
        assert any(left in (old, new) for left in kept), moment
        finish(new_words, out)
        assert contents(out) == new, moment
        assert is_only(out), moment


@pytest.mark.parametrize("share", [0.1, pytest.param(0.6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("work", ["simulate", "ingest"], indirect=True)
def test_killed_among_its_images_it_leaves_the_same_bytes(
    work, share, tmp_path, contents, killed_when
):
    out, partial = work.out(tmp_path), tmp_path / "out.partial"
    pattern = "images/*/*.tiff" if work.name == "simulate" else "*.zarr/*/*/*/0/c/0/0/0"
    wanted = share * len(list(work.whole.glob(pattern)))
    assert killed_when(lambda: len(list(partial.glob(pattern))) > wanted, work.words(out))
    assert not out.exists()
    finish(work.words(out), out)
    assert contents(out) == contents(work.whole)
    assert is_only(out)


@pytest.fixture
def begin_simulate(fork) -> Callable[[list[str], Path], Any]:
    """A function that starts `simulate` and returns its process when it has begun to draw."""

    def begin(words: list[str], out: Path) -> Any:
        workers = "import phenomae.simulation.simulate as s; s._SMALL = 0"  # it starts them
        process = fork([*words, "--quiet"], before=workers)
        images = Path(f"{out}.partial/images")
        wait_until(lambda: any(images.glob("*/*.tiff")), process)
        assert process.poll() is None
        return process

    return begin


def test_workers_of_a_killed_simulate_do_not_outlive_it(works, tmp_path, contents, begin_simulate):
    """Only the command itself is killed, as a job scheduler or an impatient hand does."""
    work, out = works["simulate"], tmp_path / "out"
    process = begin_simulate(work.words(out), out)
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [Path("/proc", number, "stat") for number in listed]
    assert workers
    process.send_signal(signal.SIGKILL)
    process.wait()
    finish(work.words(out), out)
    alive = [stat.read_text().rpartition(")")[2].split()[0] for stat in workers if stat.exists()]
    assert set(alive) <= {"Z"}
    assert contents(out) == contents(work.whole)
    assert is_only(out)


def test_ctrl_c_is_one_sentence_and_can_be_gone_on_from(works, tmp_path, contents, begin_simulate):
    work, out = works["simulate"], tmp_path / "out"
    process = begin_simulate(work.words(out), out)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    done = process.wait()
    assert done.returncode == 130
    assert done.stderr == "phenomae: stopped; run the same command again to go on\n"
    finish(work.words(out), out)
    assert contents(out) == contents(work.whole)
