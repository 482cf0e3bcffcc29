"""Stores of different scales brought to one: the same scene, drawn from its formula at each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phenomae.crops.reader import CropReader
from phenomae.crops.stream import CropStream, centre_crops
from phenomae.store.read import Store, open_store, read_field

SPOTS_UM = [(20.0, 24.0), (30.0, 44.0), (46.0, 30.0), (50.0, 52.0)]


def draw_scene(pixel_size_um: float, side_um: float = 72.0) -> np.ndarray:
    """Spots with a standard deviation of 3 um, as pixels of some size sample them."""
    at = (np.arange(round(side_um / pixel_size_um)) + 0.5) * pixel_size_um
    spots = [
        np.outer(np.exp(-((at - y) ** 2) / 18), np.exp(-((at - x) ** 2) / 18)) for y, x in SPOTS_UM
    ]
    return (500 + 3000 * np.sum(spots, axis=0)).round().astype(np.uint16)[None]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, make_store) -> list[Store]:
    """The scene at half a micrometre a pixel, and at three quarters."""
    folder = tmp_path_factory.mktemp("scales")
    return [
        replace(
            open_store(
                make_store(folder / str(size), {("P1", "A01", 1): draw_scene(size)}, ("DNA",))
            ),
            pixel_size_um=size,
        )
        for size in (0.5, 0.75)
    ]


@pytest.mark.parametrize("reading", ["memory", "crops"])
def test_the_same_place_looks_the_same_from_both(stores: list[Store], reading) -> None:
    reader = CropReader(stores, reading, pixel_size_um=1.5)
    assert reader.sides(32).tolist() == [96, 64]
    # 6 and 12 um from the corner, in each field's own pixels
    crops = reader.crops(np.array([0, 1]), np.array([12, 8]), np.array([24, 16]), 32)
    assert crops.pixels.shape == (2, 1, 32, 32)
    fine, coarse = crops.pixels.numpy().astype(float)
    expected = draw_scene(1.5)[:, 4:36, 8:40].astype(float)
    inside = (slice(None), slice(1, -1), slice(1, -1))
    # A spot is slightly blurred by the triangle that averages it: 3000 counts lose about a tenth.
    assert np.abs(fine - coarse)[inside].max() < 90
    assert np.abs(fine - expected)[inside].max() < 360
    np.testing.assert_allclose(fine.mean(), expected.mean(), rtol=0.003)
    assert crops.keys.tolist() == [[0, 12, 24], [1, 8, 16]]


def test_crops_are_read_larger_and_resampled_as_pil_does(stores: list[Store]) -> None:
    stream = CropStream(
        CropReader(stores, "crops", pixel_size_um=1.2), [np.array([0, 1])], 20, 16, seed=3
    )
    assert stream.reader.sides(20).tolist() == [48, 32]
    crops = stream.step(0)
    assert set(crops.keys[:, 0].tolist()) == {0, 1}
    for pixels, (field, top, left) in zip(crops.pixels, crops.keys.tolist(), strict=True):
        side = (48, 32)[field]
        plane = read_field(stores[field], 0)[0, top : top + side, left : left + side]
        image = Image.fromarray(plane.astype(np.float32))
        theirs = np.asarray(image.resize((20, 20), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(pixels[0].numpy(), theirs, atol=0.51)


def test_every_place_a_larger_crop_fits_in_comes_up(stores: list[Store]) -> None:
    stream = CropStream(
        CropReader(stores[1:], "memory", pixel_size_um=1.5), [np.array([0])], 46, 64, 0
    )
    keys = np.concatenate([stream.step(step).keys.numpy() for step in range(5)])
    assert set(keys[:, 1]) == set(keys[:, 2]) == set(range(96 - 92 + 1))


def test_the_middle_is_the_middle_at_every_scale(stores: list[Store]) -> None:
    reader = CropReader(stores, "memory", pixel_size_um=1.5)
    assert centre_crops(reader, np.array([0, 1]), 32).keys.tolist() == [[0, 24, 24], [1, 16, 16]]


def test_a_store_of_the_scale_asked_for_is_taken_as_it_is(stores: list[Store]) -> None:
    own, asked = (CropReader(stores[:1], "memory", pixel_size_um=size) for size in (None, 0.5))
    zeros = np.zeros(1, dtype=np.int64)
    crops = [reader.crops(zeros, zeros, zeros, 40).pixels.numpy() for reader in (own, asked)]
    np.testing.assert_array_equal(*crops)
    assert asked.read_by("crops").pixel_size_um == 0.5


def test_a_store_that_does_not_know_its_scale_is_refused(stores: list[Store]) -> None:
    nameless = replace(stores[0], path=Path("nameless"), pixel_size_um=None)
    with pytest.raises(
        ValueError, match=r"nameless has no pixel size .*: ingest the plates again with"
    ):
        CropReader([stores[1], nameless], "memory", pixel_size_um=1.0)
    assert CropReader([nameless], "memory").sides(16).tolist() == [16]
