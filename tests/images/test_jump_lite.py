"""JUMP-Lite: stores as its authors write them, with zarr-python and imagecodecs, but small."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numcodecs
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from imagecodecs.numcodecs import Jpegxl
from zarr.codecs import BloscCodec

from phenomae import cli
from phenomae.images.fields import Listing
from phenomae.images.layouts import jump_lite_release
from phenomae.images.layouts.jump_lite import find_jump_lite, list_jump_lite
from phenomae.images.read import list_fields, read_field, read_headers
from phenomae.images.settings import LayoutSettings
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.read import open_store

KEYS = (
    "source_2__20210607_Batch_2__1053600674__A01__1",
    "source_2__20210607_Batch_2__1053600674__A01__2",
    "source_2__20210607_Batch_2__1053600674__B02__1",
    "source_13__20220914_Run1__CP-CC9-R1-01__A01__0",
    "source_4__2021_06_14_Batch6__BR00121438__A01__1",
)
STORES = ("zstd.zarr", "jpegxl_lossy_mq.zarr")
INDEX, TABLE = "jump_lite_site_index.parquet", "jump_lite_perturbation_metadata.parquet"
# Where the tables and the stores are below source_all, in both releases of 2026.
SEPTEMBER = (
    "workspace/publication_data/2026_jump_lite/metadata/v1.0",
    "images/2026_jump_lite_v1.0/images_compressed",
)
AUGUST = ("workspace/metadata/jump_lite/v1.0", "images_compressed/jump_lite/v1.0")
CHUNKS = {"zstd.zarr": "c/0/0/0", "jpegxl_lossy_mq.zarr": "0.0.0"}


def pixels(key: str, channels: int = 5) -> np.ndarray:
    """Return five blurred spots on noise, 40 x 48, others for each key."""
    rng = np.random.default_rng(KEYS.index(key))
    y, x = np.mgrid[:40, :48]
    spots = [8000 * np.exp(-((y - 10 - 4 * c) ** 2 + (x - 24) ** 2) / 60) for c in range(channels)]
    return (np.stack(spots) + rng.uniform(300, 500, (channels, 40, 48))).astype(np.uint16)


def write_zstd(path: Path, arrays: dict[str, np.ndarray]) -> None:
    store = zarr.storage.LocalStore(path)
    zarr.open_group(store=store, mode="a", zarr_format=3)
    blosc = BloscCodec(cname="zstd", clevel=9, shuffle="bitshuffle")
    for key, array in arrays.items():
        shape, kind = array.shape, array.dtype
        made = zarr.create_array(
            store, name=key, shape=shape, chunks=shape, dtype=kind, compressors=blosc, zarr_format=3
        )
        made[:] = array


def write_jpeg_xl(path: Path, arrays: dict[str, np.ndarray], distance: float = 3.0) -> None:
    numcodecs.register_codec(Jpegxl)
    store = zarr.storage.LocalStore(path)
    codec = Jpegxl(lossless=False, distance=distance)
    for key, array in arrays.items():
        shape, kind = array.shape, array.dtype
        made = zarr.create_array(
            store, name=key, shape=shape, chunks=shape, dtype=kind, compressors=codec, zarr_format=2
        )
        made[:] = array


def write_index(folder: Path, keys: tuple[str | None, ...] = KEYS) -> Path:
    """Write the index, with the columns of LoadData that it has beside the keys."""
    parts = [[*(key or "").split("__"), *[""] * 4][:5] for key in keys]
    columns: dict[str, object] = {"Metadata_Site_Key": list(keys)}
    names = ("Source", "Batch", "Plate", "Well", "Site")
    for name, values in zip(names, zip(*parts, strict=True), strict=True):
        columns[f"Metadata_{name}"] = list(values)
    for channel in jump_lite_release.CHANNELS:
        columns[f"URL_Orig{channel}"] = [f"s3://gallery/{key}_{channel}.tiff" for key in keys]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / INDEX)
    return folder / INDEX


WELLS = {
    KEYS[0]: ("JCP2022_033924", None, "negcon", "compound"),
    KEYS[2]: ("JCP2022_025848", None, "poscon", "compound"),
    KEYS[3]: ("JCP2022_800002", "non-targeting", "negcon", "crispr"),
    KEYS[4]: ("JCP2022_900001", "TP53", "trt", "orf"),
}


def write_table(folder: Path, *, categories: bool = False, **changes: object) -> Path:
    rows = []
    for key, (compound, symbol, kind, modality) in WELLS.items():
        source, batch, plate, well, _ = key.split("__")
        rows.append(
            {
                "Metadata_Well_Key": key.rpartition("__")[0],
                "Metadata_Source": source,
                "Metadata_Batch": batch,
                "Metadata_Plate": plate,
                "Metadata_Well": well,
                "Metadata_JCP2022": compound,
                "Metadata_broad_sample": None,
                "Metadata_Symbol": symbol,
                "Metadata_pert_type": kind,
                "Metadata_Perturbation_Type": modality,
                "Metadata_Group": "group_high",
            }
            | changes
        )
    table = pa.Table.from_pylist(rows)
    if categories:  # as in the table that the release was made from
        names = ("Metadata_JCP2022", "Metadata_Symbol", "Metadata_pert_type")
        for name in names:
            column = table[name].combine_chunks().dictionary_encode()
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, column)
    pq.write_table(table, folder / TABLE)
    return folder / TABLE


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables and both stores in one folder; tests copy it."""
    folder = tmp_path_factory.mktemp("jump-lite")
    write_index(folder)
    write_table(folder)
    arrays = {key: pixels(key) for key in KEYS}
    write_zstd(folder / "zstd.zarr", arrays)
    write_jpeg_xl(folder / "jpegxl_lossy_mq.zarr", arrays)
    return folder


@pytest.fixture
def raw(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "raw")


def listed(raw: Path, **settings) -> Listing:
    return list_jump_lite(raw, find_jump_lite(raw), LayoutSettings(**settings))


def decoded(raw: Path, key: str) -> np.ndarray:
    return imagecodecs.jpegxl_decode((raw / "jpegxl_lossy_mq.zarr" / key / "0.0.0").read_bytes())


def test_sites_and_channels_come_from_the_keys(raw: Path):
    listing = listed(raw, images=raw / "zstd.zarr")
    assert [(f.plate, f.well, f.site, f.channel) for f in listing.files[:6]] == [
        *(("1053600674", "A01", 1, name) for name in ("AGP", "DNA", "ER", "Mito", "RNA")),
        ("1053600674", "A01", 2, "AGP"),
    ]
    assert {(f.plate, f.site) for f in listing.files[15:]} == {
        ("CP-CC9-R1-01", 0),
        ("BR00121438", 1),
    }
    place = listing.files[1].place
    assert str(place) == f"{raw}/zstd.zarr/{KEYS[0]}/c/0/0/0, channel 1"
    assert listing.pixel_sizes_um == {
        "1053600674": 0.65,
        "CP-CC9-R1-01": 0.65,
        "BR00121438": 0.597976,
    }
    assert not listing.problems


@pytest.mark.parametrize("categories", [False, True])
def test_wells_are_those_of_the_table_of_perturbations(raw: Path, categories: bool):
    write_table(raw, categories=categories)
    wells = listed(raw, images=raw / "zstd.zarr").wells
    assert wells is not None
    names = ("batch", "perturbation", "gene", "guide", "compound", "concentration_um", "control")
    found = {(row["plate"], row["well"]): [row[n] for n in names] for row in wells.to_dicts()}
    two = "source_2__20210607_Batch_2"
    assert found == {
        ("1053600674", "A01"): [two, "JCP2022_033924", None, None, None, None, True],
        ("1053600674", "B02"): [
            *(two, "JCP2022_025848", None, None, "JCP2022_025848", None, False),
        ],
        ("CP-CC9-R1-01", "A01"): [
            *("source_13__20220914_Run1", "JCP2022_800002", None, None, None, None, True),
        ],
        ("BR00121438", "A01"): [
            *("source_4__2021_06_14_Batch6", "JCP2022_900001", "TP53", None, None, None, False),
        ],
    }


def test_pixels_are_those_that_zarr_and_imagecodecs_read(raw: Path):
    for store in STORES:
        plates = list_fields(raw, LayoutSettings(images=raw / store, channels="RNA,DNA"))
        assert plates.channels == ("RNA", "DNA")
        headers, problems = read_headers(plates.fields, workers=1)
        assert not problems
        assert {(h.height, h.width, h.dtype) for h in headers if h} == {(40, 48, "uint16")}
        numcodecs.register_codec(Jpegxl)  # for zarr-python only
        for field in plates.fields:
            (key,) = [
                k
                for k in KEYS
                if k.split("__")[2:4] == [field.plate, field.well] and k.endswith(f"__{field.site}")
            ]
            expected = zarr.open_array(raw / store / key, mode="r")[:][[4, 1]]
            np.testing.assert_array_equal(read_field(field), expected)
            if store == "zstd.zarr":
                np.testing.assert_array_equal(expected, pixels(key)[[4, 1]])


def test_the_sizes_of_chunks_are_those_of_the_files(raw: Path):
    for store in STORES:
        plates = list_fields(raw, LayoutSettings(images=raw / store, where="site = 0"))
        (header,), _ = read_headers(plates.fields, workers=1)
        assert header is not None
        size = (raw / store / KEYS[3] / CHUNKS[store]).stat().st_size
        assert header.bytes == (size,) * 5


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(("tables", "stores"), [SEPTEMBER, AUGUST, ("", "")])
def test_both_releases_are_ingested_by_processes(
    written: Path, tmp_path: Path, tables: str, stores: str, store: str, capsys
):
    raw = tmp_path / "source_all"
    (raw / tables).mkdir(parents=True)
    for name in (INDEX, TABLE):
        shutil.copy(written / name, raw / tables / name)
    shutil.copytree(written / store, raw / stores / store)
    where = "source IN ('source_2', 'source_13')"
    flags = ["--where", where, "--workers", "2"]
    assert cli.run(["ingest", str(raw), str(tmp_path / "store"), *flags]) == 0
    printed = capsys.readouterr().err
    assert f"layout jump-lite, because of {raw / tables / INDEX} and 1 more" in printed
    fields = open_store(tmp_path / "store").fields
    assert fields.select("plate", "well", "site", "control").rows() == [
        ("1053600674", "A01", 1, True),
        ("1053600674", "A01", 2, True),
        ("1053600674", "B02", 1, False),
        ("CP-CC9-R1-01", "A01", 0, True),
    ]
    for key, path in zip(KEYS, fields["path"], strict=False):
        expected = pixels(key) if store == "zstd.zarr" else decoded(written, key)
        found = zarr.open_array(tmp_path / "store" / path / "0", mode="r")[:]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("store", STORES)
def test_a_store_on_s3(written: Path, raw: Path, tmp_path: Path, bucket, store: str, capsys):
    for path in (raw / store).rglob("*"):
        if path.is_file():
            key = f"gallery/{SEPTEMBER[1]}/{path.relative_to(raw).as_posix()}"
            bucket.client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    address = bucket.address(f"gallery/{SEPTEMBER[1]}/{store}")
    shutil.rmtree(raw / "zstd.zarr")
    shutil.rmtree(raw / "jpegxl_lossy_mq.zarr")
    flags = ["--images", address, "--where", "plate = '1053600674'"]
    # The index itself, as it was downloaded alone.
    assert cli.run(["ingest", str(raw / INDEX), str(tmp_path / "store"), *flags]) == 0
    fields = open_store(tmp_path / "store").fields
    assert len(fields) == 3
    zarr_path = tmp_path / "store" / fields["path"][0] / "0"
    found = zarr.open_array(zarr_path, mode="r")[:]
    expected = pixels(KEYS[0]) if store == "zstd.zarr" else decoded(written, KEYS[0])
    np.testing.assert_array_equal(found, expected)
    chunk = f"{address}/{KEYS[1]}/{CHUNKS[store]}"
    bucket.client.delete_object(Bucket=bucket.name, Key=chunk.removeprefix(f"s3://{bucket.name}/"))
    capsys.readouterr()
    words = ["ingest", str(raw), str(tmp_path / "other"), *flags, "--quiet"]
    assert cli.run(words) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"there is no file {chunk}: Zarr would read the field as a black image" in told
    key = chunk.removeprefix(f"s3://{bucket.name}/")
    for length in (0, 10, 300):  # without and with a header
        body = (written / store / KEYS[1] / CHUNKS[store]).read_bytes()[:length]
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)
        words[2] = str(tmp_path / f"store-{length}")
        assert cli.run(words) == 1
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert chunk in told
    words[words.index(address)] = bucket.address("gallery")
    assert cli.run(words) == 1
    assert f"{bucket.address('gallery')} is not a store of JUMP-Lite" in capsys.readouterr().err


def test_the_sample_of_the_authors_own_writer(shared: Path, tmp_path: Path):
    sample = shared / "data/jump_lite_sample"
    truth = dict(np.load(sample / "truth.npz"))
    write_index(tmp_path, tuple(truth))
    for store, largest in (
        ("zstd.zarr", 0),
        ("jpegxl_lossy_hq.zarr", 1000),
        ("jpegxl_lossy_mq.zarr", 2000),
        ("jpegxl_lossy_d20.zarr", 4000),
    ):
        plates = list_fields(tmp_path, LayoutSettings(images=sample / store))
        assert read_headers(plates.fields, workers=1)[1] == []
        for field in plates.fields:
            (key,) = [key for key in truth if field.plate in key]
            found = read_field(field)
            assert found.dtype == np.uint16
            difference = np.abs(found.astype(int) - truth[key])
            assert difference.max() <= largest
            if largest:
                content = (sample / store / key / "0.0.0").read_bytes()
                np.testing.assert_array_equal(found, imagecodecs.jpegxl_decode(content))


def test_a_store_without_perturbations_has_batches(raw: Path, capsys):
    (raw / TABLE).unlink()
    wells = listed(raw, images=raw / "zstd.zarr", where="site = 0").wells
    assert wells is not None
    assert wells.rows() == [
        *[("CP-CC9-R1-01", "A01", "source_13__20220914_Run1", *[None] * 5, False)]
    ]
    assert "no *perturbation_metadata.parquet beside the index" in capsys.readouterr().err


def test_a_well_that_the_table_lacks_is_an_error_or_kept(raw: Path, tmp_path: Path):
    table = pl.read_parquet(raw / TABLE)
    table.filter(pl.col("Metadata_Well") != "B02").write_parquet(raw / TABLE)
    settings = {"images": raw / "zstd.zarr", "where": "source = 'source_2'", "workers": 1}
    with pytest.raises(ValueError, match="plate 1053600674, well B02 has images but is not in"):
        ingest(raw, tmp_path / "store", settings=IngestSettings(**settings))
    store = ingest(raw, tmp_path / "s", settings=IngestSettings(**settings, unmapped="keep"))
    assert store is not None
    assert store.fields["perturbation"].to_list() == ["JCP2022_033924"] * 2 + [None]


def test_the_release_is_known_by_the_hash_of_its_keys(raw: Path, monkeypatch, capsys):
    digest = hashlib.sha256("\n".join(sorted(KEYS)).encode()).hexdigest()
    listed(raw, images=raw / "zstd.zarr")
    unknown = "5 sites of JUMP-Lite, a release that is not known here, or a part of one"
    assert f"{unknown} (site_key_sha256 {digest})" in capsys.readouterr().err
    monkeypatch.setitem(jump_lite_release._RELEASES, digest, "v1.0 of a test")
    listed(raw, images=raw / "zstd.zarr")
    assert "5 sites of JUMP-Lite, v1.0 of a test (site_key" in capsys.readouterr().err


def test_the_table_of_images_names_each_site_once(raw: Path):
    index = pl.read_parquet(raw / INDEX).select("Metadata_Site_Key")
    pl.concat([index] * 5).write_parquet(raw / "jump_lite_image_index.parquet")
    listing = listed(raw / "jump_lite_image_index.parquet", images=raw / "zstd.zarr")
    assert len(listing.files) == 25


def test_raw_is_another_layout_without_index_and_store(raw: Path, tmp_path: Path):
    assert find_jump_lite(raw / TABLE) == []
    (tmp_path / "a.csv").touch()
    assert find_jump_lite(tmp_path / "a.csv") == []
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    assert find_jump_lite(tmp_path / "b.parquet") == []
    zarr.open_group(tmp_path / "plate.zarr/A", mode="w")
    zarr.open_group(tmp_path / "plate.zarr", mode="a")
    assert find_jump_lite(tmp_path) == []
    assert find_jump_lite(tmp_path / "plate.zarr") == []


def test_tables_or_stores_that_are_not_there(raw: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"raw has the stores jpegxl_lossy_mq.zarr and zstd.zarr:"):
        listed(raw)
    with pytest.raises(ValueError, match=r"raw is not a store|raw has the stores"):
        listed(raw, images=raw)
    with pytest.raises(ValueError, match=r"none is not a store of JUMP-Lite, such as jpegxl_lossy"):
        listed(raw, images=tmp_path / "none")
    shutil.rmtree(raw / "zstd.zarr")
    assert len(listed(raw, images=raw).files) == len(listed(raw).files) == 25
    (raw / INDEX).rename(tmp_path / INDEX)
    without = r"raw/jpegxl_lossy_mq.zarr is a store of JUMP-Lite without its index: put jump_lite_s"
    for path in (raw, raw / "jpegxl_lossy_mq.zarr"):
        with pytest.raises(ValueError, match=without):
            list_fields(path)
    with pytest.raises(
        ValueError, match=r"index.parquet has no store of images beside it, such as"
    ):
        listed(tmp_path / INDEX)


def test_images_of_other_layouts_are_on_this_machine(write_screen):
    with pytest.raises(
        ValueError,
        match="images must be a folder on this machine for the layout "
        "loaddata, not s3://bucket/images",
    ):
        list_fields(write_screen(), LayoutSettings(images="s3://bucket/images/"))


def test_an_index_that_is_no_table(raw: Path):
    (raw / INDEX).write_bytes((raw / INDEX).read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"site_index.parquet is not a readable Parquet file: "):
        listed(raw)
    pl.DataFrame(schema={"Metadata_Site_Key": pl.String}).write_parquet(raw / INDEX)
    with pytest.raises(ValueError, match=r"site_index.parquet has no rows"):
        listed(raw)


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("source_2__B__P__A01", "it has 4 parts, expected 5: source__batch__plate__well__site"),
        ("source_2__B__P__A01__1__2", "it has 6 parts, expected 5"),
        (None, "it has 1 parts, expected 5"),
        ("source_2__B__P__A0__1", "'A0' is not a well"),
        ("source_2__B__P__A01__one", "'one' is not a site: expected a whole number"),
        ("source_2__../..__P__A01__1", "'../..' cannot be the name of a batch"),
        ("source_2__B__.P__A01__1", "'.P' cannot be the name of a plate: it begins with a dot"),
    ],
)
def test_a_key_that_is_no_name_of_a_site_is_a_problem(raw: Path, key, what: str):
    write_index(raw, (*KEYS, key))
    listing = listed(raw, images=raw / "zstd.zarr")
    assert len(listing.files) == 25
    (problem,) = listing.problems
    assert f"{raw / INDEX}: Metadata_Site_Key {key!r} cannot be understood: {what}" in str(problem)


def test_a_plate_in_two_batches_is_an_error(raw: Path):
    write_index(raw, (*KEYS, KEYS[0].replace("Batch_2", "Batch_3")))
    with pytest.raises(
        ValueError, match=r"plate 1053600674 is in the batches source_2__20210607_Batch_2 and sou"
    ):
        listed(raw, images=raw / "zstd.zarr")
    where = "batch = 'source_2__20210607_Batch_2'"
    assert len(listed(raw, images=raw / "zstd.zarr", where=where).files) == 15


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"Metadata_pert_type": "ctl"}, "Metadata_pert_type has 'ctl', which is neither true nor"),
        (
            {"Metadata_Perturbation_Type": "sirna"},
            "Type is 'sirna': expected compound, crispr, orf",
        ),
        ({"Metadata_Well": "A"}, "4 problems: line 2: 'A' is not a well"),
    ],
)
def test_a_table_of_perturbations_that_is_wrong(raw: Path, changes, sentence: str):
    path = write_table(raw, **changes)
    with pytest.raises(ValueError, match=rf"{path}: .*{sentence}"):
        listed(raw, images=raw / "zstd.zarr")


def test_a_table_of_perturbations_that_contradicts_itself_or_lacks_a_column(raw: Path):
    table = pl.read_parquet(raw / TABLE)
    other = table.with_columns(Metadata_JCP2022=pl.lit("JCP2022_000001"))
    pl.concat([table, other]).write_parquet(raw / TABLE)
    with pytest.raises(ValueError, match="plate 1053600674, well A01 is listed twice, with diff"):
        listed(raw, images=raw / "zstd.zarr")
    table.drop("Metadata_Symbol").write_parquet(raw / TABLE)
    with pytest.raises(
        ValueError, match=r"has no column Metadata_Symbol; it has Metadata_Well_Key"
    ):
        listed(raw, images=raw / "zstd.zarr")


def problems_of(raw: Path, store: str, **settings) -> list[str]:
    plates = list_fields(raw, LayoutSettings(images=raw / store, where="site = 0", **settings))
    return [str(problem) for problem in read_headers(plates.fields, workers=1)[1]]


@pytest.mark.parametrize("store", STORES)
def test_a_chunk_or_metadata_that_are_missing_or_damaged(raw: Path, store: str):
    folder = raw / store / KEYS[3]
    chunk = folder / CHUNKS[store]
    metadata = folder / ("zarr.json" if store == "zstd.zarr" else ".zarray")
    assert problems_of(raw, store) == []
    kept = chunk.read_bytes(), metadata.read_bytes()
    chunk.unlink()
    assert problems_of(raw, store) == [
        f"there is no file {chunk}: Zarr would read the field as a black image"
    ]
    chunk.write_bytes(kept[0])
    for content in (b"{", b"[]", b'{"shape": "abc"}', b"null"):
        metadata.write_bytes(content)
        assert problems_of(raw, store) == [f"{metadata} is not the metadata of a Zarr array"]
    metadata.unlink()
    assert problems_of(raw, store) == [f"there is no file {metadata}"]


@pytest.mark.parametrize(
    ("store", "name", "change", "sentence"),
    [
        ("zstd.zarr", "zarr.json", {"shape": [6, 40, 48]}, "has chunks of (5, 40, 48): expected"),
        (STORES[1], ".zarray", {"chunks": [1, 40, 48]}, "has chunks of (1, 40, 48): expected one"),
        (STORES[1], ".zarray", {"compressor": {"id": "lz4"}}, "has the codec 'lz4': expected 'ima"),
        (STORES[1], ".zarray", {"compressor": None}, "has the codec None: expected 'imagecodecs_j"),
        ("zstd.zarr", "zarr.json", {"codecs": [{"name": "bytes"}, {"name": "gzip"}]}, "bytes, gz"),
        (STORES[1], ".zarray", {"dtype": "<f4"}, "has pixels of type float32: expected uint8 or"),
        ("zstd.zarr", "zarr.json", {"data_type": "int64"}, "has pixels of type int64: expected u"),
        ("zstd.zarr", "zarr.json", {"shape": []}, "has chunks of (5, 40, 48): expected one chunk"),
    ],
)
def test_arrays_that_are_stored_in_another_way(raw: Path, store, name, change, sentence):
    path = raw / store / KEYS[3] / name
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (problem,) = problems_of(raw, store)
    assert str(raw / store / KEYS[3]) in problem
    assert sentence in problem


def test_arrays_of_another_number_of_channels(raw: Path):
    for count in (3, 6):
        arrays = {KEYS[3]: pixels(KEYS[3], count)}
        for store, write in (("zstd.zarr", write_zstd), ("jpegxl_lossy_mq.zarr", write_jpeg_xl)):
            shutil.rmtree(raw / store)
            write(raw / store, arrays)
            (problem,) = problems_of(raw, store)
            shape = f"({count}, 40, 48)"
            assert f"has the shape {shape}: expected 5 channels, height and width" in problem


def test_a_chunk_cut_short_is_one_sentence(raw: Path, tmp_path: Path):
    chunk = raw / "zstd.zarr" / KEYS[3] / "c/0/0/0"
    content = chunk.read_bytes()
    for length in (len(content) - 1, 10, 0):
        chunk.write_bytes(content[:length])
        assert problems_of(raw, "zstd.zarr") == [
            f"{chunk} is truncated: its header says that it has more bytes"
        ]
    chunk = raw / "jpegxl_lossy_mq.zarr" / KEYS[3] / "0.0.0"
    content = chunk.read_bytes()
    settings = LayoutSettings(images=raw / "jpegxl_lossy_mq.zarr", where="site = 0")
    (field,) = list_fields(raw, settings).fields
    for length in range(0, len(content), 5):
        chunk.write_bytes(content[:length])
        with pytest.raises(
            ValueError, match=r"0.0.0, channel \d (cannot be decoded|has the shape)"
        ):
            read_field(field)
    where = {"where": "site = 0", "workers": 1}
    settings = IngestSettings(images=raw / "jpegxl_lossy_mq.zarr", **where)
    with pytest.raises(ValueError, match=r"0.0.0, channel \d cannot be decoded: ") as raised:
        ingest(raw, tmp_path / "store", settings=settings)
    assert "\n" not in str(raised.value)


def test_a_chunk_unlike_its_array(raw: Path):
    small, large = KEYS[3], KEYS[4]
    for store, write in (("zstd.zarr", write_zstd), ("jpegxl_lossy_mq.zarr", write_jpeg_xl)):
        other = raw / f"other-{store}"
        write(other, {small: pixels(small)[:, :24, :24].copy()})
        shutil.copy(other / small / CHUNKS[store], raw / store / large / CHUNKS[store])
        where = "source = 'source_4'"
        (field,) = list_fields(raw, LayoutSettings(images=raw / store, where=where)).fields
        with pytest.raises(ValueError, match=r"channel 0 has .*, unlike its array"):
            read_field(field)


@pytest.mark.parametrize("distance", [0.0, 3.0])
@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_a_chunk_with_another_number_of_frames(raw: Path, count: int, distance: float):
    """Channels that are not there are an error, and never whatever is in memory."""
    store = raw / "jpegxl_lossy_mq.zarr"
    frames = pixels(KEYS[3], count) if count > 1 else pixels(KEYS[3], 1)[0]
    content = imagecodecs.jpegxl_encode(frames, distance=distance, lossless=distance == 0)
    (store / KEYS[3] / "0.0.0").write_bytes(content)
    (field,) = list_fields(raw, LayoutSettings(images=store, where="site = 0")).fields
    sentence = rf"has the shape \({count}, 40, 48\) and type uint16, unlike its array"
    for image in field.images:
        with pytest.raises(ValueError, match=sentence):
            read_field(replace(field, images=(image,)))


def test_a_file_that_was_replaced_is_read_again(raw: Path):
    """Nothing of a field is kept once all its channels were read."""
    for store, write in (("zstd.zarr", write_zstd), ("jpegxl_lossy_mq.zarr", write_jpeg_xl)):
        settings = LayoutSettings(images=raw / store, where="site = 0")
        (field,) = list_fields(raw, settings).fields
        before = read_field(field)
        shutil.rmtree(raw / store)
        write(raw / store, {KEYS[3]: pixels(KEYS[4])})
        after = read_field(field)
        assert not np.array_equal(before, after)
        if store == "zstd.zarr":
            np.testing.assert_array_equal(after, pixels(KEYS[4]))
