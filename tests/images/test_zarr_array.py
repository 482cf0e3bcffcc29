"""Planes of Zarr arrays: which errors are of the array and which of the machine, and file times."""

import errno
import os
import shutil

import numpy as np
import pytest

from phenomae.images.fields import Place
from phenomae.images.pixels.decode import read_header, read_pixels
from phenomae.images.pixels.header import UnfitError
from phenomae.images.pixels.zarr_array import explain, list_chunk_times
from phenomae.images.read import list_fields, read_field
from phenomae.store.in_place import make_reference


@pytest.fixture
def array(write_zarr_plate, tmp_path):
    """An array of two channels of 64 x 40 pixels, in chunks of 32 x 32."""
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": np.full((2, 64, 40), 3, "uint16")})
    return plate / "A/1/0/0"


def test_errors_of_machine_and_array():
    denied = explain(ValueError("PERMISSION_DENIED: x [os_error_code='13'] [y]"), "A")
    assert isinstance(denied, OSError)
    assert (denied.errno, denied.filename) == (errno.EACCES, "A")
    away = explain(ValueError("UNAVAILABLE: no route [source]"), "s3://b/A")
    assert isinstance(away, OSError)
    assert str(away) == "s3://b/A cannot be read: UNAVAILABLE: no route"
    damaged = explain(ValueError("DATA_LOSS: blosc [source]"), "A")
    assert isinstance(damaged, UnfitError)
    assert str(damaged) == "cannot be decoded: DATA_LOSS: blosc"


def test_damaged_and_unknown_chunks(array):
    (array / "1.0.1").write_bytes(b"nothing")
    place = Place(str(array), index=(1,))
    assert read_header(place).width == 40
    with pytest.raises(ValueError, match=r"0, plane 1 cannot be decoded: "):
        read_pixels(place)
    for index in ((2,), (0, 0, 0, 0)):
        with pytest.raises(ValueError, match=r"is not a plane of an array of shape \(2, 64, 40\)"):
            read_header(Place(str(array), index=index))


def test_arrays_that_are_gone(array, tmp_path):
    place = Place(str(tmp_path / "none"), index=(0,))
    with pytest.raises(ValueError, match="none, plane 0 is not there: no Zarr array has this name"):
        read_header(place)
    with pytest.raises(ValueError, match=r"there is no Zarr array .*none"):
        list_chunk_times(place)


def test_times_are_those_of_the_files_of_a_plane(array):
    names = [".zarray", "1.0.0", "1.0.1", "1.1.0", "1.1.1"]
    (array / "1.1.0").unlink()
    expected = [os.stat(array / name).st_mtime_ns if name != "1.1.0" else 0 for name in names]
    assert list_chunk_times(Place(str(array), index=(1,))) == expected


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["c/1/0/0", "c/1/0/1", "c/1/1/0", "c/1/1/1"]),
        ({"shards": (2, 64, 64), "chunks": (1, 32, 32)}, ["c/0/0/0"]),
        (
            {"chunk_key_encoding": {"name": "v2", "separator": "."}, "chunks": (1, 64, 32)},
            ["1.0.0", "1.0.1"],
        ),
    ],
)
def test_files_of_a_plane_of_version_3(write_zarr_plate, tmp_path, settings, names):
    pixels = np.full((2, 64, 40), 3, "uint16")
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": pixels}, version="0.5", **settings)
    array = plate / "A/1/0/0"
    expected = [os.stat(array / name).st_mtime_ns for name in ["zarr.json", *names]]
    assert list_chunk_times(Place(str(array), index=(1,))) == expected


def test_a_field_whose_array_is_gone_has_no_reference(write_zarr_plate, tmp_path):
    pixels = np.full((1, 32, 32), 3, "uint16")
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": pixels})
    [field] = list_fields(plate).fields
    plate.rename(tmp_path / "moved.zarr")
    with pytest.raises(ValueError, match=r"there is no Zarr array .*P\.zarr/A/1/0/0"):
        make_reference(field)


@pytest.mark.parametrize(
    ("version", "dtype"), [("0.4", "<u2"), ("0.4", ">u2"), ("0.4", "uint8"), ("0.5", "uint16")]
)
def test_a_plate_that_is_replaced_is_read_anew(write_zarr_plate, tmp_path, version, dtype):
    """In the same process, with its shape, type, byte order and version of Zarr."""
    rng = np.random.default_rng(0)
    before = rng.integers(1, 255, (2, 64, 40), dtype="uint16")
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": before})
    np.testing.assert_array_equal(read_field(list_fields(plate).fields[0]), before)
    shutil.rmtree(plate)
    after = rng.integers(1, 255, (2, 32, 72)).astype(dtype)
    write_zarr_plate(plate, {"A/1/0": after}, version=version)
    np.testing.assert_array_equal(read_field(list_fields(plate).fields[0]), after)
