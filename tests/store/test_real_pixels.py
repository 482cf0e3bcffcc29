"""Pixels of real files, of every encoding, depth and size, arrive as other software reads them."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import polars as pl
import pytest
import tifffile
import zarr

Encode = Callable[[Path, np.ndarray], object]


def tiff(**options) -> Encode:
    return lambda path, pixels: tifffile.imwrite(path, pixels, **options)


def raster(encode: Callable[..., bytes], **options) -> Encode:
    return lambda path, pixels: path.write_bytes(encode(pixels, **options))


ENCODINGS: dict[str, tuple[str, Encode]] = {
    "plain": ("tiff", tiff()),
    "motorola": ("tif", tiff(byteorder=">", rowsperstrip=7)),
    "lzw": ("TIF", tiff(compression="lzw", predictor=True)),
    "deflate": ("tif", tiff(compression="adobe_deflate", rowsperstrip=16)),
    "packbits": ("TIFF", tiff(compression="packbits")),
    "jpeg 2000": ("tif", tiff(compression="jpeg2000", compressionargs={"level": 0})),
    "zstd": ("tif", tiff(compression="zstd", tile=(64, 48))),
    "bigtiff": ("tif", tiff(bigtiff=True)),
    "png": ("png", raster(imagecodecs.png_encode)),
    "jp2": ("jp2", raster(imagecodecs.jpeg2k_encode, level=0)),
    "j2k": ("jp2", raster(imagecodecs.jpeg2k_encode, level=0, codecformat="j2k")),
}


def decode(path: Path) -> np.ndarray:
    """What tifffile or imagecodecs read of a file."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return tifffile.imread(path)
    codec = imagecodecs.png_decode if path.suffix == ".png" else imagecodecs.jpeg2k_decode
    return codec(path.read_bytes())


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_site_may_mix_all_encodings(tmp_path, ingested, dtype):
    folder, rng = tmp_path / "raw/P1", np.random.default_rng(0)
    folder.mkdir(parents=True)
    originals: dict[str, np.ndarray] = {}
    for name, (suffix, encode) in ENCODINGS.items():
        originals[name] = rng.integers(0, np.iinfo(dtype).max, (150, 131), dtype, endpoint=True)
        encode(folder / f"A01_s1_{name}.{suffix}", originals[name])
        np.testing.assert_array_equal(
            decode(folder / f"A01_s1_{name}.{suffix}"), originals[name], err_msg=name
        )
    stored = ingested(tmp_path / "raw", "--channels", ",".join(ENCODINGS))["P1", "A01", 1]
    assert stored.dtype == dtype
    for name, pixels in zip(ENCODINGS, stored, strict=True):
        np.testing.assert_array_equal(pixels, originals[name], err_msg=name)


def test_twelve_bits_in_sixteen_keep_their_levels_and_their_window(tmp_path, ingested):
    """A camera of 12 bits saturates at 4095, which nothing in the file says."""
    (tmp_path / "raw/P1").mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = np.minimum(rng.gamma(2, 800, (200, 190)), 4095).astype(np.uint16)
    tifffile.imwrite(tmp_path / "raw/P1/A01_s1_DNA.tif", pixels)
    encoded = imagecodecs.jpeg2k_encode(pixels, level=0, bitspersample=12)
    (tmp_path / "raw/P1/A02_s1_DNA.jp2").write_bytes(encoded)
    for stored in ingested(tmp_path / "raw").values():
        np.testing.assert_array_equal(stored[0], pixels)
    table = pl.read_parquet(tmp_path / "store/fields.parquet")
    assert table["window_high"].to_list() == [[4095.0], [4095.0]]
    full = np.mean(pixels == 4095)
    assert full > 0.01
    assert table["saturation"].to_list() == pytest.approx([full, full])


def test_nf1_whose_sixteen_bits_are_eight_times_257_loses_nothing_in_eight(
    shared, tmp_path, ingested, capsys
):
    raw = shared / "data/images/nf1_schwann_3ch/images"
    pattern = r"(?P<well>[A-H]\d)_01_\d_(?P<site>\d)_(?P<channel>\w+)_001\.tif"
    stored = ingested(raw, "--pattern", pattern, "--bits", "8", "--plate-name", "NF1")
    assert "8-bit values times 257, so 8 bits lose nothing" in capsys.readouterr().err
    for (_, well, site), pixels in stored.items():
        files = [
            raw / f"{well[0]}7_01_{number}_{site}_{stain}_001.tif"
            for number, stain in enumerate(("DAPI", "GFP", "RFP"), start=1)
        ]
        expected = np.stack([tifffile.imread(path) for path in files])
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels.astype(np.uint16) * 257, expected)
    assert set(stored) == {("NF1", "B07", 3), ("NF1", "D07", 1)}


def test_a_real_phenix_site_has_every_pixel(shared, tmp_path, ingested):
    """LZW TIFFs whose stains only the index tells; the CSV beside it is pe2loaddata's."""
    raw = shared / "data/images/phenix_pe2loaddata/Version1"
    stored = ingested(raw / "images", "--layout", "phenix")["BR00121482", "A01", 1]
    row = pl.read_csv(raw / "load_data_version1.csv").row(0, named=True)
    group = zarr.open_group(tmp_path / "store/BR00121482.zarr/A/01/0", mode="r")
    labels = [channel["label"] for channel in group.attrs["ome"]["omero"]["channels"]]
    names = {
        row[f"Metadata_ChannelName_Orig{stain}"]: row[f"FileName_Orig{stain}"]
        for stain in ("DNA", "ER", "RNA", "AGP", "Mito")
    }
    assert sorted(labels) == sorted(names)
    for label, pixels in zip(labels, stored, strict=True):
        expected = tifffile.imread(raw / "images" / names[label])
        np.testing.assert_array_equal(pixels, expected, err_msg=label)
    scale = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
    assert scale["scale"][1:] == pytest.approx([0.598] * 2, abs=5e-4)


def test_fields_of_many_sizes_none_a_multiple_of_128(tmp_path, ingested):
    sizes = [(1, 1), (1, 300), (127, 129), (130, 257), (301, 77), (640, 513)]
    (tmp_path / "raw/P1").mkdir(parents=True)
    rng, originals = np.random.default_rng(0), {}
    for site, size in enumerate(sizes):
        for channel in ("DNA", "ER"):
            pixels = rng.integers(0, 65536, size, np.uint16)
            originals[site, channel] = pixels
            tifffile.imwrite(tmp_path / f"raw/P1/A01_s{site}_{channel}.tif", pixels)
    stored = ingested(tmp_path / "raw")
    for site in range(len(sizes)):
        expected = np.stack([originals[site, channel] for channel in ("DNA", "ER")])
        np.testing.assert_array_equal(stored["P1", "A01", site], expected)
    table = pl.read_parquet(tmp_path / "store/fields.parquet")
    assert table.select("height", "width").rows() == sizes


def test_names_with_spaces_and_signs(tmp_path, ingested):
    folder = tmp_path / "raw #2 (50%)/Plate 7 #A+b&c"
    folder.mkdir(parents=True)
    rng, originals = np.random.default_rng(0), []
    for channel in ("Alexa 488 #1", "DNA %20", "β-tubulin"):
        originals.append(rng.integers(0, 65536, (140, 99), np.uint16))
        tifffile.imwrite(folder / f"A01_s1_{channel}.TIF", originals[-1])
    stored = ingested(folder.parent)
    np.testing.assert_array_equal(stored["Plate 7 #A+b&c", "A01", 1], np.stack(originals))
    group = zarr.open_group(tmp_path / "store/Plate 7 #A+b&c.zarr/A/01/0", mode="r")
    labels = [channel["label"] for channel in group.attrs["ome"]["omero"]["channels"]]
    assert labels == ["Alexa 488 #1", "DNA %20", "β-tubulin"]


def test_names_with_spaces_and_signs_in_a_loaddata_csv(tmp_path, ingested):
    folder = tmp_path / "raw/images #3/Plate 7__2021 a%20b"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 65536, (140, 99), np.uint16)
    tifffile.imwrite(folder / "A01 #1.TIF", pixels)
    (tmp_path / "raw/load_data #1.csv").write_text(
        "Metadata_Plate,Metadata_Well,Metadata_Site,FileName_OrigDNA,PathName_OrigDNA\n"
        f'"Plate 7 #1",A01,1,"A01 #1.TIF","{folder}/"\n'
    )
    stored = ingested(tmp_path / "raw", "--layout", "loaddata")
    np.testing.assert_array_equal(stored["Plate 7 #1", "A01", 1][0], pixels)
