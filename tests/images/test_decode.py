"""Images whose parts contradict each other are errors that name the file."""

import struct
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from phenomae.images.fields import Place
from phenomae.images.pixels.decode import read_header, read_pixels

PIXELS = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100


def test_jpeg_2000_of_other_bits_than_its_header_says(tmp_path: Path):
    content = bytearray(imagecodecs.jpeg2k_encode(PIXELS, level=0))
    content[content.index(b"ihdr") + 14] = 7  # 8 bits (ISO 15444-1, I.5.3.1: one less)
    path = tmp_path / "image.jp2"
    path.write_bytes(content)
    assert read_header(Place(str(path))).dtype == "uint8"
    with pytest.raises(
        ValueError, match=r"image\.jp2 has pixels of type uint16, unlike its header"
    ):
        read_pixels(Place(str(path)))


def test_tiff_of_more_strips_than_lengths(tmp_path: Path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, PIXELS, rowsperstrip=5, compression="deflate")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags["StripByteCounts"]
        assert tag.count == 4
        struct.pack_into("<I", content, tag.offset + 4, 3)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"image\.tif is truncated: its header refers to more"):
        read_header(Place(str(path)))


def test_tiff_whose_width_is_a_fraction(tmp_path: Path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, PIXELS)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags["ImageWidth"]
        struct.pack_into("<H", content, tag.offset + 2, 5)  # RATIONAL: two numbers
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"image\.tif is not a complete image: its header is damaged"
    ):
        read_header(Place(str(path)))


def test_png_that_is_in_colour_or_truncated(tmp_path: Path):
    path = tmp_path / "image.png"
    colours = np.zeros((20, 30, 3), np.uint8)
    colours[..., 1] = 9
    path.write_bytes(imagecodecs.png_encode(colours))
    with pytest.raises(ValueError, match=r"is a colour image: expected one grey channel per file"):
        read_header(Place(str(path)))
    path.write_bytes(imagecodecs.png_encode(PIXELS)[:-12])
    with pytest.raises(ValueError, match=r"image\.png is truncated: its end is missing"):
        read_header(Place(str(path)))


@pytest.mark.parametrize("read", [read_header, read_pixels])
def test_what_the_machine_does_wrong_is_no_property_of_the_file(
    read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.tif").symlink_to("/proc/self/mem")  # opens, and cannot be read
    with pytest.raises(OSError, match=r"Input/output error: '.*a\.tif'"):
        read(Place(str(tmp_path / "a.tif")))
    (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
    with pytest.raises(ValueError, match=r"loop\.tif cannot be read: Too many levels"):
        read(Place(str(tmp_path / "loop.tif")))
    tifffile.imwrite(tmp_path / "b.tif", PIXELS)

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(tifffile.TiffFile, "__init__", fail)
    with pytest.raises(MemoryError):
        read(Place(str(tmp_path / "b.tif")))


WITHOUT = """
import sys
sys.modules["imagecodecs"] = None  # as if it were not installed
from phenomae.images.fields import Place
from phenomae.images.pixels.decode import read_header, read_pixels

for path in sys.argv[1:]:
    assert read_header(Place(path)).width == 30
    try:
        print(int(read_pixels(Place(path)).sum()))
    except OSError as error:
        print(f"{error.filename} {error.strerror}")
"""


def test_without_imagecodecs_compressed_images_are_refused_by_name(tmp_path: Path):
    (tmp_path / "image.png").write_bytes(imagecodecs.png_encode(PIXELS))
    tifffile.imwrite(tmp_path / "lzw.tif", PIXELS, compression="lzw")
    tifffile.imwrite(tmp_path / "plain.tif", PIXELS)
    paths = [str(tmp_path / name) for name in ("image.png", "lzw.tif", "plain.tif")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *paths], capture_output=True, text=True, check=True
    )
    png, lzw, plain = done.stdout.splitlines()
    assert png == f"{paths[0]} it can only be read with imagecodecs: pip install imagecodecs"
    assert lzw == f"{paths[1]} it can only be read with imagecodecs: pip install imagecodecs"
    assert plain == str(PIXELS.sum())
