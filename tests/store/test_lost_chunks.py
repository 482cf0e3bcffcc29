"""Stores in place whose plate loses chunks after ingest: an error, and never read as black."""

import numpy as np
import pytest

from phenomae.store import handles, in_place
from phenomae.store.check import check_store
from phenomae.store.ingest import IngestSettings, ingest
from phenomae.store.read import read_crops, read_field

IN_PLACE = IngestSettings(in_place=True, workers=1)
LOST = "A/1/0/0 lacks chunks that it had at ingest"
FILES = {
    "0.4": ({}, "0.{}.{}"),
    "0.5": ({"chunk_key_encoding": {"name": "default", "separator": "/"}}, "c/0/{}/{}"),
    "shards": ({"shards": (1, 32, 64)}, "c/0/{}/0"),
}


@pytest.fixture(autouse=True)
def forget():
    """Look at files again, as a new process does."""
    handles._begin_opening.cache_clear()
    in_place._require_chunks.cache_clear()


@pytest.fixture
def partly_black():
    """Two channels of 96 x 64 pixels; the first has a black chunk, which writers leave out."""
    pixels = np.random.default_rng(0).integers(1, 999, (2, 96, 64), "uint16")
    pixels[0, :32, :32] = 0
    return pixels


@pytest.mark.parametrize("kind", FILES)
def test_a_chunk_lost_from_a_field_with_black_chunks(
    write_zarr_plate, partly_black, tmp_path, kind
):
    settings, name = FILES[kind]
    version = "0.4" if kind == "0.4" else "0.5"
    plate = write_zarr_plate(
        tmp_path / "P.zarr", {"A/1/0": partly_black}, version=version, **settings
    )
    store = ingest(plate, tmp_path / "store", settings=IN_PLACE)
    np.testing.assert_array_equal(read_field(store, 0), partly_black)
    check_store(store)
    (plate / "A/1/0/0" / name.format(2, 1)).unlink()
    in_place._require_chunks.cache_clear()
    with pytest.raises(ValueError, match=LOST):
        read_field(store, 0)
    with pytest.raises(ValueError, match=LOST):
        read_crops(store, [0], [0], [0], 32)
    for quick in (False, True):
        with pytest.raises(ValueError, match="is damaged"):
            check_store(store, quick=quick)


def test_chunks_lost_on_a_web_server(write_zarr_plate, served, tmp_path, capsys):
    """Such a server lists no files, so each chunk is asked for at ingest."""
    pixels = np.random.default_rng(1).integers(1, 999, (2, 64, 64), "uint16")
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": pixels})
    store = ingest(f"{served}/P.zarr", tmp_path / "store", settings=IN_PLACE)
    assert "black chunks" not in capsys.readouterr().err
    np.testing.assert_array_equal(read_field(store, 0), pixels)
    for quick in (False, True):
        check_store(store, quick=quick)
    (plate / "A/1/0/0/1.0.1").unlink()
    with pytest.raises(ValueError, match=rf"{served}/P\.zarr/A/1/0/0, cannot be read: "):
        read_field(store, 0)
    with pytest.raises(ValueError, match=LOST):
        check_store(store, quick=True)


def test_black_chunks_on_a_web_server_are_told(
    write_zarr_plate, partly_black, served, tmp_path, capsys
):
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": partly_black})
    store = ingest(f"{served}/P.zarr", tmp_path / "store", settings=IN_PLACE)
    told = capsys.readouterr().err
    assert "in place: at addresses, 1 field with black chunks that are not stored" in told
    np.testing.assert_array_equal(read_field(store, 0), partly_black)
    for quick in (False, True):
        check_store(store, quick=quick)
    (plate / "A/1/0/0/0.2.1").unlink()
    for quick in (False, True):
        with pytest.raises(ValueError, match=LOST if quick else "have changed since ingest"):
            check_store(store, quick=quick)
