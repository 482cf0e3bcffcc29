"""The guard around HDF5: a checksum at the end of our files, a process of its own for the rest.

What makes HDF5 hang or crash is not in these tests: a time limit that nothing could keep, and an
interpreter that ends itself, stand for it.
"""

import hashlib
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from phenomae.hdf5_files import append_checksum, require_readable
from phenomae.maps.read import read_map
from phenomae.profiles.wide_tables import AnnDataTable


@pytest.fixture
def foreign(tmp_path):
    """A file that anndata wrote, with chunks, text and categories."""
    path = tmp_path / "foreign.h5ad"
    rng = np.random.default_rng(3)
    table = anndata.AnnData(
        rng.normal(size=(40, 6)).astype(np.float32),
        obs=pd.DataFrame(
            {
                "gene": pd.Categorical(["TP53", "MDM2"] * 20),
                "well": [f"A{i:02}" for i in range(40)],
            },
            index=[f"row {i}" for i in range(40)],
        ),
    )
    table.write_h5ad(path, compression="gzip")
    return path


@pytest.fixture
def sealed(foreign, tmp_path):
    """The same file with a checksum."""
    path = tmp_path / "sealed.h5ad"
    path.write_bytes(append_checksum(foreign.read_bytes()))
    return path


def test_the_checksum_is_the_sha256_of_the_bytes_before_it(foreign, sealed):
    content = foreign.read_bytes()
    expected = b"\nsha256:" + hashlib.sha256(content).hexdigest().encode() + b"\n"
    assert sealed.read_bytes() == content + expected


def test_hdf5_and_anndata_ignore_the_checksum(foreign, sealed):
    one, two = anndata.read_h5ad(foreign), anndata.read_h5ad(sealed)
    np.testing.assert_array_equal(one.X, two.X)
    assert one.obs.equals(two.obs)
    require_readable(sealed)


def test_hdf5_removes_the_checksum_from_a_file_that_it_changes(foreign, sealed):
    with h5py.File(sealed, "r+") as file:
        file["obs"].attrs["note"] = "looked at"
    assert b"\nsha256:" not in sealed.read_bytes()
    require_readable(sealed)
    assert len(anndata.read_h5ad(sealed)) == 40


@pytest.mark.parametrize("place", [0, 200, 5_000, -74])
def test_a_changed_byte_is_found_before_hdf5_opens_the_file(sealed, place):
    content = bytearray(sealed.read_bytes())
    content[place] ^= 16
    sealed.write_bytes(content)
    for read in (require_readable, read_map, lambda path: AnnDataTable(path).schema):
        with pytest.raises(ValueError, match=r"sealed.h5ad is damaged: its bytes have changed"):
            read(sealed)


def test_a_file_of_other_software_is_read_within_the_limit(foreign):
    require_readable(foreign)


def test_a_file_that_is_not_finished_in_time_is_refused(foreign):
    with pytest.raises(ValueError, match=r"foreign.h5ad is not .*: HDF5 did not finish .* in 0 s"):
        require_readable(foreign, limit_s=0.001)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_crash_while_reading_is_one_sentence(foreign, tmp_path, monkeypatch):
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\nkill -SEGV $$\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    with pytest.raises(ValueError, match=r"HDF5 crashed while reading it \(signal 11\)"):
        require_readable(foreign)


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\nsha256:" + b"0" * 64 + b"\n"])
def test_a_file_that_is_no_hdf5_is_for_the_reader_to_refuse(tmp_path, content):
    path = tmp_path / "none.h5ad"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"none.h5ad is (not a readable .h5ad file|damaged)"):
        read_map(path)
