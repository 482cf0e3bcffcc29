"""Reading a store: fields, crops, windows, and stores that cannot be read."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae.images.read import list_fields
from phenomae.images.read import read_field as read_raw
from phenomae.store.check import check_store
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.read import Store, open_store, read_crops, read_field, windows


@pytest.fixture
def raw(write_screen):
    return write_screen(plates=("P1", "P2"), size=(300, 170))


@pytest.fixture
def store_path(raw, tmp_path):
    ingest(raw, tmp_path / "store", settings=IngestSettings(pixel_size_um=0.5))
    return tmp_path / "store"


def test_a_store_tells_what_it_is(store_path):
    store = open_store(store_path)
    assert (store.channels, store.dtype, store.pixel_size_um) == (("DNA", "ER"), "uint16", 0.5)
    assert len(store.fields) == 12
    assert len(store.identity) == 32


def test_commands_return_the_store_they_made_found_or_checked(raw, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = IngestSettings(pixel_size_um=0.5)
    made = ingest(str(raw), "store", settings=settings)
    assert repr(made) == "Store('store', plates=2, fields=12, channels=['DNA', 'ER'])"
    assert os.fspath(made) == "store"
    found = ingest(raw, Path("store"), settings=settings)
    assert "already there" in capsys.readouterr().err
    table = pl.read_parquet("store/fields.parquet")
    for store in (
        made,
        found,
        open_store("store"),
        open_store(made),
        check_store(made, quick=True),
    ):
        assert isinstance(store, Store)
        assert store.identity == made.identity
        assert store.to_polars().equals(table)
        assert store.to_pandas()["checksum"].tolist() == table["checksum"].to_list()
    assert ingest(raw, "other", settings=IngestSettings(dry_run=True)) is None
    assert not Path("other").exists()


def test_a_store_on_another_machine_is_shown_by_its_address(store_path):
    store = replace(open_store(store_path), path="s3://bucket/folder")
    assert os.fspath(store) == "s3://bucket/folder"
    assert repr(store).startswith("Store('s3://bucket/folder', plates=2, ")


def test_fields_and_crops_are_the_pixels_of_the_files(raw, store_path):
    store = open_store(store_path)
    truth = [read_raw(field) for field in list_fields(raw).fields]
    for index in (0, 5, 11):
        np.testing.assert_array_equal(read_field(store, index), truth[index])
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 12, 40)
    tops, lefts = rng.integers(0, 300 - 160 + 1, 40), rng.integers(0, 170 - 160 + 1, 40)
    crops = read_crops(store, indices, tops, lefts, 160)
    assert crops.shape == (40, 2, 160, 160)
    assert crops.dtype == np.uint16
    for crop, index, top, left in zip(crops, indices, tops, lefts, strict=True):
        np.testing.assert_array_equal(crop, truth[index][:, top : top + 160, left : left + 160])
    assert read_crops(store, [], [], [], 64).shape == (0, 2, 64, 64)


def test_a_crop_beyond_its_field_is_refused(store_path):
    with pytest.raises(ValueError, match="A/01/0 has no crop of 160 at 141, 0"):
        read_crops(open_store(store_path), [0], [141], [0], 160)


def test_windows_are_those_of_plate_and_channel(raw, store_path):
    store = open_store(store_path)
    found = windows(store, np.array([0, 7, 11]))
    assert found.shape == (3, 2, 2)
    assert found.dtype == np.float32
    pixels = np.stack([read_raw(f) for f in list_fields(raw).fields if f.plate == "P2"])
    expected = np.percentile(pixels, [0.1, 99.9], axis=(0, 2, 3), method="inverted_cdf").T
    np.testing.assert_array_equal(found[1], expected)
    np.testing.assert_array_equal(found[2], expected)
    assert windows(store, []).shape == (0, 2, 2)


def test_a_store_replaced_under_its_name_is_read_anew(raw, store_path):
    first = read_field(open_store(store_path), 0)
    ingest(raw, store_path, settings=IngestSettings(channels="ER,DNA"), overwrite=True)
    np.testing.assert_array_equal(read_field(open_store(store_path), 0), first[::-1])


def test_stores_that_cannot_be_read(store_path, tmp_path, resign):
    with pytest.raises(ValueError, match="holds no store: there is nothing of that name"):
        open_store(tmp_path / "nothing")
    table = store_path / "fields.parquet"
    whole = table.read_bytes()
    pl.read_parquet(table).drop("checksum").write_parquet(table)
    with pytest.raises(ValueError, match=r"store is damaged: fields.parquet has changed since"):
        open_store(store_path)
    resign(store_path)
    with pytest.raises(ValueError, match=r"fields.parquet has no column checksum"):
        open_store(store_path)
    table.write_bytes(whole)
    pl.read_parquet(table).with_columns(control=pl.lit("False")).write_parquet(table)
    resign(store_path)
    with pytest.raises(ValueError, match=r"fields.parquet: the column 'control' is String, not B"):
        open_store(store_path)
    table.write_bytes(whole[:100])
    resign(store_path)
    with pytest.raises(ValueError, match=r"fields.parquet is not a Parquet file"):
        open_store(store_path)
    table.unlink()
    with pytest.raises(ValueError, match=r"fields.parquet is missing: the store is damaged"):
        open_store(store_path)
    signature = json.loads((store_path / "artefact.json").read_text())
    (store_path / "artefact.json").write_text(json.dumps(signature | {"format": 99}))
    with pytest.raises(ValueError, match=r"has format 99, of phenomae .* up to 2: install"):
        open_store(store_path)


def test_another_version_is_not_overwritten_silently(raw, store_path):
    signature = json.loads((store_path / "artefact.json").read_text())
    (store_path / "artefact.json").write_text(json.dumps(signature | {"format": 99}))
    with pytest.raises(ValueError, match="has format 99"):
        ingest(raw, store_path)


def test_damaged_pixels_are_told_with_their_field(store_path):
    store = open_store(store_path)
    shard = store_path / store.fields["path"][3] / "0/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"A/02/1 cannot be read"):
        read_field(store, 3)
    with pytest.raises(ValueError, match=r"A/02/1 cannot be read"):
        read_crops(store, [0, 3], [0, 0], [0, 0], 64)
    shard.unlink()
    with pytest.raises(ValueError, match=r"A/02/1 cannot be read"):
        read_field(open_store(store_path.rename(store_path.with_name("elsewhere"))), 3)
    store_path.with_name("elsewhere").rename(store_path)
    (shard.parents[3] / "zarr.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be opened"):
        open_store(store_path.rename(store_path.with_name("moved"))).array(3)
