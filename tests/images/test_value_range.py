"""Pixels that are neither 8 nor 16 bits: scaled by the setting value_range, and else refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from phenomae.images.fields import Place
from phenomae.images.pixels.decode import read_header, read_scaled
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.read import Store, open_store, read_field

PATTERN = r"(?P<plate>P)/(?P<well>A\d\d)_(?P<channel>\w+)\.tif"
RNG = np.random.default_rng(0)


def write(raw: Path, name: str, pixels: np.ndarray) -> Path:
    (raw / name).parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(raw / name, pixels)
    return raw / name


def ingested(raw: Path, store: Path, value_range: Any) -> Store:
    settings = IngestSettings(pattern=PATTERN, workers=1, value_range=value_range)
    assert ingest(raw, store, settings=settings) is not None
    return open_store(store)


def test_a_channel_that_is_scaled_in_some_fields_only_is_refused(tmp_path: Path):
    write(tmp_path, "P/A01_DNA.tif", RNG.uniform(0, 1, (20, 30)).astype("float32"))
    write(tmp_path, "P/A02_DNA.tif", RNG.integers(0, 4000, (20, 30)).astype("uint16"))
    sentence = r"scales channel DNA of plate P, well A01, site 1, but not of plate P, well A02, sit"
    with pytest.raises(ValueError, match=sentence):
        ingested(tmp_path, tmp_path / "store", (0, 1))


def test_planes_of_a_channel_that_are_scaled_beside_others_are_refused(tmp_path: Path):
    pattern = r"(?P<plate>P)/(?P<well>A\d\d)_(?P<channel>\w+)_z(?P<plane>\d)\.tif"
    write(tmp_path, "P/A01_DNA_z1.tif", RNG.uniform(0, 1, (20, 30)).astype("float32"))
    write(tmp_path, "P/A01_DNA_z2.tif", RNG.integers(0, 4000, (20, 30)).astype("uint16"))
    settings = IngestSettings(pattern=pattern, workers=1, value_range=(0, 1))
    with pytest.raises(ValueError, match=r"has planes that value_range scales beside others: .*z1"):
        ingest(tmp_path, tmp_path / "store", settings=settings)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("float16", -2.0, 7.5),
        ("float32", 0.0, 1.0),
        ("float64", -1e9, 1e9),
        ("int8", -100, 100),
        ("int16", -32768, 32767),
        ("int32", -5, 4095),
        ("int64", 0, 2**40),
        ("uint32", 0, 2**20),
        ("uint64", 10, 2**50),
    ],
)
def test_the_range_becomes_0_to_65535(tmp_path: Path, dtype: str, low: float, high: float):
    pixels = RNG.uniform(low, high, (20, 30)).astype(dtype)
    pixels[0, :2] = low, high
    path = write(tmp_path, "a.tif", pixels)
    header = read_header(Place(str(path)), (low, high))
    assert (header.dtype, header.is_scaled) == ("uint16", True)
    found, clipped = read_scaled(Place(str(path)), (low, high))
    # The formula in exact fractions of two float64 numbers, one pixel at a time.
    expected = [65535 * ((float(v) - low) / (high - low)) for v in pixels.flat]
    assert found.dtype == np.uint16
    assert np.abs(found.ravel() - np.array(expected)).max() <= 0.5 + 1e-6
    assert (found[0, 0], found[0, 1]) == (0, 65535)
    assert clipped == 0


def test_integers_in_the_range_of_16_bits_are_kept_exactly(tmp_path: Path):
    pixels = RNG.integers(0, 65536, (20, 30)).astype(np.uint32)
    found, _ = read_scaled(Place(str(write(tmp_path, "a.tif", pixels))), (0, 65535))
    np.testing.assert_array_equal(found, pixels)


def test_what_is_outside_is_clipped_counted_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pixels = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    beyond = pixels.copy()
    beyond[0, :4] = -0.5, 1.5, np.inf, -np.inf
    for well, image in (("A01", beyond), ("A02", pixels)):
        write(tmp_path / "raw", f"P/{well}_DNA.tif", image)
        write(tmp_path / "raw", f"P/{well}_ER.tif", (pixels * 1000).astype(np.uint16))
    store = ingested(tmp_path / "raw", tmp_path / "store", (0, 1))
    printed = capsys.readouterr().err
    assert "plate P, channel DNA: clipped 4 pixels of 1 field to value_range" in printed
    assert "channel ER: clipped" not in printed
    dna, er = read_field(store, 0)
    assert dna[0, :4].tolist() == [0, 65535, 65535, 0]
    np.testing.assert_array_equal(er, (pixels * 1000).astype(np.uint16))  # as it was
    signature = json.loads((tmp_path / "store/artefact.json").read_text())
    assert signature["settings"]["value_range"] == [0, 1]
    with pytest.raises(ValueError, match="value_range"):  # another range is another store
        ingested(tmp_path / "raw", tmp_path / "store", (0, 2))


@pytest.mark.parametrize("dtype", ["float32", "uint32", "int32", "float64"])
def test_without_a_range_the_error_names_the_setting(tmp_path: Path, dtype: str):
    path = write(tmp_path, "a.tif", np.ones((20, 30), dtype))
    with pytest.raises(ValueError, match=rf"type {dtype}: expected uint8 .*setting value_range"):
        read_header(Place(str(path)))


def test_pixels_without_a_value_are_refused(tmp_path: Path):
    pixels = np.ones((20, 30), np.float32)
    pixels[3, 4:6] = np.nan
    place = Place(str(write(tmp_path, "a.tif", pixels)))
    with pytest.raises(ValueError, match=r"a\.tif has 2 pixels that are NaN: replace them"):
        read_scaled(place, (0, 1))


def test_types_that_have_no_range_are_refused(tmp_path: Path):
    for pixels in (np.ones((20, 30), bool), np.ones((20, 30), np.complex64)):
        place = Place(str(write(tmp_path, "a.tif", pixels)))
        with pytest.raises(ValueError, match=r"expected uint8 or uint16$"):
            read_header(place, (0, 1))


def test_a_range_that_changes_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pixels = RNG.integers(0, 4096, (20, 30), dtype=np.uint16)
    write(tmp_path / "raw", "P/A01_DNA.tif", pixels)
    store = ingested(tmp_path / "raw", tmp_path / "store", (0, 4095))
    np.testing.assert_array_equal(read_field(store, 0)[0], pixels)
    assert "value_range changes nothing: all pixels are uint8 or" in capsys.readouterr().err


@pytest.mark.parametrize("value_range", [(1, 1), (2, 1), (0, np.inf), (np.nan, 1)])
def test_a_range_must_be_two_numbers(value_range: tuple[float, float]):
    with pytest.raises(ValueError, match="value_range must be two numbers, low < high, not"):
        IngestSettings(value_range=value_range)
