"""Reads channels of a Zarr array (c y x) whose only chunk holds all channels of a field.

JUMP-Lite is stored so: Zarr 2 with JPEG XL, and Zarr 3 with Blosc. Chunks are read and decoded
here, because tensorstore cannot decode JPEG XL, and zarr-python only after a codec was registered
in every process. A missing chunk is valid Zarr and would be read as a black image: it is an error.
"""

import json
import math
import os
import struct
from dataclasses import dataclass
from threading import local
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt

from phenomae.images.fields import Place
from phenomae.images.pixels.header import ImageHeader, UnfitError, check_grey
from phenomae.images.pixels.open_image import open_place
from phenomae.urls import is_address, read_address

CHUNKS = {".zarray": "0.0.0", "zarr.json": "c/0/0/0"}
"""Path of the only chunk of an array by the name of its metadata: Zarr 2, and Zarr 3."""

_JPEG_XL = "imagecodecs_jpegxl"
_BLOSC_HEADER = struct.Struct("<12xI")  # its last number is the length of the whole chunk


class _Kept(local):
    """What a thread has read of an array, for the channels that it has not asked for yet.

    Each channel is given it once, so that a file that was replaced is read again, and pixels are
    freed with the last channel.
    """

    def __init__(self) -> None:
        self._left: dict[Place, Any] = {}

    def take(self, place: Place) -> Any:
        """Return what was kept for a channel; None if there is nothing, or it was taken before."""
        return self._left.pop(place, None)

    def keep(self, place: Place, value: Any) -> None:
        """Keep what was read for `place` for the other channels of its array, and of no other."""
        assert place.channel is not None
        count = place.channel[1]
        channels = (Place(place.url, channel=(index, count)) for index in range(count))
        self._left = {channel: value for channel in channels if channel != place}


_METADATA, _HEADERS, _PIXELS = _Kept(), _Kept(), _Kept()


@dataclass(frozen=True)
class SiteArray:
    """The metadata of an array."""

    shape: tuple[int, int, int]
    dtype: str
    codec: str
    """`imagecodecs_jpegxl` or `blosc`."""


def read_metadata(place: Place) -> SiteArray:
    """Read the metadata of the array whose chunk is `place`.

    Raises ValueError if they are missing or damaged, or if the array has not the number of channels
    of the place or is stored in another way; OSError if the machine fails.
    """
    if (array := _METADATA.take(place)) is None:
        array = _read_metadata(place)
        _METADATA.keep(place, array)
    return array


def _read_metadata(place: Place) -> SiteArray:
    name, chunk = next(item for item in CHUNKS.items() if place.url.endswith(f"/{item[1]}"))
    path = place.url.removesuffix(chunk) + name
    with open_place(Place(path)) as stream:
        content = stream.read()
    try:
        fields = json.loads(content)
        array = _read_v2(fields) if name == ".zarray" else _read_v3(fields)
    except UnfitError as error:
        raise ValueError(f"{path} {error}") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise ValueError(f"{path} is not the metadata of a Zarr array") from None
    assert place.channel is not None
    if len(array.shape) != 3 or array.shape[0] != place.channel[1]:
        raise ValueError(
            f"{path} has the shape {array.shape}: expected {place.channel[1]} channels, height and "
            "width"
        )
    return array


def read_header(place: Place, *, has_range: bool = False) -> ImageHeader:
    """Read the size and type of a channel; raises as `read_metadata` does.

    Also raises ValueError if the chunk is missing, or is shorter than it says itself.
    """
    if (kept := _HEADERS.take(place)) is not None:
        return kept
    array = _read_metadata(place)
    try:
        size = _measure_chunk(place, array.codec)
    except FileNotFoundError:
        raise ValueError(
            f"there is no file {place.url}: Zarr would read the field as a black image"
        ) from None
    try:
        header = check_grey(array.shape[1:], array.dtype, size, has_range=has_range)
    except UnfitError as error:
        raise ValueError(f"{place.url} {error}") from None
    _HEADERS.keep(place, header)
    return header


def read_pixels(stream: BinaryIO, place: Place, array: SiteArray) -> UInt[np.ndarray, "h w"]:
    """Decode one channel of a chunk; raises the decoder's own error if that fails."""
    assert place.channel is not None
    # All channels are decoded at once, for the others of a field that a thread reads: decoding
    # frames of JPEG XL one by one takes as long, and gives a frame that is not there any pixels.
    if (pixels := _PIXELS.take(place)) is None:
        decode = _decode_jpeg_xl if array.codec == _JPEG_XL else _decode_blosc
        pixels = decode(stream.read(), array)
        _PIXELS.keep(place, pixels)
    return pixels[place.channel[0]]


def _decode_jpeg_xl(content: bytes, array: SiteArray) -> UInt[np.ndarray, "c h w"]:
    # Imported here: it is large, and a GPU node that reads no such images may lack it.
    import imagecodecs

    pixels = imagecodecs.jpegxl_decode(content)
    if pixels.ndim == 2:  # a single frame
        pixels = pixels[None]
    # A chunk that was cut between two frames is decoded without an error.
    if pixels.shape != array.shape or pixels.dtype != array.dtype:
        raise UnfitError(f"has the shape {pixels.shape} and type {pixels.dtype}, unlike its array")
    return pixels


def _decode_blosc(content: bytes, array: SiteArray) -> UInt[np.ndarray, "c h w"]:
    import imagecodecs

    decoded = imagecodecs.blosc_decode(content)
    kind = np.dtype(array.dtype).newbyteorder("<")
    if len(decoded) != math.prod(array.shape) * kind.itemsize:
        raise UnfitError(f"has {len(decoded)} bytes of pixels, unlike its array")
    return np.frombuffer(decoded, kind).reshape(array.shape).astype(array.dtype, copy=False)


def _measure_chunk(place: Place, codec: str) -> int:
    """Return the bytes of a chunk; raises FileNotFoundError if there is none."""
    is_remote = is_address(place.url)
    if codec == _JPEG_XL:
        return len(read_address(place.url)) if is_remote else os.stat(place.url).st_size
    if is_remote:
        # Of a chunk of megabytes only the header is fetched, which has the length of the chunk.
        header = read_address(place.url, _BLOSC_HEADER.size)
        size = None
    else:
        size = os.stat(place.url).st_size
        with open_place(Place(place.url)) as stream:
            header = stream.read(_BLOSC_HEADER.size)
    claimed = _BLOSC_HEADER.unpack(header)[0] if len(header) == _BLOSC_HEADER.size else None
    if claimed is None or (size is not None and size < claimed):
        raise ValueError(f"{place.url} is truncated: its header says that it has more bytes")
    return claimed if size is None else size


def _read_v2(fields: Any) -> SiteArray:
    compressor, shape = fields["compressor"] or {}, tuple(fields["shape"])
    codec = compressor.get("id")
    if codec != _JPEG_XL or fields.get("filters") or fields.get("order", "C") != "C":
        raise UnfitError(f"has the codec {codec!r}: expected {_JPEG_XL!r} without filters")
    _check_chunks(shape, fields["chunks"])
    return SiteArray(shape, np.dtype(fields["dtype"]).newbyteorder("=").name, codec)


def _read_v3(fields: Any) -> SiteArray:
    shape, codecs = tuple(fields["shape"]), fields["codecs"]
    names = [codec["name"] for codec in codecs]
    endian = codecs[0].get("configuration", {}).get("endian", "little")
    if names != ["bytes", "blosc"] or endian != "little":
        raise UnfitError(f"has the codecs {', '.join(map(str, names))}: expected bytes, blosc")
    _check_chunks(shape, fields["chunk_grid"]["configuration"]["chunk_shape"])
    return SiteArray(shape, np.dtype(fields["data_type"]).name, names[1])


def _check_chunks(shape: tuple[int, ...], chunks: Any) -> None:
    if not all(isinstance(size, int) for size in shape):
        raise ValueError
    if tuple(chunks) != shape:
        raise UnfitError(f"has chunks of {tuple(chunks)}: expected one chunk, {shape}")
