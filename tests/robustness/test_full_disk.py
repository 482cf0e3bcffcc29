"""A disk that fills up: one sentence that names the file, and the same bytes once there is room.

The disk is real: a file system in memory, of the size that the test wants, in a mount namespace of
the test's own.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    "simulate",
    "ingest",
    "pretrain",
    "published",
    pytest.param("imported", marks=pytest.mark.slow),  # writes as published does
    "embed",
    "intensity",
    "correct",
    "map",
    "benchmark",
)
BLOCK = 4096
OWN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
SENTENCE = "the disk is full; free space and run the same command again to go on\n"

# Arguments: where to mount, size in bytes, where to report, what is there before, command line.
TWICE = """
import json, pathlib, shutil, subprocess, sys
disk, size, report, before, *words = sys.argv[1:]

def mount(options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)

def run():
    command = [sys.executable, "-m", "phenomae", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    return {"code": done.returncode, "said": done.stderr}

mount(f"size={size}")
if before:
    shutil.copytree(before, f"{disk}/out")
first = run()
shutil.copytree(disk, f"{report}/first")
mount("remount,size=256m")
second = run()
shutil.copytree(disk, f"{report}/second")
pathlib.Path(report, "report.json").write_text(json.dumps([first, second]))
"""


@pytest.fixture(scope="module")
def _may_mount(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("disk")
    command = [*OWN_NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs unshare, to mount a small disk")
    if done.returncode:
        pytest.skip(f"needs the right to mount a small disk: {done.stderr.strip()}")


def size_on_disk(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(-(-file.stat().st_size // BLOCK) for file in files) * BLOCK


def on_a_disk_of(
    size: int, words: list[str], tmp_path: Path, before: str = ""
) -> tuple[dict, dict]:
    """Run a command on a disk of so many bytes, and again on a large one; return both outcomes.

    `before` is what is copied to the disk first; `report/first` and `report/second` hold what lies
    there after each.
    """
    disk, report = tmp_path / "disk", tmp_path / "report"
    disk.mkdir()
    report.mkdir()
    command = [sys.executable, "-c", TWICE, str(disk), str(size), str(report), before, *words]
    subprocess.run([*OWN_NAMESPACE, *command], check=True)
    first, second = json.loads((report / "report.json").read_text())
    return first, second


@pytest.mark.usefixtures("_may_mount")
@pytest.mark.parametrize(
    "share", [0.6, *(pytest.param(x, marks=pytest.mark.slow) for x in (0, 0.05, 0.3, 0.8, 0.95))]
)
@pytest.mark.parametrize("work", COMMANDS, indirect=True)
def test_a_full_disk_is_one_sentence_and_can_be_gone_on_from(work, share, tmp_path, contents):
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


@pytest.mark.usefixtures("_may_mount")
def test_a_full_disk_leaves_what_was_to_be_overwritten(works, tmp_path, contents):
    """Room for the old artefact and half of the new."""
    work = works["correct"]
    words = [*work.words(tmp_path / "disk/out"), *work.other, "--overwrite"]
    size = int(1.5 * size_on_disk(work.whole)) // BLOCK * BLOCK
    first, second = on_a_disk_of(size, words, tmp_path, before=str(work.whole))
    report = tmp_path / "report"
    assert first["code"] == 1
    assert first["said"].endswith(f": {SENTENCE}")
    assert contents(report / "first/out") == contents(work.whole)
    assert second == {"code": 0, "said": ""}
    made = contents(report / "second/out")
    assert made.keys() == contents(work.whole).keys()
    assert made != contents(work.whole)
