"""Draws the cells of one field in every channel, without noise and optics (`microscope.py`).

Cell shapes and textures are computed in one square box per cell, as arrays of shape (cells, box,
box), and the boxes are pasted into the field. Organelles are drawn into the field as points.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

CHANNELS = ("DNA", "RNA", "ER", "Actin", "Golgi", "Mito")

_BOX = 84  # side of a cell's box in pixels; large enough for the largest cell
_GRAINS = np.array([0.9, 1.3, 1.9, 2.7, 3.8, 4.6])  # blur of the noise textures, in pixels
_TEXTURE = 320  # side of a stored texture; much larger than a box, so that random crops differ

Image = Float32[np.ndarray, "h w"]
Boxes = Float32[np.ndarray, "cells box box"]
Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Shapes:
    """Position and outline of every cell of a field."""

    tops: np.ndarray
    """First row of each cell's box in the field."""
    lefts: np.ndarray
    """First column of each cell's box in the field."""
    axis: Float32[np.ndarray, "cells 1 1"]
    """Direction of the cell's long axis, in radians."""
    nucleus_y: Float32[np.ndarray, "cells 1 1"]
    """Row of the nucleus's centre in the field, in pixels."""
    nucleus_x: Float32[np.ndarray, "cells 1 1"]
    """Column of the nucleus's centre in the field, in pixels."""
    cell_depth: Boxes
    """Approximate distance from the cell's edge in pixels, positive inside."""
    nucleus_depth: Boxes
    """Approximate distance from the nucleus's edge in pixels, positive inside."""
    angle: Boxes
    """Direction from the centre of the nucleus, in radians."""
    height: int
    width: int


@dataclass(frozen=True)
class Looks:
    """Size and brightness of the cells of a field."""

    size: np.ndarray
    """Factor of every cell's radius."""
    light: np.ndarray
    """Factor of every cell's brightness: channels x cells."""


def draw_cells(
    values: Values,
    centres: np.ndarray,
    size: int,
    rng: np.random.Generator,
    looks: Looks | None = None,
) -> Float32[np.ndarray, "c h w"]:
    """Return noise-free images of the cells at `centres`, channels in the order of `CHANNELS`.

    `values` has an array with one number per cell for each of `phenotype.PARAMETERS`. Intensities
    have no unit: `camera.py` and `histogram.py` scale them. Without `looks` cells are equally
    bright and of the usual size.
    """
    looks = looks or Looks(np.ones(len(centres)), np.ones((len(CHANNELS), len(centres))))
    light = looks.light
    shapes = _outline(values, centres, looks.size, size, rng)
    cell = _soft(shapes.cell_depth)
    nucleus = _soft(shapes.nucleus_depth)
    cytoplasm = cell * (1 - nucleus)
    nucleoli = _nucleoli(values, shapes, light[1], rng)
    boxes = (
        nucleus * (1 + 0.45 * _texture(values["chromatin_grain"], rng)),
        cytoplasm * 0.25 + nucleus * 0.3,
        _endoplasmic_reticulum(values, shapes, rng) * cytoplasm,
        _actin(values, shapes, rng) * cell,
        cytoplasm * 0.06,
        cytoplasm * 0.10,
    )
    images = [_paste(box, shapes, its) for box, its in zip(boxes, light, strict=True)]
    # Nucleoli contain little DNA and much RNA.
    images[0] *= 1 - 0.7 * np.minimum(nucleoli, 1)
    images[1] += nucleoli
    images[4] += _golgi(values, shapes, light[4], rng)
    images[5] += _mitochondria(values, shapes, light[5], rng)
    return np.stack(images)


def _outline(
    values: Values,
    centres: np.ndarray,
    cell_size: np.ndarray,
    size: int,
    rng: np.random.Generator,
) -> Shapes:
    count = len(centres)
    corner = np.floor(centres).astype(int) - _BOX // 2
    rest = (centres - corner).astype(np.float32)
    grid = np.arange(_BOX, dtype=np.float32)
    y = grid[None, :, None] - rest[:, 0, None, None]
    x = grid[None, None, :] - rest[:, 1, None, None]
    axis = _column(rng.uniform(0, 2 * np.pi, count))
    ruffle = values["cell_ruffle"]
    radius = cell_size * (24.0 * np.exp(0.08 * rng.standard_normal(count)))
    cell_depth, _ = _blob(y, x, axis, radius, values["cell_elongation"], ruffle, (3, 5, 7), rng)
    offset = _column(values["nucleus_offset"])
    nucleus_y, nucleus_x = offset * np.sin(axis), offset * np.cos(axis)
    nucleus_depth, angle = _blob(
        y - nucleus_y,
        x - nucleus_x,
        axis + _column(rng.normal(0, 0.4, count)),
        values["nucleus_radius"],
        values["nucleus_elongation"],
        values["nucleus_lobes"],
        (3, 4),
        rng,
    )
    tops, lefts = corner.T
    middle = (tops + rest[:, 0])[:, None, None], (lefts + rest[:, 1])[:, None, None]
    return Shapes(
        tops, lefts, axis, middle[0] + nucleus_y, middle[1] + nucleus_x,
        cell_depth, nucleus_depth, angle, size, size,
    )  # fmt: skip


def _blob(
    y: np.ndarray,
    x: np.ndarray,
    axis: np.ndarray,
    radius: np.ndarray,
    elongation: np.ndarray,
    waviness: np.ndarray,
    waves: tuple[int, ...],
    rng: np.random.Generator,
) -> tuple[Boxes, Boxes]:
    """Return depth and angle of every pixel relative to a closed curve around (0, 0).

    The depth is the curve's radius at the pixel's angle minus the pixel's distance from (0, 0),
    which for nearly round shapes is close to the distance from the curve.
    """
    distance = np.sqrt(y * y + x * x)
    angle = np.arctan2(y, x)
    edge = 1 + _column(elongation) * np.cos(2 * (angle - axis))
    for wave in waves:
        phase = _column(rng.uniform(0, 2 * np.pi, len(radius)))
        edge += _column(waviness) * np.cos(wave * angle + phase)
    return _column(radius) * edge - distance, angle


def _endoplasmic_reticulum(values: Values, shapes: Shapes, rng: np.random.Generator) -> Boxes:
    reach = np.exp(np.minimum(shapes.nucleus_depth, 0) / _column(values["er_extent"]))
    one_side = 1 + _column(values["er_polarity"]) * np.cos(shapes.angle - shapes.axis)
    return reach * one_side * (1 + 0.5 * _texture(values["er_grain"], rng))


def _actin(values: Values, shapes: Shapes, rng: np.random.Generator) -> Boxes:
    grid = np.arange(_BOX, dtype=np.float32) - _BOX / 2
    fibres = np.zeros_like(shapes.cell_depth)
    # Stress fibres: three sets of parallel stripes, each rotated by a random angle.
    for _ in range(3):
        turn = _column(values["actin_disorder"] * rng.standard_normal(len(shapes.tops)))
        phase = _column(rng.uniform(0, 2 * np.pi, len(shapes.tops)))
        across = grid[:, None] * np.cos(shapes.axis + turn) - grid * np.sin(shapes.axis + turn)
        wave = np.cos(across * (2 * np.pi / _column(values["actin_spacing"])) + phase)
        fibres += np.maximum(wave, 0) ** 2
    cortex = np.exp(-(((shapes.cell_depth - 2) / 2) ** 2))
    share = _column(values["actin_cortex"])
    return 0.15 + share * 2 * cortex + (1 - share) * fibres


def _nucleoli(values: Values, shapes: Shapes, light: np.ndarray, rng: np.random.Generator) -> Image:
    number = np.maximum(np.round(values["nucleoli_count"] + rng.uniform(-0.5, 0.5)), 1).astype(int)
    owner = np.repeat(np.arange(len(number)), number)
    start = rng.uniform(0, 2 * np.pi, len(number))[owner]
    order = np.concatenate([np.arange(n) / n for n in number])
    turn = start + 2 * np.pi * order + rng.normal(0, 0.25, len(owner))
    room = np.maximum(values["nucleus_radius"] - values["nucleoli_radius"], 1)
    reach = (room * values["nucleoli_spread"])[owner] * rng.uniform(0.7, 1.3, len(owner))
    y = shapes.nucleus_y[owner, 0, 0] + reach * np.sin(turn)
    x = shapes.nucleus_x[owner, 0, 0] + reach * np.cos(turn)
    return _spots(y, x, values["nucleoli_radius"][owner], 14, 1.0, shapes, rng, light[owner])


def _golgi(values: Values, shapes: Shapes, light: np.ndarray, rng: np.random.Generator) -> Image:
    number = 12
    owner = np.repeat(np.arange(len(shapes.tops)), number)
    spread = np.minimum(values["golgi_spread"], np.pi)[owner]
    turn = shapes.axis[owner, 0, 0] + np.pi + spread * rng.uniform(-1, 1, len(owner))
    # Opposite to the displacement of the nucleus, where the cytoplasm is widest.
    reach = (values["nucleus_radius"] + values["golgi_distance"])[owner]
    reach = reach + rng.normal(0, 1.0, len(owner))
    y = shapes.nucleus_y[owner, 0, 0] + reach * np.sin(turn)
    x = shapes.nucleus_x[owner, 0, 0] + reach * np.cos(turn)
    return _spots(y, x, values["golgi_fragment_radius"][owner], 10, 0.8, shapes, rng, light[owner])


def _mitochondria(
    values: Values, shapes: Shapes, brightness: np.ndarray, rng: np.random.Generator
) -> Image:
    number, dots = 26, 9
    owner = np.repeat(np.arange(len(shapes.tops)), number)
    turn = rng.uniform(0, 2 * np.pi, len(owner))
    inner = values["nucleus_radius"][owner] + 1.5
    outward = np.clip(values["mito_distance"][owner] + rng.normal(0, 0.22, len(owner)), 0, 1)
    reach = inner + outward * np.maximum(22 - inner, 2)
    # Mitochondria point away from the nucleus with an alignment of 1, and around it with 0.
    tangent = (1 - values["mito_alignment"][owner]) * (np.pi / 2)
    direction = turn + tangent * rng.choice([-1, 1], len(owner)) + rng.normal(0, 0.35, len(owner))
    along = np.linspace(-0.5, 0.5, dots) * values["mito_length"][owner][:, None]
    y = shapes.nucleus_y[owner, 0, 0] + reach * np.sin(turn)
    x = shapes.nucleus_x[owner, 0, 0] + reach * np.cos(turn)
    y = y[:, None] + along * np.sin(direction)[:, None]
    x = x[:, None] + along * np.cos(direction)[:, None]
    light = np.repeat(brightness[owner] / dots, dots)
    return ndimage.gaussian_filter(_splat(y.ravel(), x.ravel(), light, shapes), 0.8) * 14


def _spots(
    y: np.ndarray,
    x: np.ndarray,
    radius: np.ndarray,
    dots: int,
    blur: float,
    shapes: Shapes,
    rng: np.random.Generator,
    brightness: np.ndarray | float = 1.0,
) -> Image:
    """Draw filled discs as clouds of points; `brightness` is the light per area of each disc."""
    # Points at multiples of the golden angle cover a disc evenly (Vogel 1979).
    golden = np.arange(dots) * 2.399963 + rng.uniform(0, 2 * np.pi, (len(y), 1))
    reach = radius[:, None] * np.sqrt((np.arange(dots) + 0.5) / dots)
    dots_y, dots_x = y[:, None] + reach * np.sin(golden), x[:, None] + reach * np.cos(golden)
    light = np.repeat(brightness * radius**2 / dots, dots)
    cloud = _splat(dots_y.ravel(), dots_x.ravel(), light, shapes)
    return ndimage.gaussian_filter(cloud, blur) * np.float32(2.5)


def _splat(y: np.ndarray, x: np.ndarray, light: np.ndarray, shapes: Shapes) -> Image:
    """Return an image of point sources, each split among its four nearest pixels (bilinear)."""
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down, right = y - top, x - left
    image = np.zeros(shapes.height * shapes.width)
    for step_y, weight_y in ((0, 1 - down), (1, down)):
        for step_x, weight_x in ((0, 1 - right), (1, right)):
            row, column = top + step_y, left + step_x
            inside = (row >= 0) & (row < shapes.height) & (column >= 0) & (column < shapes.width)
            place = row[inside] * shapes.width + column[inside]
            weight = (light * weight_y * weight_x)[inside]
            # `image[place] += weight` would count only one of several points in the same pixel.
            image += np.bincount(place, weight, minlength=image.size)
    return image.reshape(shapes.height, shapes.width).astype(np.float32)


def _texture(grain: np.ndarray, rng: np.random.Generator) -> Boxes:
    """Return a box of smooth noise for each cell; `grain` is the blur of the noise in pixels."""
    # Blurring noise for every cell would be slow: a cell gets a random crop of the stored textures,
    # interpolated between the two nearest grains.
    bank = _texture_bank()
    place = np.interp(grain, _GRAINS, np.arange(len(_GRAINS)))
    finer = np.minimum(place.astype(int), len(_GRAINS) - 2)
    share = place - finer
    corners = rng.integers(0, _TEXTURE - _BOX, (len(grain), 2))
    boxes = np.empty((len(grain), _BOX, _BOX), np.float32)
    for index, (top, left) in enumerate(corners):
        pair = bank[finer[index] : finer[index] + 2, top : top + _BOX, left : left + _BOX]
        boxes[index] = (1 - share[index]) * pair[0] + share[index] * pair[1]
    return np.clip(boxes, -2, 2)


@cache
def _texture_bank() -> Float32[np.ndarray, "grains side side"]:
    white = np.random.default_rng(0).standard_normal((_TEXTURE, _TEXTURE)).astype(np.float32)
    blurred = [ndimage.gaussian_filter(white, grain, mode="wrap") for grain in _GRAINS]
    return np.stack([image / image.std() for image in blurred])


def _paste(boxes: Boxes, shapes: Shapes, light: np.ndarray) -> Image:
    """Paste the cells' boxes, times their light, into one image.

    Overlapping cells give the brighter of the pixels.
    """
    # A margin of one box on each side, so that boxes over the field's edge need not be cut.
    image = np.zeros((shapes.height + 2 * _BOX, shapes.width + 2 * _BOX), np.float32)
    tops, lefts = shapes.tops + _BOX, shapes.lefts + _BOX
    for box, top, left, factor in zip(boxes, tops, lefts, light, strict=True):
        place = image[top : top + _BOX, left : left + _BOX]
        np.maximum(place, box * np.float32(factor), out=place)
    return image[_BOX : _BOX + shapes.height, _BOX : _BOX + shapes.width]


def _soft(depth: Boxes) -> Boxes:
    return np.clip(depth * 0.5 + 0.5, 0, 1)


def _column(values: np.ndarray) -> Float32[np.ndarray, "cells 1 1"]:
    return np.asarray(values, dtype=np.float32)[:, None, None]
