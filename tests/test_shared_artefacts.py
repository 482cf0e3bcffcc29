"""Outputs that shards make together: real processes, killed at will, give the bytes of one."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from phenomae.artefacts import artefact_folder
from phenomae.locks import BeingWrittenError
from phenomae.shards import Shard
from phenomae.shared_artefacts import Units, deal_units, is_finished, shared_folder
from phenomae.signatures import Origin, read_verified
from phenomae.whole_files import write_bytes

ORIGIN = Origin("wells", {"kind": "test"}, {"store": "0"})
NAMES = [f"P{number:02d}" for number in range(12)]
UNITS = Units(NAMES, lambda folder, name: (folder / name).exists())

# A shard that takes its time for each unit, and prints what it wrote.
PROGRAM = """
import time
from contextlib import closing
from pathlib import Path
from phenomae.shards import Shard
from phenomae.shared_artefacts import Units, deal_units, shared_folder
from phenomae.signatures import Origin
from phenomae.whole_files import write_bytes
{before}
origin = Origin("wells", {settings}, {{"store": "0"}})
units = Units({names}, lambda folder, name: (folder / name).exists())
shard = Shard({number}, {count}, "shard") if {count} > 1 else None
try:
    with shared_folder(Path({path!r}), origin, units, shard, {overwrite}) as shared:
        print("begun", flush=True)
        if shared is not None:
            with closing(deal_units([shared])) as dealt:
                for name, lacking in dealt:
                    if lacking:
                        time.sleep({pause_s})
                        write_bytes(shared.folder / name, name.encode() * 1000, sync=False)
                        print(name, flush=True)
except ValueError as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""


@pytest.fixture
def start(fork_program, tmp_path) -> Callable:
    """A function that starts a shard of twelve units in a process of its own."""

    def run(number: int, count: int, pause_s: float = 0.01, **more):
        words = {"settings": ORIGIN.settings, "overwrite": False, "before": "", "names": NAMES}
        words |= {"number": number, "count": count, "pause_s": pause_s, **more}
        return fork_program(PROGRAM.format(path=str(tmp_path / "out"), **words))

    return run


@pytest.fixture
def whole(tmp_path) -> dict[str, bytes]:
    """The bytes that a process alone writes."""
    with artefact_folder(tmp_path / "alone", ORIGIN) as folder:
        assert folder is not None
        for name in NAMES:
            write_bytes(folder / name, name.encode() * 1000)
    return bytes_of(tmp_path / "alone")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def wait_until(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def written_by(process) -> list[str]:
    return [name for name in process.printed.read_text().split() if name in NAMES]


def fill(shared) -> None:
    for name, lacking in deal_units([shared]):
        if lacking:
            write_bytes(shared.folder / name, name.encode() * 1000)


def test_shards_divide_the_work_and_give_the_bytes_of_one_process(start, tmp_path, whole):
    shards = [start(number, 3, pause_s=0.05) for number in (1, 2, 3)]
    assert [shard.wait().returncode for shard in shards] == [0, 0, 0]
    written = [written_by(shard) for shard in shards]
    assert sorted(chain(*written)) == NAMES  # each once
    assert all(written)
    assert bytes_of(tmp_path / "out") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "out"]
    said = "".join(shard.said.read_text() for shard in shards)
    assert "Error" not in said


def test_eight_shards_killed_at_random_until_all_is_done(start, tmp_path, whole):
    rng = random.Random(0)
    # So long that there is time to kill on a busy machine: each shard has a unit or two to write.
    kills, pause_s = 0, 0.6
    running = {number: start(number, 8, pause_s=pause_s) for number in range(1, 9)}
    while not (tmp_path / "out").exists():
        number = rng.choice(list(running))
        if running[number].poll() is None and kills < 12:
            os.kill(running[number].pid, signal.SIGKILL)
            running[number].wait()
            kills += 1
        if running[number].poll() is not None:
            running[number] = start(number, 8, pause_s=pause_s)
        time.sleep(rng.uniform(0, 0.1))
    codes = [shard.wait().returncode for shard in running.values()]
    assert set(codes) <= {0, -signal.SIGKILL}
    assert kills > 3
    assert bytes_of(tmp_path / "out") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "out"]


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_every_moment_the_next_shard_finishes(start, tmp_path, step, kill_before_change):
    """Also between the last unit and signing, and between signing and renaming."""
    moment, killed, out = step, True, tmp_path / "out"
    while killed:
        before = kill_before_change(out, moment)
        killed = start(1, 2, pause_s=0, names=NAMES[:2], before=before).wait().returncode != 0
        assert start(2, 2, pause_s=0, names=NAMES[:2]).wait().returncode == 0
        assert bytes_of(out).keys() == {"artefact.json", *NAMES[:2]}, moment
        read_verified(out)
        assert not Path(f"{out}.partial").exists()
        for path in out.iterdir():
            path.unlink()
        out.rmdir()
        moment += step
    assert moment > 20


def test_a_shard_that_ends_while_another_writes_says_what_is_left(start, tmp_path, whole):
    slow = start(1, 2, pause_s=1.5, names=NAMES[:2])
    wait_until(lambda: "begun" in slow.printed.read_text())
    quick = start(2, 2, names=NAMES[:2]).wait()
    assert quick.returncode == 0
    assert "1 of 2 plates are being written by other shards" in quick.stderr
    assert not (tmp_path / "out").exists()
    assert slow.wait().returncode == 0
    assert bytes_of(tmp_path / "out").keys() == {"artefact.json", *NAMES[:2]}


def test_a_shard_that_comes_when_all_is_done_says_so(start, tmp_path):
    assert start(1, 2).wait().returncode == 0
    for overwrite in (False, True):
        late = start(2, 2, overwrite=overwrite)
        assert "out is already there" in late.wait().stderr
        assert written_by(late) == []


def test_a_shard_that_was_killed_frees_its_unit_at_once(start, tmp_path, whole):
    stuck = start(1, 2, pause_s=60)
    wait_until(lambda: "begun" in stuck.printed.read_text())
    claim = tmp_path / "out.partial/.claims/units" / NAMES[0]
    wait_until(claim.exists)
    os.killpg(stuck.pid, signal.SIGKILL)
    stuck.wait()
    assert start(2, 2).wait().returncode == 0
    assert bytes_of(tmp_path / "out") == whole


def test_shards_must_agree_on_how_many_they_are(start, tmp_path, whole):
    first = start(1, 2, pause_s=1)
    wait_until(lambda: "begun" in first.printed.read_text())
    begun = time.monotonic()
    other = start(3, 4).wait()
    assert time.monotonic() - begun < 30
    assert "out is being written by 2 shards, and this would be one of 4: give all" in other.stdout
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert start(3, 4).wait().returncode == 0  # nobody is left to disagree
    assert bytes_of(tmp_path / "out") == whole


def test_a_call_alone_and_shards_exclude_each_other(start, tmp_path, whole):
    for words, other, said in (
        ((1, 2), (1, 1), "by another call, one of 2 shards, process "),
        ((1, 1), (1, 2), "by another call, process "),
    ):
        first = start(*words, pause_s=0.2)
        wait_until(lambda first=first: first.printed.read_text())
        refused = start(*other).wait()
        assert said in refused.stdout
        assert first.wait().returncode == 0
        assert bytes_of(tmp_path / "out") == whole
        os.rename(tmp_path / "out", tmp_path / f"out-of-{first.pid}")


def test_a_call_alone_goes_on_where_shards_stopped_and_the_reverse(start, tmp_path, whole):
    for first, other in (((2, 3), (1, 1)), ((1, 1), (2, 3))):
        stopped = start(*first, pause_s=0.1)
        wait_until(lambda stopped=stopped: len(written_by(stopped)) >= 2)
        os.killpg(stopped.pid, signal.SIGKILL)
        stopped.wait()
        last = start(*other)
        assert last.wait().returncode == 0
        assert not {*written_by(last)} & {*written_by(stopped)}
        assert bytes_of(tmp_path / "out") == whole
        os.rename(tmp_path / "out", tmp_path / f"out-of-{stopped.pid}")


def test_shards_of_other_work_are_refused_while_shards_write(start, tmp_path):
    first = start(1, 2, pause_s=0.5)
    wait_until(lambda: "begun" in first.printed.read_text())
    for overwrite in (False, True):
        other = start(2, 2, settings={"kind": "other"}, overwrite=overwrite).wait()
        assert "other shards are writing" in other.stdout
        assert "kind = 'test', now 'other'" in other.stdout
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()


def test_shards_of_other_work_are_refused_while_a_shard_signs(start, tmp_path):
    said = []

    def come_late(folder: Path) -> None:
        for settings in ({"kind": "other"}, ORIGIN.settings):
            other = start(2, 2, settings=settings).wait()
            said.append((other.stdout, other.stderr))

    shard = Shard(1, 2, "shard")
    with shared_folder(tmp_path / "out", ORIGIN, UNITS, shard, finish=come_late) as shared:
        fill(shared)
    assert "was made with another setting: kind = 'test', now 'other'" in said[0][0]
    assert "another shard signs it" not in said[0][1]
    assert "another shard signs it" in said[1][1]
    assert is_finished(tmp_path / "out", ORIGIN)


def test_files_that_a_killed_shard_left_half_written_are_removed(start, tmp_path, whole):
    """The shard that signs was there before, and has not begun the folder anew."""
    stuck = start(1, 2, pause_s=60)
    wait_until(lambda: "begun" in stuck.printed.read_text())
    with shared_folder(tmp_path / "out", ORIGIN, UNITS, Shard(2, 2, "shard")) as shared:
        assert shared is not None
        (shared.folder / f"{NAMES[0]}.0a1b2c3d.partial").write_text("ha")
        os.killpg(stuck.pid, signal.SIGKILL)
        stuck.wait()
        fill(shared)
    assert bytes_of(tmp_path / "out") == whole


def test_what_a_shard_that_failed_left_half_written_is_removed(start, tmp_path, whole):
    """A shard fails if one of its worker processes is killed, which leaves what it was writing."""
    first = start(1, 2, pause_s=0.2)
    wait_until(lambda: "begun" in first.printed.read_text())
    array = tmp_path / "out.partial/0.0a1b2c3d.partial"

    def fail() -> None:
        with shared_folder(tmp_path / "out", ORIGIN, UNITS, Shard(2, 2, "shard")):
            (array / "c").mkdir(parents=True)
            (array / "c/0").write_text("ha")
            raise OSError("a worker process was killed")

    with pytest.raises(OSError, match="a worker process was killed"):
        fail()
    assert array.exists()
    assert first.wait().returncode == 0
    assert bytes_of(tmp_path / "out") == whole


def test_overwrite_replaces_other_or_damaged_work(start, tmp_path):
    out = tmp_path / "out"
    assert start(1, 2, settings={"kind": "other"}).wait().returncode == 0
    assert "choose another name, or overwrite" in start(1, 2).wait().stdout
    shards = [start(number, 2, overwrite=True) for number in (1, 2)]
    assert [shard.wait().returncode for shard in shards] == [0, 0]
    assert sorted(written_by(shards[0]) + written_by(shards[1])) == NAMES
    assert is_finished(out, ORIGIN)
    (out / NAMES[3]).write_bytes(b"damaged")
    assert "is damaged" in start(2, 2).wait().stdout
    assert start(2, 2, overwrite=True).wait().returncode == 0
    read_verified(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_an_error_removes_what_holds_no_work_and_keeps_what_does(tmp_path):
    path, shard = tmp_path / "new" / "out", Shard(1, 2, "shard")
    with pytest.raises(KeyError), shared_folder(path, ORIGIN, UNITS, shard):
        raise KeyError
    assert list(tmp_path.iterdir()) == []

    def write_one() -> None:
        with shared_folder(path, ORIGIN, UNITS, shard) as shared:
            assert shared is not None
            write_bytes(shared.folder / NAMES[0], b"work")
            raise KeyError

    with pytest.raises(KeyError):
        write_one()
    assert (path.with_name("out.partial") / NAMES[0]).exists()


def test_what_is_checked_at_the_end_is_checked_by_the_last_shard(tmp_path):
    def refuse(folder: Path) -> None:
        raise ValueError(f"{len(list(folder.glob('P*')))} units are not enough")

    with (
        pytest.raises(ValueError, match="12 units are not enough"),
        shared_folder(tmp_path / "out", ORIGIN, UNITS, Shard(1, 2, ""), finish=refuse) as shared,
    ):
        fill(shared)
    assert not (tmp_path / "out").exists()


def test_units_of_which_nothing_is_written_are_done_once(tmp_path):
    done = []
    for number in (1, 2):
        shard = Shard(number, 2, "shard")
        with shared_folder(tmp_path / "out", ORIGIN, UNITS, shard) as shared:
            assert (shared is None) == (number == 2)
            for name, lacking in deal_units([shared] if shared else []) if shared else ():
                done.append(name)
                if lacking and name != NAMES[4]:
                    write_bytes(shared.folder / name, b"work")
    assert sorted(done) == NAMES
    assert json.loads((tmp_path / "out/artefact.json").read_text())["files"].keys() == {*NAMES} - {
        NAMES[4]
    }


def test_a_folder_that_is_taken_away_is_explained(tmp_path):
    def write_where_it_was() -> None:
        with shared_folder(tmp_path / "out", ORIGIN, UNITS, Shard(1, 2, "shard")) as shared:
            assert shared is not None
            shutil.rmtree(shared.folder)
            fill(shared)

    with pytest.raises(BeingWrittenError, match="locks of its disk do not reach all processes"):
        write_where_it_was()


@pytest.fixture
def no_locks(monkeypatch) -> str:
    """A file system without locks, here and, by the code that is returned, in other processes."""

    def flock(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    return "import fcntl\ndef flock(*_): raise OSError(38, 'no')\nfcntl.flock = flock"


def test_without_locks_of_the_system_files_take_their_place(start, tmp_path, whole, no_locks):
    shards = [start(number, 3, pause_s=0.05, before=no_locks) for number in (1, 2, 3)]
    assert [shard.wait().returncode for shard in shards] == [0, 0, 0]
    written = [written_by(shard) for shard in shards]
    assert sorted(chain(*written)) == NAMES
    assert all(written)
    assert bytes_of(tmp_path / "out") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "out"]


def test_without_locks_what_a_killed_shard_claimed_must_be_deleted(
    start, tmp_path, whole, no_locks
):
    stuck = start(1, 2, pause_s=60, before=no_locks)
    claim = tmp_path / "out.partial/.claims/units" / NAMES[0]
    wait_until(claim.exists)
    refused = start(3, 4, before=no_locks).wait()
    assert f"(if they have ended, delete {tmp_path}/out.partial/writer.lock)" in refused.stdout
    os.killpg(stuck.pid, signal.SIGKILL)
    stuck.wait()
    other = start(2, 2, before=no_locks).wait()
    assert other.returncode == 0
    assert "1 of 12 plates are being written by other shards" in other.stderr
    assert f"claimed by {claim} (process {stuck.pid} on " in other.stderr
    claim.unlink()
    assert start(2, 2, before=no_locks).wait().returncode == 0
    assert bytes_of(tmp_path / "out") == whole


KILL_AT_RENAME = """
import os, signal, sys

def watch(event, arguments):
    if event == "os.rename" and str(arguments[0]) == {path!r}:
        os.killpg(0, signal.SIGKILL)

sys.addaudithook(watch)
"""


@pytest.mark.parametrize(
    ("renamed", "named"), [(".claims", ".claims/signing"), ("", "writer.lock")]
)
def test_without_locks_a_killed_signer_is_named(renamed, named, start, tmp_path, whole, no_locks):
    folder = tmp_path / "out.partial"
    kill = KILL_AT_RENAME.format(path=str(folder / renamed))
    signer = start(1, 2, before=no_locks + kill)
    assert signer.wait().returncode == -signal.SIGKILL
    other = start(2, 2, before=no_locks).wait()
    assert f"claimed by {folder / named} (" in other.stderr
    assert f"process {signer.pid} on " in other.stderr
    (folder / named).unlink()
    assert start(2, 2, before=no_locks).wait().returncode == 0
    assert bytes_of(tmp_path / "out") == whole
