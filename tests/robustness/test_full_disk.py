"""A disk that fills up: one sentence that names the file, and the same bytes once there is room.

The disk is real: a file system in memory, of the size that the test wants, in a mount namespace of
the test's own.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from phenomae import cli

COMMANDS = (
    "simulate",
    "ingest",
    "pretrain",
    "published",
    pytest.param("imported", marks=pytest.mark.slow),  # writes as published does
    "embed",
    "qc",
    "features",
    "correct",
    "map",
    "benchmark",
)
BLOCK = 4096
SENTENCE = "the disk is full; free space and run the same command again to go on\n"

# Mounts a small disk, as root of a namespace of its own, and runs the command twice: the second
# time the disk is large.
TWICE = """
import ctypes, json, os, pathlib, shutil, subprocess, sys
from phenomae import cli

NEW_NAMESPACE, NEW_USER = 0x00020000, 0x10000000  # linux/sched.h
user, group = os.getuid(), os.getgid()

def unshare(flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")

def mount(options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)

def run(log):
    child = os.fork()
    if child == 0:
        sys.stderr = open(log, "w", buffering=1)
        os._exit(cli.run(["--quiet", *words]))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {{"code": code, "said": open(log).read()}}

disk, size, report, earlier, words = {disk!r}, {size}, {report!r}, {earlier!r}, {words}
unshare(NEW_NAMESPACE | NEW_USER)
maps = (("setgroups", "deny"), ("uid_map", f"0 {{user}} 1"), ("gid_map", f"0 {{group}} 1"))
for name, line in maps:
    pathlib.Path("/proc/self", name).write_text(line)
subprocess.run(["mount", "--make-rprivate", "/"], check=True)  # nothing reaches the real one
mount(f"size={{size}}")
if words:
    if earlier:
        shutil.copytree(earlier, f"{{disk}}/out")
    first = run(f"{{report}}/first.txt")
    shutil.copytree(disk, f"{{report}}/first")
    mount("remount,size=256m")
    second = run(f"{{report}}/second.txt")
    shutil.copytree(disk, f"{{report}}/second")
    pathlib.Path(report, "report.json").write_text(json.dumps([first, second]))
sys.exit()
"""


@pytest.fixture(scope="module")
def on_a_disk_of(fork_program, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple]:
    """A function that runs a command on a disk of so many bytes, and again on a large one.

    It returns the exit code and message of each, and leaves in `report/first` and `report/second`
    what lies on the disk after each. `earlier` is copied to the disk first.
    """

    def start(size: int, words: list[str], folder: Path, earlier: str = ""):
        disk, report = folder / "disk", folder / "report"
        disk.mkdir()
        report.mkdir()
        names = {"disk": str(disk), "report": str(report), "earlier": earlier, "words": words}
        return fork_program(TWICE.format(size=size, **names)).wait()

    def run(size: int, words: list[str], folder: Path, earlier: str = "") -> tuple[dict, dict]:
        done = start(size, words, folder, earlier)
        assert done.returncode == 0, done.stderr
        first, second = json.loads((folder / "report/report.json").read_text())
        return first, second

    tried = start(BLOCK, [], tmp_path_factory.mktemp("try"))
    if tried.returncode:
        pytest.skip(f"needs the right to mount a small disk: {tried.stderr.strip()}")
    return run


def size_on_disk(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(-(-file.stat().st_size // BLOCK) for file in files) * BLOCK


@pytest.mark.parametrize(
    "share", [0.6, *(pytest.param(x, marks=pytest.mark.slow) for x in (0, 0.05, 0.3, 0.8, 0.95))]
)
@pytest.mark.parametrize("work", COMMANDS, indirect=True)
def test_a_full_disk_is_one_sentence_and_can_be_gone_on_from(
    work, share, tmp_path, contents, on_a_disk_of
):
    size = max(BLOCK, int(share * size_on_disk(work.whole)) // BLOCK * BLOCK)
    out = work.out(tmp_path / "disk")
    first, second = on_a_disk_of(size, work.words(out), tmp_path)
    assert first["code"] == 1, first
    assert first["said"].startswith(f"phenomae: {tmp_path}/disk/out"), first
    assert first["said"].endswith(f": {SENTENCE}"), first
    assert first["said"].count("\n") == 1
    left = work.out(tmp_path / "report/first")
    if work.name == "pretrain":  # a run grows in its place, and is finished when it is signed
        signature = left / "artefact.json"
        assert not signature.exists() or json.loads(signature.read_text())["identity"] is None
    else:
        assert not left.exists()
    assert second == {"code": 0, "said": ""}
    assert contents(work.out(tmp_path / "report/second")) == contents(work.whole)
    assert [path.name for path in (tmp_path / "report/second").iterdir()] == [out.name]


def test_a_disk_that_is_full_while_wells_and_tokens_are_written(
    works, tmp_path, contents, on_a_disk_of
):
    """Room for the wells of the first plate, but not for the vectors of its crops."""
    work, disk = works["embed"], tmp_path / "disk"
    words = [*work.words(disk / "out"), "--tokens", str(disk / "out-tokens"), "--pool", "mean-std"]
    first, second = on_a_disk_of(10 * BLOCK, words, tmp_path)
    assert first["code"] == 1, first
    assert first["said"].startswith(f"phenomae: {disk}/out-tokens.partial/B1P1."), first
    assert first["said"].endswith(f": {SENTENCE}"), first
    assert second == {"code": 0, "said": ""}
    made, whole = tmp_path / "report/second", tmp_path / "whole"
    words = [*work.words(whole / "out"), "--tokens", str(whole / "out-tokens")]
    assert cli.run(["--quiet", *words, "--pool", "mean-std"]) == 0
    assert {path.name for path in made.iterdir()} == {"out", "out-tokens"}
    for name in ("out", "out-tokens"):
        assert contents(made / name) == contents(whole / name)


def test_a_full_disk_leaves_what_was_to_be_overwritten(works, tmp_path, contents, on_a_disk_of):
    """Room for the old artefact and half of the new."""
    work = works["correct"]
    words = [*work.words(tmp_path / "disk/out"), *work.other, "--overwrite"]
    size = int(1.5 * size_on_disk(work.whole)) // BLOCK * BLOCK
    first, second = on_a_disk_of(size, words, tmp_path, earlier=str(work.whole))
    report = tmp_path / "report"
    assert first["code"] == 1
    assert first["said"].endswith(f": {SENTENCE}")
    assert contents(report / "first/out") == contents(work.whole)
    assert second == {"code": 0, "said": ""}
    made = contents(report / "second/out")
    assert made.keys() == contents(work.whole).keys()
    assert made != contents(work.whole)
