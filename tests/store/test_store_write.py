"""Arrays: any side, what zarr-python makes of them, and pixels that cannot be written."""

import hashlib
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from phenomae.store.write import checksum, read_if_whole, write_array


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 7),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    dtype=st.sampled_from(["uint8", "uint16"]),
)
def test_what_is_written_is_what_zarr_python_reads(
    tmp_path_factory, channels, height, width, dtype
):
    path = tmp_path_factory.mktemp("array") / "0"
    pixels = np.random.default_rng(0).integers(0, 256, (channels, height, width)).astype(dtype)
    assert read_if_whole(path) is None
    write_array(path, pixels)
    array = zarr.open_array(path, mode="r")
    np.testing.assert_array_equal(array[:], pixels)
    assert array.dtype == dtype
    assert array.metadata.dimension_names == ("c", "y", "x")
    assert len([file for file in path.rglob("*") if file.is_file()]) == 2
    np.testing.assert_array_equal(read_if_whole(path), pixels)


def test_the_checksum_is_sha256_of_little_endian_pixels():
    pixels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    expected = hashlib.sha256(b"".join(bytes([value, 0]) for value in range(24))).hexdigest()[:32]
    assert checksum(pixels) == expected
    assert checksum(pixels.astype(">u2")) == expected
    assert checksum(pixels.transpose(0, 2, 1).copy().transpose(0, 2, 1)) == expected


def test_what_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="Not a directory"):
        write_array(tmp_path / "file/0", np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(OSError, match="0 could not be written"):
        write_array(tmp_path / "0", np.zeros((1, 8, 8), "datetime64[s]"))


# Stops before it removes or renames anything.
WRITE = """
import os, signal, sys
from pathlib import Path
import numpy as np
from phenomae.store.write import write_array

def watch(event, arguments):
    if event in ("os.rename", "shutil.rmtree"):
        os.kill(os.getpid(), signal.SIGSTOP)

sys.addaudithook(watch)
write_array(Path({path!r}), np.full((1, 8, 8), 7, np.uint16))
"""


def find_files(folder: Path) -> dict[str, int]:
    """Return the names of all files with their numbers on the disk."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_ino for path in files}


def wait_until_stopped(pid: int) -> None:
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_comes_late_leaves_what_another_one_wrote(tmp_path, fork_program):
    """As a worker process of a call that was killed, in its last moment."""
    path = tmp_path / "A/01/0/0"
    late = fork_program(WRITE.format(path=str(path)))
    wait_until_stopped(late.pid)
    pixels = np.full((1, 8, 8), 7, np.uint16)
    write_array(path, pixels)
    written = find_files(path)
    while late.poll() is None:
        os.kill(late.pid, signal.SIGCONT)
        time.sleep(0.01)
        assert find_files(path) == written
    assert late.wait().returncode == 0
    np.testing.assert_array_equal(read_if_whole(path), pixels)
    assert [folder.name for folder in path.parent.iterdir()] == ["0"]


def test_an_array_of_other_pixels_or_without_pixels_is_replaced(tmp_path):
    path = tmp_path / "0"
    write_array(path, np.full((1, 8, 8), 7, np.uint8))
    for pixels in (np.full((1, 8, 8), 7, np.uint16), np.full((1, 8, 8), 8, np.uint16)):
        write_array(path, pixels)
        found = zarr.open_array(path, mode="r")
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found[:], pixels)
        (path / "c/0/0/0").write_bytes(b"")  # after a power failure
    write_array(path, pixels)
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[:], pixels)
    assert [folder.name for folder in tmp_path.iterdir()] == ["0"]
