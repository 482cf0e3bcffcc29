"""A stopped ingest goes on and ends as if nothing had been; a full disk is told in one sentence."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phenomae.store.ingest import ingest

MAIN = "import sys; from phenomae.cli import main; sys.argv[0] = 'phenomae'; main()"


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def command(raw: Path, store: Path, *flags: str) -> list[str]:
    return [sys.executable, "-c", MAIN, "ingest", str(raw), str(store), *flags]


def fields_written(partial: Path) -> int:
    return sum(1 for _ in partial.glob("*.zarr/*/*/*/0/c/0/0/0"))


def kill_after(raw: Path, store: Path, fields: int, delay_s: float, *flags: str) -> bool:
    """Start an ingest, kill it some time after `fields` fields; say whether it was still going."""
    partial = store.with_name(store.name + ".partial")
    words = command(raw, store, "--workers", "2", *flags)
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if fields_written(partial) >= fields:
            time.sleep(delay_s)
            break
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("flags", [[], pytest.param(["--bits", "8"], marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_leaves_the_same_store(write_screen, tmp_path, flags):
    wells = tuple(f"{row}{column:02d}" for row in "AB" for column in range(1, 7))
    raw = write_screen(plates=("P1", "P2"), wells=wells)
    whole = subprocess.run(command(raw, tmp_path / "whole", *flags), capture_output=True)
    assert whole.returncode == 0
    store, rng = tmp_path / "store", random.Random(0)
    killed = 0
    for share in (0.1, 0.4, 0.7):
        if store.exists():
            break
        killed += kill_after(raw, store, int(share * 48), rng.uniform(0, 0.05), *flags)
    assert killed >= 1
    subprocess.run(command(raw, store, *flags, "--workers", "1"), check=True, capture_output=True)
    assert contents(store) == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.glob("store*")) == ["store"]


def test_a_shard_cut_short_and_files_half_written_are_made_again(write_screen, tmp_path):
    """What a machine that lost power may leave, which SIGKILL cannot."""
    raw, store, partial = write_screen(), tmp_path / "store", tmp_path / "store.partial"
    ingest(raw, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", partial)
    (partial / "fields.parquet").unlink()
    signature = (partial / "artefact.json").read_text()
    identity = signature.split('"identity": ')[1].split(",")[0]
    (partial / "artefact.json").write_text(signature.replace(identity, "null"))
    image = partial / "P1.zarr/A/02/1"
    shard = image / "0/c/0/0/0"
    whole = shard.read_bytes()
    shard.with_name("0.__lock").write_bytes(whole[:99])
    (image / "zarr.json.partial").write_text("{")
    for damaged in (b"", whole[:99], bytes(len(whole))):
        shard.write_bytes(damaged)
        copy = tmp_path / "copy"
        shutil.copytree(partial, copy)
        ingest(raw, store)
        assert contents(store) == contents(tmp_path / "whole")
        shutil.rmtree(store)
        copy.rename(partial)


def test_another_setting_does_not_go_on_in_a_stopped_ingest(write_screen, tmp_path):
    raw, store = write_screen(), tmp_path / "store"
    kill_after(raw, store, 1, 0)
    if store.exists():
        pytest.skip("the ingest was faster than the signal")
    done = subprocess.run(command(raw, store, "--bits", "8"), capture_output=True, text=True)
    assert done.returncode == 1
    assert "store.partial was made with another setting: bits = 16, now 8" in done.stderr
    subprocess.run(command(raw, store, "--bits", "8", "--overwrite"), check=True)
    ingest_again = subprocess.run(
        command(raw, store, "--bits", "8"), capture_output=True, text=True
    )
    assert ingest_again.returncode == 0
    assert "already there" in ingest_again.stderr


def test_a_file_the_disk_does_not_take_is_told_in_one_sentence(write_screen, tmp_path):
    raw, store = write_screen(size=(400, 400)), tmp_path / "store"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        command(raw, store, "--quiet"), capture_output=True, text=True, preexec_fn=limit
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not store.exists()
    subprocess.run(command(raw, store), check=True, capture_output=True)
    ingest(raw, tmp_path / "whole")
    assert contents(store) == contents(tmp_path / "whole")


def test_a_full_disk_is_told_in_one_sentence_and_can_be_gone_on_from(write_screen, tmp_path):
    raw, disk = write_screen(size=(400, 400)), tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        done = subprocess.run(
            command(raw, disk / "store", "--quiet"), capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "the disk is full; free space and run the same command again" in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (disk / "store").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        subprocess.run(command(raw, disk / "store"), check=True, capture_output=True)
        ingest(raw, tmp_path / "whole")
        assert contents(disk / "store") == contents(tmp_path / "whole")
    finally:
        subprocess.run(["umount", str(disk)], check=False)
