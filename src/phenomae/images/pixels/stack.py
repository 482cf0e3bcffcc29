"""What the pages of a TIFF are: channels, focal planes and time points, by the file's own metadata.

OME-XML and the hyperstacks of ImageJ name them; so does tifffile where it was given axes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal
from xml.etree import ElementTree

import tifffile

from phenomae.images.pixels.header import UnfitError
from phenomae.images.pixels.tiff import full_pages
from phenomae.progress import count_of

# From the fastest to the slowest, as ImageJ writes the images of a hyperstack.
_IMAGEJ = {"C": "channels", "Z": "slices", "T": "frames"}


@dataclass(frozen=True)
class Page:
    """One image of a stack; channel, plane and time point count from 0."""

    number: int
    """Number of the page in the file, from 0."""
    channel: int = 0
    plane: int = 0
    time: int = 0


@dataclass(frozen=True)
class Stack:
    """The images of a file; a file with one image has no pages here."""

    pages: tuple[Page, ...] = ()
    """In the order of the file."""
    channels: tuple[str, ...] = ()
    """Names of the channels; empty if there are none."""
    is_described: bool = True
    """Whether the metadata say what the pages are; else they count as channels."""
    is_plain: bool = False
    """Whether ImageJ calls the pages slices for want of a hyperstack: they may be channels."""
    are_labels: bool = False
    """Whether the names are labels of images, which may as well be names of files."""
    wrong: str = ""
    """Why the pages are not those of one field, by the metadata or by their sizes."""

    def count(self, axis: Literal["channel", "plane", "time"]) -> int:
        """Return the number of channels, planes or time points."""
        return len({getattr(page, axis) for page in self.pages})


def describe_stack(stream: BinaryIO, name: str) -> Stack:
    """Return what the pages of a TIFF called `name` are."""
    with tifffile.TiffFile(stream) as tiff:
        numbers = full_pages(tiff)
        if len(numbers) < 2:
            return Stack()
        pages = tuple(Page(number, index) for index, number in enumerate(numbers))
        try:
            return _read_metadata(tiff, numbers, name) or Stack(
                pages, is_described=False, wrong=_compare_pages(tiff, numbers)
            )
        except UnfitError as error:
            return Stack(pages, wrong=str(error))


def _read_metadata(tiff: tifffile.TiffFile, numbers: Sequence[int], name: str) -> Stack | None:
    """Return the pages by the first metadata that describe them; None without any.

    Raises UnfitError if the metadata contradict the pages, or describe several fields.
    """
    ome, imagej, shaped = tiff.ome_metadata, tiff.imagej_metadata, tiff.shaped_metadata
    return (
        (_read_ome(ome, numbers, name) if ome else None)
        or (_read_imagej(imagej, numbers) if imagej else None)
        or (_read_axes(shaped[0], numbers) if shaped else None)
    )


def _compare_pages(tiff: tifffile.TiffFile, numbers: Sequence[int]) -> str:
    """Return how pages differ in size or type; empty if they do not."""
    pages = [tiff.pages[number].aspage() for number in numbers]
    kinds = {f"{' x '.join(map(str, page.shape))} {page.dtype}" for page in pages}
    listed = " and ".join(sorted(kinds))
    return f"has pages of different sizes or types: {listed}" if len(kinds) > 1 else ""


def _read_imagej(metadata: Mapping[str, object], numbers: Sequence[int]) -> Stack | None:
    sizes = {axis: _whole(metadata.get(key, 1)) for axis, key in _IMAGEJ.items()}
    if math.prod(sizes.values()) == 1:  # a plain stack, which ImageJ shows as slices
        return None
    if math.prod(sizes.values()) != len(numbers):
        listed = ", ".join(f"{size} {_IMAGEJ[axis]}" for axis, size in sizes.items())
        raise UnfitError(f"has {count_of(len(numbers), 'page')}, but as an ImageJ stack {listed}")
    pages = _number_pages(numbers, sizes)
    labels = metadata.get("Labels")
    given = [str(label) for label in labels] if isinstance(labels, list) else []
    names = _name_by_labels(given, pages, sizes["C"])
    # ImageJ calls the images of any stack slices, also the channels of one made of single images.
    is_plain = sizes["C"] == sizes["T"] == 1 and not metadata.get("hyperstack")
    return Stack(pages, names, is_plain=is_plain, are_labels=bool(names))


def _name_by_labels(labels: Sequence[str], pages: Sequence[Page], channels: int) -> tuple[str, ...]:
    """Return the labels of the channels, if all images of a channel have the same one."""
    if len(labels) != len(pages) or channels == 1:
        return ()
    found: list[set[str]] = [set() for _ in range(channels)]
    for label, page in zip(labels, pages, strict=True):
        found[page.channel].add(label.strip())
    if any(len(its) != 1 for its in found):
        return ()
    return _check_names([next(iter(its)) for its in found])


def _check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of channels; empty if some lack one, share one or cannot be printed."""
    usable = all(name and name.isprintable() for name in names)
    return tuple(names) if usable and len(set(names)) == len(names) else ()


def _read_axes(metadata: Mapping[str, object], numbers: Sequence[int]) -> Stack | None:
    """Return the pages by the axes that tifffile was given: CYX, or TZCYX with T the slowest."""
    axes, shape = metadata.get("axes"), metadata.get("shape")
    if not isinstance(axes, str) or not isinstance(shape, list) or len(axes) != len(shape):
        return None
    sizes = {axis: _whole(size) for axis, size in zip(axes, shape, strict=True)}
    sizes = {axis: size for axis, size in reversed(sizes.items()) if axis not in "YX"}
    if not set(sizes) <= set("CZT") or math.prod(sizes.values()) != len(numbers):
        return None
    return Stack(_number_pages(numbers, sizes))


def _read_ome(text: str, numbers: Sequence[int], name: str) -> Stack | None:
    """Return the pages by OME-XML; None if the metadata are in another file.

    Of a data set with several files, each lists all images: those of this file count.
    """
    if "<!DOCTYPE" in text:
        raise UnfitError("has OME-XML with a document type, which no program writes")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UnfitError(f"has OME-XML that cannot be read: {error}") from None
    if root.find("{*}BinaryOnly") is not None:
        return None
    found = [
        (pixels, pages)
        for pixels in root.findall("{*}Image/{*}Pixels")
        if (pages := _own_pages(pixels, len(numbers), root.get("UUID"), name))
    ]
    if len(found) > 1:
        raise UnfitError(f"holds {len(found)} images in the sense of OME: expected one field")
    if not found or {page.number for page in found[0][1]} != set(range(len(numbers))):
        count = len(found[0][1]) if found else 0
        raise UnfitError(f"has {count_of(len(numbers), 'page')}, but {count} in its OME-XML")
    pixels, pages = found[0]
    names = [channel.get("Name", "").strip() for channel in pixels.findall("{*}Channel")]
    names = names if len(names) == _count_channels(pixels) else []
    # The numbers of OME-XML count full-size pages.
    pages = tuple(Page(numbers[page.number], page.channel, page.plane, page.time) for page in pages)
    return Stack(pages, _check_names(names))


def _own_pages(
    pixels: ElementTree.Element, count: int, uuid: str | None, name: str
) -> tuple[Page, ...]:
    """Return the pages of an OME image that are in this file, sorted by number."""
    sizes = {"C": _count_channels(pixels)}
    sizes |= {"Z": int(pixels.get("SizeZ", "1")), "T": int(pixels.get("SizeT", "1"))}
    sizes = {axis: sizes[axis] for axis in pixels.get("DimensionOrder", "XYCZT")[2:]}
    pages: dict[int, Page] = {}
    for data in pixels.findall("{*}TiffData"):
        other = data.find("{*}UUID")
        if other is not None and other.text != uuid and other.get("FileName") != name:
            continue
        first = {axis: int(data.get(f"First{axis}", "0")) for axis in sizes}
        start, step = 0, 1
        for axis, size in sizes.items():
            start, step = start + first[axis] * step, step * size
        ifd = int(data.get("IFD", "0"))
        planes = int(data.get("PlaneCount", "1" if "IFD" in data.attrib else str(step)))
        for offset in range(min(planes, count + 1)):
            pages[ifd + offset] = _page_at(ifd + offset, start + offset, sizes)
    return tuple(pages[number] for number in sorted(pages))


def _count_channels(pixels: ElementTree.Element) -> int:
    """Return the number of channels: SizeC counts colours, and some of them may not be listed."""
    listed = pixels.findall("{*}Channel")
    samples = sum(int(channel.get("SamplesPerPixel", "1")) for channel in listed)
    size = int(pixels.get("SizeC", samples or 1))
    return len(listed) if samples == size else size


def _number_pages(numbers: Sequence[int], sizes: Mapping[str, int]) -> tuple[Page, ...]:
    return tuple(_page_at(number, index, sizes) for index, number in enumerate(numbers))


def _page_at(number: int, index: int, sizes: Mapping[str, int]) -> Page:
    """Return the page that is the `index`-th image; `sizes` goes from the fastest axis on."""
    place: dict[str, int] = {}
    for axis, size in sizes.items():
        index, place[axis] = divmod(index, size)
    return Page(number, place.get("C", 0), place.get("Z", 0), place.get("T", 0))


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 1
