"""Grey images in clothes: signed, inverted, colours that are equal, palettes, thumbnails, holes."""

import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from phenomae.images.fields import Place
from phenomae.images.pixels.decode import read_header, read_pixels

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
DEEP = RNG.integers(0, 4096, (40, 50), dtype=np.uint16)
RAMP = np.stack([np.arange(256, dtype=np.uint16) * 257] * 3)
REVERSED = RAMP[:, ::-1].copy()
SPARSE = np.zeros((64, 96), np.uint16)
SPARSE[:32, :32] = 7


def write_thumbnail(path: Path) -> None:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(DEEP)
        tiff.write(DEEP[::4, ::4].copy(), subfiletype=1)


def write_sparse(path: Path) -> None:
    """Only the first of six tiles is written."""

    def tiles():
        for row in range(2):
            for column in range(3):
                tile = SPARSE[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
                yield tile.copy() if tile.any() else None

    with tifffile.TiffWriter(path) as tiff:
        tiff.write(tiles(), shape=SPARSE.shape, dtype=SPARSE.dtype, tile=(32, 32))


def write_palette(path: Path, levels: np.ndarray) -> None:
    tifffile.imwrite(path, GREY, photometric="palette", colormap=levels)


def write_png(path: Path, mode: str) -> None:
    image = Image.fromarray(GREY)
    if mode == "P":
        image.putpalette(np.repeat(np.arange(256), 3).astype(np.uint8).tobytes())
        image.save(path)
    else:
        image.convert(mode).save(path)


WRITERS: dict[str, tuple[str, Callable[[Path], object], np.ndarray]] = {
    "int16": ("tif", lambda path: tifffile.imwrite(path, DEEP.astype(np.int16)), DEEP),
    "white is zero, 8 bits": (
        "tif",
        lambda path: tifffile.imwrite(path, GREY, photometric="miniswhite"),
        255 - GREY,
    ),
    "white is zero, 16 bits": (
        "tif",
        lambda path: tifffile.imwrite(path, DEEP, photometric="miniswhite"),
        65535 - DEEP,
    ),
    "RGB": (
        "tif",
        lambda path: tifffile.imwrite(path, np.stack([DEEP] * 3, -1), photometric="rgb"),
        DEEP,
    ),
    "RGB by planes": (
        "tif",
        lambda path: tifffile.imwrite(
            path, np.stack([GREY] * 3), photometric="rgb", planarconfig="separate"
        ),
        GREY,
    ),
    "palette": ("tif", lambda path: write_palette(path, RAMP), GREY),
    "palette from white to black": ("tif", lambda path: write_palette(path, REVERSED), 255 - GREY),
    "thumbnail": ("tif", write_thumbnail, DEEP),
    "sparse tiles": ("tif", write_sparse, SPARSE),
    "PNG palette": ("png", lambda path: write_png(path, "P"), GREY),
    "PNG RGB": ("png", lambda path: write_png(path, "RGB"), GREY),
    "PNG with alpha": ("png", lambda path: write_png(path, "LA"), GREY),
    "PNG RGB with alpha": ("png", lambda path: write_png(path, "RGBA"), GREY),
    "PNG 16": ("png", lambda path: path.write_bytes(imagecodecs.png_encode(DEEP)), DEEP),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_grey_images_are_read_exactly(tmp_path: Path, kind: str):
    suffix, write, expected = WRITERS[kind]
    write(path := tmp_path / f"image.{suffix}")
    header = read_header(Place(str(path)))
    assert (header.height, header.width) == expected.shape
    assert header.dtype == str(expected.dtype)
    found = read_pixels(Place(str(path)))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def one_other(pixels: np.ndarray) -> np.ndarray:
    stack = np.stack([pixels] * 3, -1)
    stack[3, 4, 1] ^= 1
    return stack


COLOURED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "RGB": (
        "tif",
        lambda path: tifffile.imwrite(path, one_other(GREY), photometric="rgb"),
        "is a colour image: expected one grey channel per file",
    ),
    "PNG RGB": (
        "png",
        lambda path: path.write_bytes(imagecodecs.png_encode(one_other(GREY))),
        "is a colour image: expected one grey channel per file",
    ),
    "palette": (
        "tif",
        lambda path: write_palette(path, np.stack([RAMP[0], RAMP[1], REVERSED[2]])),
        "is a colour image: its palette is not grey",
    ),
    "two pages of one size": (
        "tif",
        lambda path: tifffile.imwrite(path, np.stack([GREY] * 2), photometric="minisblack"),
        "has 2 pages: expected one image per file",
    ),
    "one bit": (
        "png",
        lambda path: Image.fromarray(GREY > 99).save(path),
        "has 1 bits per pixel: expected grey, 8 or 16 bits",
    ),
}


@pytest.mark.parametrize("kind", COLOURED)
def test_what_is_not_grey_is_refused_before_anything_is_written(tmp_path: Path, kind: str):
    suffix, write, sentence = COLOURED[kind]
    write(path := tmp_path / f"image.{suffix}")
    for read in (read_header, read_pixels):
        with pytest.raises(ValueError, match=sentence):
            read(Place(str(path)))


def test_negative_pixels_are_refused(tmp_path: Path):
    tifffile.imwrite(path := tmp_path / "image.tif", DEEP.astype(np.int16) - 5)
    with pytest.raises(ValueError, match=r"has signed pixels down to -\d: expected none below 0"):
        read_pixels(Place(str(path)))


def test_the_largest_png_is_as_large_as_the_largest_tiff(tmp_path: Path):
    """By the header alone: 40,000 x 40,000 is more than 2^30 pixels, 30,000 x 30,000 is not."""
    path = tmp_path / "image.png"
    content = bytearray(imagecodecs.png_encode(GREY))

    def claim(side: int) -> None:
        content[16:24] = side.to_bytes(4, "big") * 2
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        path.write_bytes(content)

    claim(30_000)
    assert read_header(Place(str(path))).height == 30_000
    claim(40_000)
    with pytest.raises(ValueError, match=r"claims 40000 x 40000 pixels: an image of a field has"):
        read_header(Place(str(path)))
