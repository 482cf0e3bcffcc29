"""Opera Phenix and Operetta: the index of Harmony, `Index.idx.xml`, `Index.ref.xml` or `Index.xml`.

Versions 1, 5 and 7 of the index differ in their XML namespace and in where channels are named.
"""

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

from phenomae.images.fields import Listing, Problem, RawFile, parse_site, raise_problems
from phenomae.images.layouts.find_images import find_images
from phenomae.images.layouts.index_files import (
    OTHER_IMAGES,
    IndexedImage,
    check_file_name,
    check_plate_name,
    find_indices,
    locate_problems,
    make_files,
    mark_transmitted,
    name_folders,
    unique_channels,
)
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.xml_stream import Element, read_elements
from phenomae.images.settings import LayoutSettings
from phenomae.records import parse_well

_NAMES = ("index.idx.xml", "index.ref.xml", "index.xml")

# Powers of ten from a unit to micrometres. Unicode has two letters mu, and both are in use.
_POWERS = {"m": 6, "mm": 3, "um": 0, "µm": 0, "μm": 0, "nm": -3}


@dataclass
class _Index:
    """Contents of one index."""

    plates: list[str] = field(default_factory=list)
    channels: dict[str, str] = field(default_factory=dict)
    """Names by ChannelID."""
    unnamed: dict[str, str] = field(default_factory=dict)
    """ChannelID of images without a ChannelName, and what they are called if nothing names them."""
    resolutions: set[tuple[str, str]] = field(default_factory=set)
    """Pixel sizes as text, with their unit."""
    sizes: set[float] = field(default_factory=set)
    """Pixel sizes in micrometres."""
    images: list[IndexedImage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def find_phenix(raw: Path) -> list[Path]:
    """Return the Harmony indices at or below `raw`, one per folder."""
    found: dict[Path, Path] = {}
    for index in find_indices(raw, lambda name: name in _NAMES):
        # Several of them in one folder describe the same images.
        found.setdefault(index.parent, index)
    return list(found.values())


def list_phenix(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images that Harmony's indices name, which are beside them or in a folder below.

    The name of a plate is its PlateID, or else the name of the measurement's folder; a channel
    without a name has its number. An image becomes a problem if its well, field or file name cannot
    be understood, if the microscope reports that it failed, or if several files have its name. The
    pixel size is known if all channels of a plate have the same.

    Raises ValueError if an index cannot be read, names no image that can be understood or covers
    several plates, or if `plate_name` is set but there are several plates.
    """
    measurements = {index: _measurement(index) for index in indices}
    acquisitions = name_folders(measurements.values())
    files: list[RawFile] = []
    problems: list[Problem] = []
    sizes: dict[str, set[float]] = defaultdict(set)
    own: set[str] = set()
    others = 0
    for path, measurement in measurements.items():
        index = _read_index(path)
        name = index.plates[0] if index.plates else measurement.name
        own.add(name)
        plate = settings.plate_name or name
        found = find_images(path.parent, index.images)
        others += found.others
        channels = unique_channels(index.unnamed | index.channels)
        acquisition = acquisitions[measurement]
        files += make_files(plate, path.parent, acquisition, channels, found.images)
        problems += locate_problems([*index.problems, *found.problems], path, plate)
        sizes[plate] |= index.sizes
    check_plate_name(raw, settings.plate_name, own)
    return Listing(
        files,
        {plate: min(values) for plate, values in sizes.items() if len(values) == 1},
        ignored={OTHER_IMAGES: others} if others else {},
        problems=problems,
    )


def _read_index(path: Path) -> _Index:
    index = _Index()
    for element in read_elements(path, "EvaluationInputData", {"Plate", "Entry", "Image"}):
        # Wells contain elements Image too, which are references without a file name.
        if element.name == "Plate" and element.parent == "Plates":
            name = element.values.get("PlateID") or element.values.get("Name")
            index.plates += [name] if name else []
        elif element.name == "Entry" and element.values.get("ChannelName"):
            try:
                _add_channel(index, element.attributes.get("ChannelID", ""), element)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        elif element.name == "Image" and element.parent == "Images":
            _add_image(index, element)
    # Elements Image have no plate, so images of several plates in one index cannot be told apart.
    if len(set(index.plates)) > 1:
        raise ValueError(
            f"{path} covers the plates {' and '.join(index.plates[:4])}, and its images do not say "
            "which plate they belong to: export one plate at a time"
        )
    if not index.images and index.problems:
        raise_problems(path, index.problems)
    if not index.images:
        raise ValueError(f"{path} names no image: expected elements Image in Images")
    return index


def _add_channel(index: _Index, number: str, element: Element) -> None:
    """Add a channel from its entry in Maps (Harmony 7) or from an image (earlier versions)."""
    kind = element.values.get("ChannelType", "")
    if name := element.values.get("ChannelName"):
        name = mark_transmitted(name, kind)
        known = index.channels.setdefault(number, name)
        if known.casefold() != name.casefold():
            raise ValueError(f"channel {number} is called {known!r}, and then {name!r}")
    else:
        index.unnamed.setdefault(number, mark_transmitted(number, kind))
    size = element.values.get("ImageResolutionX", ""), element.units.get("ImageResolutionX", "")
    # Earlier versions repeat the size in every image: each text is converted once.
    if size not in index.resolutions:
        index.resolutions.add(size)
        index.sizes |= _micrometres(*size)


def _micrometres(text: str, unit: str) -> set[float]:
    """Return a length in micrometres; empty if it is invalid, because a wrong size does harm."""
    try:
        # Decimal shifts the point exactly; a float times 1e6 would end in rounding errors.
        length = float(Decimal(text).scaleb(_POWERS[unit]))
    except (KeyError, InvalidOperation):
        return set()
    return {length} if 0 < length < math.inf else set()


def _add_image(index: _Index, element: Element) -> None:
    well: str | None = None
    site: int | None = None
    try:
        well = parse_well(element.need("Row"), element.need("Col"))
        site = parse_site(element.need("FieldID"))
        number = element.values.get("ChannelID") or element.need("ChannelName")
        if number not in index.channels or "ChannelName" in element.values:
            _add_channel(index, number, element)
        plane = parse_site(element.values.get("PlaneID") or "1")
        # After its channel, so that a failure changes neither the channels nor their order.
        if (state := element.values.get("State", "Ok")).lower() == "failed":
            raise ValueError(f"the microscope reports the state {state}")
        time = element.values.get("TimepointID", "")
        name = check_file_name(element.need("URL"))
        index.images.append(IndexedImage(well, site, plane, number, time, name))
    except ValueError as error:
        label = element.values.get("id") or f"number {len(index.images) + len(index.problems) + 1}"
        index.problems.append(Problem(f"image {label}: {error}", well=well, site=site))


def _measurement(index: Path) -> Path:
    """Return the folder of the measurement: that of the index, or the one above Images."""
    folder = Path(os.path.abspath(index)).parent
    return folder.parent if folder.name.lower() == "images" else folder


_SIGN = "Index.idx.xml, Index.ref.xml or Index.xml"
LAYOUT = Layout("phenix", _SIGN, find_phenix, list_phenix)
