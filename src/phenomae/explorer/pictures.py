"""Serves pictures of fields: PNG files whose pixels are the store's, through the windows."""

import asyncio
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import escape
from typing import Any, Generic, TypeVar

import imagecodecs
import numpy as np
from jaxtyping import Float32, UInt, UInt8
from tornado.web import HTTPError, RequestHandler

from phenomae.explorer.inputs import Reconstructor
from phenomae.explorer.state import read_number
from phenomae.store.display import compose, store_colors
from phenomae.store.read import Store, read_crops, read_field, windows

MAX_SIDE = 8192
"""Of a picture, in pixels; larger fields are drawn smaller."""
_FIELD_BYTES = 192 * 2**20  # a dozen fields of 6 x 1080 x 1080 with 16 bits
_ENCODED_BYTES = 64 * 2**20


Kept = TypeVar("Kept")


@dataclass
class Cache(Generic[Kept]):
    """What was made last, up to a number of bytes in all; several threads may use it."""

    max_bytes: int
    size_of: Callable[[Kept], int]
    _kept: OrderedDict[Any, Kept] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Any, make: Callable[[], Kept]) -> Kept:
        """Return what is kept under a key, or make it."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += self.size_of(made)
            while self._bytes > self.max_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= self.size_of(oldest)
        return made


@dataclass(frozen=True)
class FieldPictures:
    """Draws the fields of a store, and keeps the last ones that were read, and drawn."""

    store: Store
    colors: Float32[np.ndarray, "c 3"]
    fields: Cache[UInt[np.ndarray, "c h w"]]
    encoded: Cache[bytes]

    @classmethod
    def of(cls, store: Store) -> "FieldPictures":
        """Draw in the colors that the store has for its channels."""
        fields: Cache[np.ndarray] = Cache(_FIELD_BYTES, lambda pixels: pixels.nbytes)
        return cls(store, store_colors(store), fields, Cache(_ENCODED_BYTES, len))

    def encode(self, index: int, channels: tuple[int, ...], size: int | None = None) -> bytes:
        """Return the picture of `draw` as PNG."""
        key = (index, channels, size)
        return self.encoded.get(key, lambda: encode_png(self.draw(index, channels, size)))

    def draw(
        self, index: int, channels: tuple[int, ...], size: int | None = None
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Return the picture of some channels of a field.

        `size` is the longer side that it is reduced to, by averages over its pixels; None for full
        resolution. Raises ValueError if the pixels cannot be read.
        """
        chosen = list(channels)
        pixels = self.fields.get(index, lambda: read_field(self.store, index))[chosen]
        ends = windows(self.store, [index])[0][chosen]
        picture = compose(pixels, ends, self.colors[chosen])
        longest = max(picture.shape[:2])
        size = min(size or longest, MAX_SIDE)
        return picture if size >= longest else _reduce(picture, size / longest)

    def draw_crop(
        self, index: int, top: int, left: int, side: int, channels: tuple[int, ...]
    ) -> UInt8[np.ndarray, "side side 3"]:
        """Return the picture of a crop; raises ValueError if it reaches beyond its field."""
        chosen = list(channels)
        [pixels] = read_crops(self.store, [index], [top], [left], side, chosen)
        return compose(pixels, windows(self.store, [index])[0][chosen], self.colors[chosen])


def _reduce(picture: UInt8[np.ndarray, "h w 3"], scale: float) -> UInt8[np.ndarray, "h w 3"]:
    from PIL import Image

    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.BOX)
    return np.asarray(image)


def encode_png(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return a PNG of the picture, weakly compressed: it rarely leaves the machine."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(picture), level=1))


class PictureHandler(RequestHandler):
    """Answers with a picture that is made in a thread, or with a sentence that says why not."""

    kind = "image/png"

    def initialize(self, pool: ThreadPoolExecutor, **sources: Any) -> None:
        """Remember the threads, and what pictures are made from."""
        self.pool = pool
        for name, source in sources.items():
            setattr(self, name, source)

    def set_default_headers(self) -> None:
        """Allow nothing that a picture does not need."""
        forbid_everything(self)

    async def answer(self, make: Callable[[], bytes]) -> None:
        """Write the picture, or one of a sentence with status 503."""
        try:
            picture = await asyncio.get_running_loop().run_in_executor(self.pool, make)
        except (ValueError, OSError) as error:
            self.set_status(503)
            self.set_header("Content-Type", "image/svg+xml")
            self.write(write_svg(str(error)))
            return
        self.set_header("Content-Type", self.kind)
        self.set_header("Cache-Control", "private, max-age=300")
        self.write(picture)


class FieldHandler(PictureHandler):
    """Answers `fields/INDEX.png?channels=0,1&size=300`."""

    pictures: FieldPictures

    async def get(self, field: str) -> None:
        """Write the picture of a field."""
        channels, size = _parse_query(self, self.pictures.store, int(field))
        await self.answer(lambda: self.pictures.encode(int(field), channels, size))


class CropHandler(PictureHandler):
    """Answers `crops/FIELD-TOP-LEFT-SIDE.png?channels=0,1`."""

    pictures: FieldPictures

    async def get(self, field: str, *place: str) -> None:
        """Write the picture of a crop."""
        channels, _ = _parse_query(self, self.pictures.store, int(field))
        top, left, side = map(int, place)
        await self.answer(
            lambda: encode_png(self.pictures.draw_crop(int(field), top, left, side, channels))
        )


class ReconstructionHandler(PictureHandler):
    """Answers `reconstructions/FIELD-TOP-LEFT.png`."""

    reconstructor: Reconstructor
    pictures: FieldPictures

    async def get(self, field: str, *place: str) -> None:
        """Write the picture of a crop and its reconstruction."""
        _parse_query(self, self.pictures.store, int(field))
        top, left = map(int, place)
        await self.answer(lambda: self.reconstructor.draw(int(field), top, left))


def _parse_query(
    handler: RequestHandler, store: Store, field: int
) -> tuple[tuple[int, ...], int | None]:
    """Return channels and size of the query; raises HTTPError if there is no such field."""
    if field >= len(store.fields):
        raise HTTPError(404, f"there is no field {field}")
    channels = _parse_channels(handler.get_query_argument("channels", None), len(store.channels))
    return channels, _parse_size(handler.get_query_argument("size", None))


def forbid_everything(handler: RequestHandler) -> None:
    """Set the headers of an answer that is no page: nothing in it may run or load."""
    handler.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
    handler.set_header("X-Content-Type-Options", "nosniff")
    handler.set_header("Referrer-Policy", "no-referrer")
    handler.set_header("Cache-Control", "no-store")


def _parse_channels(text: str | None, count: int) -> tuple[int, ...]:
    """Return the channels of a query, all for None; raises HTTPError if one does not exist."""
    if text is None:
        return tuple(range(count))
    numbers = [read_number(word) for word in text.split(",") if word]
    known = {number for number in numbers if number is not None and number < count}
    if len(known) < len(set(numbers)):
        raise HTTPError(400, f"channels must be numbers below {count}, separated by commas")
    return tuple(sorted(known))


def _parse_size(text: str | None) -> int | None:
    if text is None:
        return None
    number = read_number(text)
    if not number:
        raise HTTPError(400, "size must be a number from 1")
    return number  # pictures are never enlarged, nor larger than `MAX_SIDE`


def write_svg(sentence: str, width: int = 360, height: int = 240) -> str:
    """Return a picture of a sentence, shown where a field cannot be read."""
    lines: list[str] = [""]
    for word in sentence.split():
        for piece in (word[at : at + 40] for at in range(0, len(word), 40)):
            longer = f"{lines[-1]} {piece}".strip()
            lines = [*lines[:-1], longer] if len(longer) <= 40 else [*lines, piece]
    buffer = io.StringIO()
    buffer.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">')
    buffer.write(f'<rect width="{width}" height="{height}" fill="#fff3f0"/>')
    for number, line in enumerate(lines[:9]):
        text = escape("".join(character for character in line if character.isprintable()))
        buffer.write(
            f'<text x="16" y="{32 + 22 * number}" fill="#7a1c08" '
            f'style="font:14px sans-serif">{text}</text>'
        )
    buffer.write("</svg>")
    return buffer.getvalue()
