"""TIFFs of every encoding are decoded exactly; damaged and other files are an error."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from phenomae.images.fields import Place, RawField, RawImage
from phenomae.images.pixels import decode as picture
from phenomae.images.pixels.header import ImageHeader
from phenomae.images.read import read_headers
from phenomae.images.threads import map_in_threads


def read_header(path: Path) -> ImageHeader:
    return picture.read_header(Place(str(path)))


def read_pixels(path: Path) -> np.ndarray:
    return picture.read_pixels(Place(str(path)))


def make_field(site: int, *paths: Path) -> RawField:
    return RawField("P1", "A01", site, tuple(RawImage((Place(str(path)),)) for path in paths))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4096, (70, 90), dtype=np.uint16)


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "zstd"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_encoding_gives_the_same_pixels(tmp_path: Path, pixels, compression, order):
    path = tmp_path / "image.TIF"
    tifffile.imwrite(path, pixels, compression=compression, byteorder=order)
    header = read_header(path)
    assert (header.height, header.width, header.dtype) == (70, 90, "uint16")
    assert header.bytes == path.stat().st_size
    np.testing.assert_array_equal(read_pixels(path), pixels)
    assert read_pixels(path).dtype == np.uint16


def test_files_that_are_not_a_channel_of_a_field(tmp_path: Path, pixels):
    path = tmp_path / "image.tiff"

    def refused(match: str) -> None:
        for read in (read_header, read_pixels):
            with pytest.raises(ValueError, match=match):
                read(path)

    with pytest.raises(ValueError, match="there is no file"):
        read_header(path)
    tifffile.imwrite(path, np.stack([pixels] * 3), photometric="minisblack")
    refused("has 3 pages: expected one image per file")
    tifffile.imwrite(path, np.stack([pixels] * 2 + [pixels + 1], axis=-1), photometric="rgb")
    refused("is a colour image")
    colours = np.arange(768, dtype=np.uint16).reshape(3, 256)
    tifffile.imwrite(path, pixels.astype(np.uint8), photometric="palette", colormap=colours)
    refused("is a colour image: its palette is not grey")
    tifffile.imwrite(path, pixels.astype(np.float32))
    refused(r"pixels of type float32: expected uint8 or uint16 \(setting value_range scales othe")
    stack = np.zeros((4, 16, 16), np.uint16)
    tifffile.imwrite(path, stack, tile=(4, 16, 16), volumetric=True, photometric="minisblack")
    refused(r"has the shape \(4, 16, 16\): expected height and width")
    for content in (b"not a tiff", b""):
        path.write_bytes(content)
        refused("is not an image of a known format: expected TIFF, PNG or JPEG 2000")
    path.write_bytes(b"II*\0 and no more")
    refused("has 0 pages|is not a complete image")
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_header(path)


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_seen_without_decoding(tmp_path: Path, pixels, compression, share):
    path = tmp_path / "image.tiff"
    tifffile.imwrite(path, pixels, compression=compression, rowsperstrip=16)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(
        ValueError, match=f"{path.name} is (truncated|not a complete image|not an image)"
    ):
        read_header(path)


def test_compressed_data_that_is_damaged_is_an_error_of_decoding(tmp_path: Path, pixels):
    path = tmp_path / "image.tiff"
    tifffile.imwrite(path, pixels, compression="deflate")
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages.first.dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    read_header(path)
    with pytest.raises(ValueError, match="cannot be decoded"):
        read_pixels(path)


def test_all_bad_files_are_listed(write_screen):
    folder = write_screen() / "images/P1"
    whole = make_field(1, *[folder / f"A01_s1_{name}.tiff" for name in ("DNA", "ER")])
    missing = make_field(2, *[folder / f"no{index}.tiff" for index in range(9)])
    headers, problems = read_headers([whole, missing, whole], workers=2)
    assert [header is None for header in headers] == [False, True, False]
    assert [problem.what for problem in problems] == [
        f"there is no file {folder}/no{index}.tiff" for index in range(9)
    ]
    assert {(problem.plate, problem.well, problem.site) for problem in problems} == {
        ("P1", "A01", 2)
    }


def test_channels_of_a_field_must_agree(write_screen):
    raw = write_screen()
    other = raw / "other.tiff"
    tifffile.imwrite(other, np.zeros((150, 99), np.uint16))
    field = make_field(1, raw / "images/P1/A01_s1_DNA.tiff", other)
    headers, problems = read_headers([field], workers=1)
    assert headers == [None]
    assert "channels of different sizes or types: 150 x 99 uint16" in problems[0].what


def test_work_in_threads_keeps_the_order_and_stops_at_an_error():
    assert list(map_in_threads(lambda item: item * 2, range(50), workers=4)) == list(
        range(0, 100, 2)
    )
    done = []

    def work(item: int) -> None:
        done.append(item)
        if item == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        list(map_in_threads(work, range(10_000), workers=2))
    assert len(done) < 10_000
