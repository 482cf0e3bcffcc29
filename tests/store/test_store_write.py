"""Arrays: any side, what zarr-python makes of them, and pixels that cannot be written."""

import hashlib

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
