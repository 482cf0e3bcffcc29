"""A stopped ingest goes on and ends as if nothing had been; a full disk is told in one sentence."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phenomae.store.ingest import ingest


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def run_ingest(fork) -> Callable[..., Any]:
    """A function that ingests in a process of its own and returns how that ended."""

    def run(raw: Path, store: Path, *flags: str, before: str = "") -> Any:
        return fork(["ingest", raw, store, *flags], before=before).wait()

    return run


def fields_written(partial: Path) -> int:
    return sum(1 for _ in partial.glob("*.zarr/*/*/*/0/c/0/0/0"))


@pytest.fixture
def kill_after(fork) -> Callable[..., bool]:
    """A function that starts an ingest and kills it some time after so many fields.

    It returns whether the ingest was still running.
    """

    def kill(raw: Path, store: Path, fields: int, delay_s: float, *flags: str) -> bool:
        partial = store.with_name(store.name + ".partial")
        process = fork(["ingest", raw, store, "--workers", "2", *flags])
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if fields_written(partial) >= fields:
                time.sleep(delay_s)
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        return process.wait().returncode == -signal.SIGKILL

    return kill


@pytest.mark.parametrize("flags", [[], pytest.param(["--bits", "8"], marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_leaves_the_same_store(
    write_screen, tmp_path, flags, run_ingest, kill_after
):
    wells = tuple(f"{row}{column:02d}" for row in "AB" for column in range(1, 4))
    raw = write_screen(plates=("P1", "P2"), wells=wells)
    assert run_ingest(raw, tmp_path / "whole", *flags).returncode == 0
    store, rng = tmp_path / "store", random.Random(0)
    killed = 0
    for share in (0.1, 0.4, 0.7):
        if store.exists():
            break
        killed += kill_after(raw, store, int(share * 24), rng.uniform(0, 0.05), *flags)
    assert killed >= 1
    assert run_ingest(raw, store, *flags, "--workers", "1").returncode == 0
    assert contents(store) == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.glob("store*")) == ["store"]


def test_a_shard_cut_short_and_files_half_written_are_made_again(write_screen, tmp_path, resign):
    """What a machine that lost power may leave, which SIGKILL cannot."""
    raw, store, partial = write_screen(), tmp_path / "store", tmp_path / "store.partial"
    ingest(raw, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", partial)
    (partial / "fields.parquet").unlink()
    resign(partial, identity=None, files={})
    image = partial / "P1.zarr/A/02/1"
    shard = image / "0/c/0/0/0"
    whole = shard.read_bytes()
    shard.with_name("0.__lock").write_bytes(whole[:99])
    (image / "zarr.json.0a1b2c3d.partial").write_text("{")
    for damaged in (b"", whole[:99], bytes(len(whole))):
        shard.write_bytes(damaged)
        copy = tmp_path / "copy"
        shutil.copytree(partial, copy)
        ingest(raw, store)
        assert contents(store) == contents(tmp_path / "whole")
        shutil.rmtree(store)
        copy.rename(partial)


def test_another_setting_does_not_go_on_in_a_stopped_ingest(
    write_screen, tmp_path, run_ingest, kill_after
):
    raw, store = write_screen(), tmp_path / "store"
    kill_after(raw, store, 1, 0)
    if store.exists():
        pytest.skip("the ingest was faster than the signal")
    done = run_ingest(raw, store, "--bits", "8")
    assert done.returncode == 1
    assert "store.partial was made with another setting: bits = 16, now 8" in done.stderr
    assert run_ingest(raw, store, "--bits", "8", "--overwrite").returncode == 0
    again = run_ingest(raw, store, "--bits", "8")
    assert again.returncode == 0
    assert "already there" in again.stderr


def test_a_file_the_disk_does_not_take_is_told_in_one_sentence(write_screen, tmp_path, run_ingest):
    raw, store = write_screen(size=(400, 400)), tmp_path / "store"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    done = run_ingest(raw, store, "--quiet", before=limit)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not store.exists()
    assert run_ingest(raw, store).returncode == 0
    ingest(raw, tmp_path / "whole")
    assert contents(store) == contents(tmp_path / "whole")


def test_a_full_disk_is_told_in_one_sentence_and_can_be_gone_on_from(
    write_screen, tmp_path, run_ingest
):
    raw, disk = write_screen(size=(400, 400)), tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        done = run_ingest(raw, disk / "store", "--quiet")
        assert done.returncode == 1
        assert "the disk is full; free space and run the same command again" in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (disk / "store").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert run_ingest(raw, disk / "store").returncode == 0
        ingest(raw, tmp_path / "whole")
        assert contents(disk / "store") == contents(tmp_path / "whole")
    finally:
        subprocess.run(["umount", str(disk)], check=False)
