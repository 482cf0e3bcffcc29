"""Stores in place: they read as a copy of the plate does, and tell when the plate has changed."""

import io
import json
import os
import shutil

import numpy as np
import polars as pl
import pytest

from phenomae import cli
from phenomae.store import handles
from phenomae.store.check import check_store
from phenomae.store.ingest import IngestSettings, ingest
from phenomae.store.read import open_store, read_crops, read_field

IN_PLACE = IngestSettings(in_place=True, workers=1)
NETWORK = (
    "--crop-size 32 --patch-size 8 --embed-dim 16 --depth 1 --num-heads 2 --decoder-embed-dim 16 "
    "--decoder-depth 1 --decoder-num-heads 2 --steps 2 --crops-per-step 8 --device cpu "
    "--precision float32"
)


@pytest.fixture
def plate(write_zarr_plate, tmp_path):
    """A plate of two wells of two fields, two channels and three planes of 80 x 70 pixels."""
    rng = np.random.default_rng(1)
    paths = [f"{well}/{site}" for well in ("A/1", "A/2") for site in (0, 1)]
    images = {path: rng.integers(100, 4000, (2, 3, 80, 70), "uint16") for path in paths}
    return write_zarr_plate(tmp_path / "P.zarr", images, axes="czyx", labels=["DNA", "ER"])


def run(*words):
    assert cli.run([*map(str, words), "--quiet"]) == 0


@pytest.mark.parametrize("axes", ["yx", "tczyx"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_reads_as_what_was_written(write_zarr_plate, tmp_path, version, axes):
    """Planes are projected, channels chosen and reordered; crops are parts of the field."""
    rng = np.random.default_rng(2)
    lengths = {"t": 2, "c": 3, "z": 4, "y": 50, "x": 60}
    pixels = rng.integers(1, 60000, [lengths[axis] for axis in axes], "uint16")
    write_zarr_plate(tmp_path / "raw/P.zarr", {"C/4/0": pixels}, version=version, axes=axes)
    many = axes == "tczyx"
    more = {"time_point": "2", "channels": "3=c,1=a"} if many else {}
    store = ingest(
        tmp_path / "raw", tmp_path / "store", settings=IngestSettings(in_place=True, **more)
    )
    expected = pixels[1, [2, 0]].max(axis=1) if many else pixels[None]
    np.testing.assert_array_equal(read_field(store, 0), expected)
    chosen = [1, 0] if many else [0]
    crops = read_crops(store, [0, 0], [3, 18], [5, 28], 32, chosen)
    np.testing.assert_array_equal(crops[0], expected[chosen, 3:35, 5:37])
    np.testing.assert_array_equal(crops[1], expected[chosen, 18:50, 28:60])
    with pytest.raises(ValueError, match="has no crop of 32 at 30, 0: the field is 50 x 60"):
        read_crops(store, [0], [30], [0], 32)


def test_store_is_that_of_a_copy_without_pixels(plate, tmp_path, capsys):
    """The same table of fields, but another identity; no plate lies in the store."""
    copied = ingest(plate, tmp_path / "copied", settings=IngestSettings(workers=1))
    store = ingest(plate, tmp_path / "store", settings=IN_PLACE)
    told = capsys.readouterr().err
    assert "in place: crops are read from chunks of 32 x 32 pixels" in told
    assert f"4 fields of 1 plate, whose pixels stay in {plate}" in told
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [
        *("artefact.json", "fields.parquet", "in-place.arrow", "ingest-report.csv"),
        "raw-files.json",
    ]
    assert store.fields.equals(copied.fields)
    assert store.pixel_size_um == 0.5
    assert store.identity != copied.identity
    with pytest.raises(ValueError, match="in_place"):
        ingest(plate, tmp_path / "store", settings=IngestSettings(workers=1))


@pytest.mark.slow
def test_commands_give_what_a_copy_gives(plate, tmp_path):
    """Training, embeddings, features and quality control have the same bytes."""
    for name, flag in (("copied", []), ("store", ["--in-place"])):
        store, out = tmp_path / name, tmp_path / f"{name}-out"
        run("ingest", plate, store, *flag)
        run("pretrain", "vit-mae", store, out / "run", *NETWORK.split())
        device = ("--device", "cpu", "--precision", "float32")
        run("embed", store, out / "run", out / "wells", *device)
        run("features", store, out / "features")
        run("qc", store, out / "qc")
    for name in ("run/weights/model.safetensors", "wells/P.parquet", "features/P.parquet"):
        one, other = (tmp_path / f"{kind}-out" / name for kind in ("copied", "store"))
        assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "store-out/qc").is_dir()


def test_black_chunks_are_read(write_zarr_plate, tmp_path):
    """Writers leave out black chunks, which are no damage; all others are."""
    pixels = np.full((2, 64, 64), 7, "uint16")
    pixels[0, :32] = 0
    black = pixels.copy()
    black[1] = 0
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": pixels, "A/1/1": pixels + 1})
    store = ingest(plate, tmp_path / "store", settings=IN_PLACE)
    np.testing.assert_array_equal(read_field(store, 0), pixels)
    for quick in (False, True):
        check_store(store, quick=quick)
    (plate / "A/1/1/0/1.1.1").unlink()
    with pytest.raises(ValueError, match=f"which is {plate}/A/1/1/0, cannot be read: NOT_FOUND"):
        read_field(store, 1)
    write_zarr_plate(tmp_path / "Q.zarr", {"A/1/0": black})
    with pytest.raises(ValueError, match="plane 1 has no chunk stored"):
        ingest(tmp_path / "Q.zarr", tmp_path / "other", settings=IN_PLACE)
    assert not (tmp_path / "other").exists()


def test_check_tells_what_it_compared(plate, tmp_path, capsys):
    store = ingest(plate, tmp_path / "store", settings=IN_PLACE)
    capsys.readouterr()
    check_store(store)
    said = capsys.readouterr()
    assert said.out.endswith("store: 4 fields of 1 plate, no damage found\n")
    assert "not compared: the names of channels and pixel size in the plates" in said.err
    check_store(store, quick=True)
    assert "not compared: pixels (only the times of their files)" in capsys.readouterr().err
    assert cli.run(["check", str(tmp_path / "store")]) == 0


def change_pixels(plate):
    """Exchange a chunk by that of another field, of the same size and time."""
    one, other = plate / "A/1/0/0/0.0.0.0", plate / "A/2/1/0/0.0.0.0"
    before = os.stat(one)
    shutil.copy(other, one)
    os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns))


def touch(plate):
    os.utime(plate / "A/1/0/0/0.0.0.0", ns=(0, 0))


def drop_chunk(plate):
    (plate / "A/1/0/0/0.0.0.0").unlink()


def change_shape(plate):
    path = plate / "A/1/0/0/.zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shape": [2, 3, 80, 60]}))


def move(plate):
    plate.rename(plate.with_name("moved.zarr"))


@pytest.mark.parametrize(
    ("change", "found", "quick"),
    [
        (change_pixels, "the pixels of {array} have changed since ingest", None),
        (touch, None, "files of {array} have changed since ingest (by their times)"),
        (drop_chunk, "cannot be read: NOT_FOUND", "files of {array} have changed since ingest"),
        (change_shape, "it is uint16 of the shape (2, 3, 80, 60) now", "of the shape (2, 3, 80"),
        (move, "if its plate was moved, ingest it in place again", "if its plate was moved"),
    ],
)
def test_check_finds_changes(plate, tmp_path, capsys, change, found, quick):
    """One sentence names the array; what only the times show is found only by a quick check."""
    store = ingest(plate, tmp_path / "store", settings=IN_PLACE)
    change(plate)
    array = plate / "A/1/0/0"
    for is_quick, sentence in ((False, found), (True, quick)):
        capsys.readouterr()
        handles._begin_opening.cache_clear()  # as in a new process
        if sentence is None:
            check_store(store, quick=is_quick)
            continue
        with pytest.raises(ValueError, match="is damaged"):
            check_store(store, quick=is_quick)
        assert sentence.format(array=array) in capsys.readouterr().err


def test_damaged_references(plate, tmp_path, capsys):
    store = ingest(plate, tmp_path / "store", settings=IN_PLACE)
    path = tmp_path / "store/in-place.arrow"
    table = pl.read_ipc(io.BytesIO(path.read_bytes()))
    table.filter(pl.col("path") != "P.zarr/A/01/1").write_ipc(path)
    store = open_store(tmp_path / "store")
    with pytest.raises(ValueError, match=r"in-place\.arrow has no array for P\.zarr/A/01/1"):
        read_field(store, 1)
    with pytest.raises(ValueError, match=r"P\.zarr/A/01/1: in-place\.arrow has no array for it"):
        check_store(store)
    path.write_bytes(b"ARROW1")
    with pytest.raises(ValueError, match=r"in-place\.arrow cannot be read as a table"):
        open_store(tmp_path / "store")
    path.unlink()
    with pytest.raises(ValueError, match=r"in-place\.arrow is missing: the store is damaged"):
        open_store(tmp_path / "store")


def test_moved_plates_are_found_by_ingesting_again(plate, tmp_path, capsys):
    """The store keeps its identity: the pixels are the same."""
    before = ingest(plate, tmp_path / "store", settings=IN_PLACE)
    place = tmp_path / "elsewhere/P.zarr"
    place.parent.mkdir()
    plate.rename(place)
    with pytest.raises(ValueError, match="cannot be opened; if its plate was moved, ingest it in"):
        read_field(before, 0)
    after = ingest(place, tmp_path / "store", settings=IN_PLACE)
    assert f"refers to the plates in {place} now" in capsys.readouterr().err
    assert after.identity == before.identity
    assert read_field(after, 0).shape == (2, 80, 70)
    touch(place)
    with pytest.raises(ValueError, match="raw files of plate P have changed since"):
        ingest(place, tmp_path / "store", settings=IN_PLACE)
    ingest(place, tmp_path / "store", settings=IngestSettings(in_place=True, check_raw=True))
    check_store(tmp_path / "store", quick=True)


def test_plates_are_added(plate, write_zarr_plate, tmp_path):
    ingest(plate, tmp_path / "store", settings=IN_PLACE)
    pixels = np.random.default_rng(3).integers(1, 99, (2, 40, 40), "uint16")
    more = write_zarr_plate(tmp_path / "Q.zarr", {"A/1/0": pixels}, labels=["DNA", "ER"])
    with pytest.raises(ValueError, match="has in_place = True, but the plates to add have False"):
        ingest(more, tmp_path / "store", add=True, settings=IngestSettings(workers=1))
    store = ingest(more, tmp_path / "store", add=True, settings=IN_PLACE)
    assert store is not None
    np.testing.assert_array_equal(read_field(store, 4), pixels)
    assert read_field(store, 0).shape == (2, 80, 70)
    check_store(store)


def test_moved_plates_of_an_extended_store_are_found_by_adding_again(
    plate, write_zarr_plate, tmp_path, capsys
):
    """The first one and the added one; pixels that changed meanwhile are noticed."""
    ingest(plate, tmp_path / "store", settings=IN_PLACE)
    pixels = np.random.default_rng(3).integers(1, 99, (2, 40, 40), "uint16")
    more = write_zarr_plate(tmp_path / "Q.zarr", {"A/1/0": pixels}, labels=["DNA", "ER"])
    before = ingest(more, tmp_path / "store", add=True, settings=IN_PLACE)
    first = read_field(before, 0)
    for folder in (plate, more):
        place = tmp_path / "elsewhere" / folder.name
        place.parent.mkdir(exist_ok=True)
        folder.rename(place)
        handles._begin_opening.cache_clear()  # as in a new process
        with pytest.raises(ValueError, match=r"again from where it is \(with add, if plates were"):
            read_field(before, 0 if folder is plate else 4)
        after = ingest(place, tmp_path / "store", add=True, settings=IN_PLACE)
        assert f"refers to the plates in {place} now" in capsys.readouterr().err
        before = after
    assert len(after.fields) == 5
    np.testing.assert_array_equal(read_field(after, 0), first)
    np.testing.assert_array_equal(read_field(after, 4), pixels)
    check_store(after, quick=True)
    os.utime(place / "A/1/0/0/0.0.0", ns=(0, 0))
    with pytest.raises(ValueError, match="raw files of plate Q have changed since"):
        ingest(place, tmp_path / "store", add=True, settings=IN_PLACE)


def test_what_cannot_stay_in_place(write_screen, write_zarr_plate, tmp_path):
    with pytest.raises(ValueError, match=r"in_place needs OME-Zarr plates, but .* is a"):
        ingest(write_screen(), tmp_path / "store", settings=IN_PLACE)
    for name, value in (("bits", 8), ("value_range", (0.0, 1.0)), ("illumination", "divide")):
        with pytest.raises(ValueError, match=f"in_place leaves pixels as they are, but {name} = "):
            IngestSettings(in_place=True, **{name: value})
    images = {f"A/1/{n}": np.full((1, 32, 32), 5, "uint16") for n in (0, 1)}
    plate = write_zarr_plate(tmp_path / "P.zarr", images, acquisitions={"0": 0, "1": 1})
    for name in ("0", "1"):
        path = plate / "A/1" / name / ".zattrs"
        keys = json.loads(path.read_text())
        path.write_text(json.dumps({**keys, "omero": {"channels": [{"label": f"C{name}"}]}}))
    with pytest.raises(ValueError, match="in_place needs the channels of a field in one array"):
        ingest(plate, tmp_path / "store", settings=IN_PLACE)


def test_plates_on_s3(write_zarr_plate, tmp_path, bucket, capsys):
    """An address of a plate is copied or referred to, and reads as the plate on the disk."""
    pixels = np.random.default_rng(4).integers(1, 999, (2, 32, 64), "uint16")
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": pixels})
    for path in plate.rglob("*"):
        if path.is_file():
            key = f"P.zarr/{path.relative_to(plate).as_posix()}"
            bucket.client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    address = bucket.address("P.zarr")
    for in_place in (False, True):
        settings = IngestSettings(workers=1, in_place=in_place)
        store = ingest(address, tmp_path / f"s3-{in_place}", settings=settings)
        assert store is not None
        np.testing.assert_array_equal(read_field(store, 0), pixels)
        check_store(store, quick=in_place)
    bucket.client.delete_object(Bucket=bucket.name, Key="P.zarr/A/1/0/0/0.0.0")
    capsys.readouterr()
    with pytest.raises(ValueError, match="is damaged"):
        check_store(store, quick=True)
    assert f"{address}/A/1/0/0 lacks chunks that it had at ingest" in capsys.readouterr().err
    for name, what in (("P.zarr/A/1", "is a well of an OME-Zarr plate"), ("no", "holds no Zarr")):
        with pytest.raises(ValueError, match=f"{what}.*: at an address, raw images are read only"):
            ingest(bucket.address(name), tmp_path / "none")


def test_a_plate_is_no_store(plate):
    with pytest.raises(ValueError, match="is a Zarr group and no store: make one of OME-Zarr"):
        open_store(plate)
