"""A plate as one file: read by zarr-python and ngio, validated by ome-zarr-models."""

import json
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
import zarr
from ome_zarr_models.v05.hcs import HCS

from phenomae import cli
from phenomae.images.read import list_fields
from phenomae.reporting.check import check
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.read import open_store
from phenomae.store.single_file import export_plate


@pytest.fixture(scope="module")
def screen(tmp_path_factory, write_raw) -> Path:
    """A folder with raw plates and their store."""
    folder = tmp_path_factory.mktemp("screen")
    raw = write_raw(folder / "raw", plates=("P1", "P2"), wells=("A01", "A12", "AA01"))
    ingest(raw, folder / "store", settings=IngestSettings(pixel_size_um=0.65))
    return folder


def test_zarr_python_reads_the_pixels_and_ome_zarr_models_validates_the_plate(screen, tmp_path):
    out = tmp_path / "deep/P1.ozx"
    assert cli.run(["store", "export", str(screen / "store"), "P1", str(out)]) == 0
    with zarr.storage.ZipStore(out, mode="r") as zipped:
        group = zarr.open_group(zipped, mode="r")
        plate = HCS.from_zarr(group)
        names = [well.path for well in plate.attributes.ome.plate.wells]
        assert names == ["A/01", "A/12", "AA/01"]
        assert len(list(plate.well_groups)) == 3  # validates each well
        fields = [field for field in list_fields(screen / "raw").fields if field.plate == "P1"]
        assert len(fields) == 6
        for field in fields:
            row, column = field.well[:-2], field.well[-2:]
            array = group[f"{row}/{column}/{field.site - 1}/0"]
            expected = np.stack([tifffile.imread(image.planes[0].url) for image in field.images])
            np.testing.assert_array_equal(array[:], expected)
        attributes = dict(group["A/01/0"].attrs)["ome"]
        assert attributes["multiscales"][0]["axes"][2]["unit"] == "micrometer"


def test_the_archive_is_as_the_rfc_recommends(screen, tmp_path):
    out = export_plate(screen / "store", "P2", tmp_path / "P2.ozx").path
    with zipfile.ZipFile(out) as archive:
        entries = archive.infolist()
        assert archive.testzip() is None
        assert json.loads(archive.comment.decode("utf-8")) == {
            "ome": {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}
        }
    names = [entry.filename for entry in entries]
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    documents = [name for name in names if name.endswith("zarr.json")]
    assert names[: len(documents)] == documents
    assert documents[0] == "zarr.json"
    depths = [name.count("/") for name in documents]
    assert depths == sorted(depths)  # breadth first
    # 1 plate, 2 rows, 3 wells, 6 images, 6 arrays; and one shard of each array.
    assert (len(documents), len(names)) == (18, 24)
    assert [entry.header_offset for entry in entries] == sorted(e.header_offset for e in entries)
    files = {
        path.relative_to(screen / "store/P2.zarr").as_posix(): path.read_bytes()
        for path in (screen / "store/P2.zarr").rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(out) as archive:
        assert {name: archive.read(name) for name in names} == files


def test_the_same_plate_gives_the_same_bytes_and_another_is_not_replaced(screen, tmp_path, capsys):
    one, two = tmp_path / "one.ozx", tmp_path / "two.ozx"
    store = open_store(screen / "store")
    export_plate(store, "P1", one)
    export_plate(store, "P1", two)
    content = one.read_bytes()
    assert content == two.read_bytes()
    export_plate(store, "P1", one)
    assert "one.ozx is already there, with the same plate" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"one\.ozx holds another plate: choose another name, or"):
        export_plate(store, "P2", one)
    assert one.read_bytes() == content
    table = check(one, among=[screen])
    assert table["state"].to_list()[:2] == ["complete", "complete"]
    export_plate(store, "P2", one, overwrite=True)
    assert one.read_bytes() != content
    Path(f"{two}.artefact.json").unlink()  # as after a kill while another plate was replaced
    with pytest.raises(ValueError, match="is there, and not as store export wrote it: choose"):
        export_plate(store, "P2", two)
    export_plate(store, "P2", two, overwrite=True)
    assert two.read_bytes() == one.read_bytes()
    Path(f"{one}.artefact.json").write_text("{")
    one.write_bytes(b"mine")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="is there, and not as store export wrote it: choose"):
            export_plate(store, "P1", one, overwrite=overwrite)


def test_a_plate_beyond_the_limits_of_zip_is_zip64(screen, tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)  # 2 GiB
    out = export_plate(screen / "store", "P1", tmp_path / "P1.ozx").path
    content = out.read_bytes()
    assert b"PK\x06\x06" in content  # the end of a ZIP64 central directory
    with zarr.storage.ZipStore(out, mode="r") as zipped:
        assert zarr.open_group(zipped, mode="r")["A/01/0/0"].shape == (2, 150, 130)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("A/01/1/0/c/0/0/0", "store is damaged: P1.zarr/A/01/1/0: "),
        ("A/zarr.json", "store is damaged: P1.zarr/A: its zarr.json is missing"),
    ],
)
def test_a_damaged_plate_is_refused_and_nothing_is_left(
    screen, write_raw, tmp_path, name, sentence
):
    ingest(write_raw(tmp_path / "raw"), tmp_path / "store")
    path = tmp_path / "store/P1.zarr" / name
    if name.endswith("json"):
        path.unlink()
    else:
        damage(path)
    with pytest.raises(ValueError, match=sentence):
        export_plate(tmp_path / "store", "P1", tmp_path / "P1.ozx")
    assert not list(tmp_path.glob("P1*"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("store", "P3", "P3.ozx"), "store has no plate 'P3': it has P1, P2"),
        (("store", "P1", "P1.zip"), "P1.zip cannot be the plate: give it a name that ends with"),
        (("absent", "P1", "P1.ozx"), "absent holds no store: there is nothing of that name"),
        (("store", "P1", "store/P1.ozx"), "is inside .*store, which phenomae made"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(screen, tmp_path, words, sentence):
    store, plate, out = words
    place = screen if out.startswith("store") else tmp_path
    with pytest.raises(ValueError, match=sentence):
        export_plate(screen / store, plate, place / out)
    assert not list(tmp_path.iterdir())


def test_a_plate_of_a_store_on_s3_is_the_same_file(screen, tmp_path, bucket):
    store = screen / "store"
    for path in store.rglob("*"):
        if path.is_file():
            key = f"s/{path.relative_to(store).as_posix()}"
            bucket.client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    export_plate(bucket.address("s"), "P1", tmp_path / "far.ozx")
    export_plate(store, "P1", tmp_path / "near.ozx")
    assert (tmp_path / "far.ozx").read_bytes() == (tmp_path / "near.ozx").read_bytes()
    assert pl.read_parquet(store / "fields.parquet")["plate"].n_unique() == 2
