"""The picture of reconstructions: where its tiles are and which colours they have."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phenomae.pretraining.objectives.picture import draw_reconstructions

TILE, LEFT, TOP = 1.35 * 110, 0.25 * 110, 0.25 * 110  # inches of 110 pixels
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
    assert picture.shape == (round(6 * TILE + TOP), round(3 * TILE + LEFT), 3)

    def corner(row: int, column: int) -> tuple[int, ...]:
        """Return the colour in the middle of the quarter of a tile at its top left."""
        y, x = TOP + (row + 0.25) * TILE, LEFT + (column + 0.25) * TILE
        return tuple(picture[int(y), int(x)].tolist())

    assert [corner(row, 1) for row in range(3)] == [(255, 255, 255), HIDDEN, (0, 0, 0)]
    assert corner(0, 0) == corner(1, 0) == corner(2, 0)
    assert len({*corner(3, 2)}) == 1  # grey


def test_greys_are_between_the_percentiles_of_the_input(tmp_path):
    image = np.linspace(-3, 5, 20 * 20, dtype=np.float32).reshape(1, 1, 20, 20)
    picture = draw(tmp_path, image, image / 2, np.zeros(image.shape, bool))
    low, high = np.percentile(image, [0.5, 99.5])
    for row, pixels in ((0, image), (2, image / 2)):
        # A tile is 21 pixels wide, because the white line is one.
        y, x = int(TOP + (row + 10.5 / 21) * TILE), int(LEFT + 4.5 / 21 * TILE)
        expected = pixels[0, 0, 10, 4]
        assert picture[y, x, 0] == pytest.approx(255 * (expected - low) / (high - low), abs=1)


def test_a_channel_of_one_value_is_black(tmp_path):
    image = np.full((1, 1, 8, 8), 300, np.float32)
    picture = draw(tmp_path, image, image, np.zeros(image.shape, bool))
    assert tuple(picture[int(TOP + TILE / 2), int(LEFT + TILE / 2)]) == (0, 0, 0)
