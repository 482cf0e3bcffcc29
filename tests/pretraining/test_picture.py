"""The picture of reconstructions: where its tiles are and which colours they have."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phenomae.pretraining.objectives.picture import draw_reconstructions, find_empty

LEFT, TOP, GAP = 68, 24, 4
HIDDEN = (49, 64, 92)


def draw(tmp_path: Path, images: np.ndarray, rebuilt: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    names = tuple(f"channel {index}" for index in range(images.shape[1]))
    draw_reconstructions(tmp_path / "picture.png", images, rebuilt, hidden, names)
    data = (tmp_path / "picture.png").read_bytes()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("offset", [0, -7])
def test_a_column_has_a_channel_and_its_rows_input_masked_and_rebuilt(tmp_path, offset):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 3, 16, 16)).astype(np.float32) + offset
    images[0, 1, :8, :8] = images[0, 1].max() + 1  # white, and black where it is rebuilt
    rebuilt = images.copy()
    rebuilt[0, 1, :8, :8] = images[0, 1].min() - 1
    hidden = np.zeros(images.shape, bool)
    hidden[0, 1, :8, :8] = True
    picture = draw(tmp_path, images, rebuilt, hidden)
    tile = 16 * 9 + GAP  # the nearest to 144
    assert picture.shape == (TOP + 6 * tile, LEFT + 3 * tile, 3)

    def corner(row: int, column: int) -> tuple[int, ...]:
        """Return the colour in the middle of the quarter of a tile at its top left."""
        return tuple(picture[TOP + row * tile + 36, LEFT + column * tile + 36].tolist())

    assert [corner(row, 1) for row in range(3)] == [(255, 255, 255), HIDDEN, (0, 0, 0)]
    assert corner(0, 0) == corner(1, 0) == corner(2, 0)
    assert len({*corner(3, 2)}) == 1  # grey


def test_greys_are_between_the_percentiles_of_the_input(tmp_path):
    image = np.linspace(-3, 5, 20 * 20, dtype=np.float32).reshape(1, 1, 20, 20)
    picture = draw(tmp_path, image, image / 2, np.zeros(image.shape, bool))
    low, high = np.percentile(image, [0.5, 99.5])
    for row, pixels in ((0, image), (2, image / 2)):
        y, x = TOP + row * (20 * 7 + GAP) + 10 * 7 + 3, LEFT + 4 * 7 + 3
        expected = pixels[0, 0, 10, 4]
        assert picture[y, x, 0] == pytest.approx(255 * (expected - low) / (high - low), abs=1)


def test_a_channel_of_one_value_is_black(tmp_path):
    image = np.full((1, 1, 8, 8), 300, np.float32)
    picture = draw(tmp_path, image, image, np.zeros(image.shape, bool))
    assert tuple(picture[TOP + 70, LEFT + 70]) == (0, 0, 0)


def test_of_large_crops_every_second_pixel_is_shown(tmp_path):
    image = np.random.default_rng(0).random((1, 1, 256, 256), dtype=np.float32)
    image[0, 0, ::2, ::2] = np.linspace(-1, 2, 128 * 128, dtype=np.float32).reshape(128, 128)
    picture = draw(tmp_path, image, image, np.zeros(image.shape, bool))
    assert picture.shape == (TOP + 3 * (128 + GAP), LEFT + 128 + GAP, 3)
    shown = picture[TOP : TOP + 128, LEFT : LEFT + 128, 0].ravel()
    assert (np.diff(shown.astype(int)) >= 0).all()
    assert {shown[0], shown[-1]} == {0, 255}


def test_channels_may_have_greek_names(tmp_path):
    image = np.zeros((1, 1, 8, 8), np.float32)
    pictures = []
    for name in ("β", "γ"):
        draw_reconstructions(tmp_path / "picture.png", image, image, image > 0, (name,))
        pictures.append(np.asarray(Image.open(tmp_path / "picture.png")).tolist())
    assert pictures[0] != pictures[1]  # letters that a font lacks would all look the same


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, (0, 0, sigma, sigma))


@pytest.mark.parametrize("side", [32, 64, 128])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels_of_noise_alone_are_empty(side, dtype):
    rng = np.random.default_rng(side)
    signal = blur(rng.normal(size=(4, 1, side, side)), 1.5)
    noise = rng.normal(size=(4, 1, side, side))
    dim = 100 + 3 * noise + 3 * signal / signal.std()
    channels = [100 + 3 * noise, np.full_like(noise, 100), rng.poisson(2, noise.shape), dim]
    pixels = np.concatenate(channels, axis=1).round().clip(0, 255).astype(dtype)
    np.testing.assert_array_equal(find_empty(pixels), [[True, True, True, False]] * 4)


def test_empty_channels_are_dark_and_others_are_as_before(tmp_path):
    rng = np.random.default_rng(0)
    # As a network standardises them: a channel with structure, noise, and a constant.
    cells, noise = blur(rng.normal(size=(1, 1, 64, 64)), 3), rng.normal(size=(1, 1, 64, 64))
    images = np.concatenate([cells / cells.std(), noise, np.zeros_like(noise)], axis=1)
    images = images.astype(np.float32)
    rebuilt = images + 0.02 * rng.normal(size=images.shape).astype(np.float32)
    hidden = np.zeros(images.shape, bool)
    names = ("cells", "noise", "constant")
    pictures = []
    for empty in (None, find_empty(images)):
        path = tmp_path / "picture.png"
        draw_reconstructions(path, images, rebuilt, hidden, names, empty)
        pictures.append(np.asarray(Image.open(io.BytesIO(path.read_bytes())))[TOP:, :, 0])
    tile = 64 * 2 + GAP
    before, after = (
        [
            [shown[row * tile :, LEFT + column * tile :][:128, :128] for column in range(3)]
            for row in range(3)
        ]
        for shown in pictures
    )
    for row in range(3):
        np.testing.assert_array_equal(after[row][0], before[row][0])
        assert before[row][1].std() > 40
        assert after[row][1].max() < 40
        assert after[row][2].max() < 10
    assert before[2][2].max() == 255
