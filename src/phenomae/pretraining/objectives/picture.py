"""Draws the input, masked input and reconstruction of a few crops, per channel.

Pillow draws, because matplotlib would take longer than a short training: a second to import, and
half a second for every picture.
"""

import importlib.util
import io
from pathlib import Path

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Bool, Float32, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

from phenomae.whole_files import write_bytes

_HIDDEN = (49, 64, 92)
_SIDE = 144  # about the side of a tile; pixels become squares of a whole number of pixels
_GAP = 4  # white line between tiles
_LEFT, _TOP = 68, 24  # of the labels
_FONT_SIZE = 13
# White noise in a crop of 64 x 64 pixels has a correlation of 0 with a standard deviation of .011.
_LEAST_CORRELATION = 0.1
_FAINT = 10


def draw_reconstructions(
    path: Path,
    images: Float32[np.ndarray, "b c h w"],
    rebuilt: Float32[np.ndarray, "b c h w"],
    hidden: Bool[np.ndarray, "b c h w"],
    channels: tuple[str, ...],
    empty: Bool[np.ndarray, "b c"] | None = None,
) -> None:
    """Write a PNG with the rows input, masked and rebuilt for every crop, one column per channel.

    Every channel is scaled from its 0.5th to its 99.5th percentile in the input. Those marked as
    `empty` are scaled to a range ten times as wide, so that their noise is dark.
    """
    empty = np.zeros(images.shape[:2], dtype=bool) if empty is None else empty
    tiles = _tile(images, rebuilt, hidden, empty)
    height, width, _ = tiles.shape
    page = Image.new("RGB", (_LEFT + width, _TOP + height), "white")
    page.paste(Image.fromarray(tiles), (_LEFT, _TOP))
    _label(page, channels, ["input", "masked", "rebuilt"] * len(images))
    buffer = io.BytesIO()
    page.save(buffer, format="png")
    write_bytes(path, buffer.getvalue())


def find_empty(pixels: Shaped[np.ndarray, "b c h w"]) -> Bool[np.ndarray, "b c"]:
    """Return which channels of crops show nothing but noise: neighbouring pixels do not correlate.

    The optics of a microscope blur every structure over several pixels, but not the noise of the
    camera. Networks and intensity windows standardise both to the same range.
    """
    centred = pixels.astype(np.float64)
    centred -= centred.mean(axis=(2, 3), keepdims=True)
    variance = np.square(centred).mean(axis=(2, 3))
    across = (centred[..., 1:] * centred[..., :-1]).mean(axis=(2, 3))
    down = (centred[..., 1:, :] * centred[..., :-1, :]).mean(axis=(2, 3))
    return (across + down) / 2 <= _LEAST_CORRELATION * variance


def _label(page: Image.Image, columns: tuple[str, ...], rows: list[str]) -> None:
    draw, font = ImageDraw.Draw(page), ImageFont.truetype(_find_font(), _FONT_SIZE)
    wide, high = (page.width - _LEFT) / len(columns), (page.height - _TOP) / len(rows)
    for number, name in enumerate(columns):
        middle = _LEFT + (number + 0.5) * wide - _GAP / 2
        draw.text((middle, _TOP / 2), name, "black", font, anchor="mm")
    for number, name in enumerate(rows):
        middle = _TOP + (number + 0.5) * high - _GAP / 2
        draw.text((_LEFT - 2 * _GAP, middle), name, "black", font, anchor="rm")


def _find_font() -> Path:
    """Return the file of matplotlib's font, which has Greek letters; Pillow's own has not."""
    package = importlib.util.find_spec("matplotlib")  # does not import it
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"


def _tile(
    images: Float32[np.ndarray, "b c h w"],
    rebuilt: Float32[np.ndarray, "b c h w"],
    hidden: Bool[np.ndarray, "b c h w"],
    empty: Bool[np.ndarray, "b c"],
) -> UInt8[np.ndarray, "y x 3"]:
    """Return all tiles as one RGB image, with white lines between them."""
    # The input's range for all three rows: a reconstruction that is too dim should look dim.
    low, high = np.percentile(images, [0.5, 99.5], axis=(2, 3), keepdims=True).astype(np.float32)
    scale = np.maximum(high - low, np.finfo(np.float32).tiny)
    # Of a constant channel the range is 0, and the smallest error of the network would be white.
    others = scale[~empty].max(initial=1.0)
    scale[empty] = np.maximum(_FAINT * scale[empty], others)
    grey, rebuilt_grey = (
        (255 * np.clip((pixels - low) / scale, 0, 1)).round().astype(np.uint8)
        for pixels in (images, rebuilt)
    )
    shown = np.stack([grey, grey, rebuilt_grey], axis=1)[..., None].repeat(3, axis=-1)
    shown[:, 1][hidden] = _HIDDEN
    around = [(0, 0)] * 3 + [(0, _GAP)] * 2 + [(0, 0)]
    framed = np.pad(_resize(shown), around, constant_values=255)
    return rearrange(framed, "b row c h w rgb -> (b row h) (c w) rgb")


def _resize(
    tiles: UInt8[np.ndarray, "b row c h w 3"],
) -> UInt8[np.ndarray, "b row c y x 3"]:
    """Enlarge small tiles, or drop pixels of large ones, to a side of about `_SIDE`."""
    side = tiles.shape[-2]
    step, times = max(1, round(side / _SIDE)), max(1, round(_SIDE / side))
    fewer = tiles[..., ::step, ::step, :]
    return repeat(fewer, "b row c h w rgb -> b row c (h y) (w x) rgb", y=times, x=times)
