"""Opera Phenix and Operetta: the index that Harmony writes, `Index.idx.xml` or `Index.xml`."""

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

from phenomae.images.fields import Listing, Problem, RawFile, complain, parse_site
from phenomae.images.layouts.index_files import (
    OTHER_IMAGES,
    IndexedImage,
    check_file_name,
    check_plate_name,
    find_indices,
    list_images,
    make_files,
    name_apart,
    name_folders,
    name_transmitted,
    place_problems,
)
from phenomae.images.layouts.xml_stream import Element, read_elements
from phenomae.images.settings import LayoutSettings
from phenomae.records import parse_well

_POWERS = {"m": 6, "mm": 3, "um": 0, "µm": 0, "μm": 0, "nm": -3}  # of ten, to micrometres


@dataclass
class _Index:
    """What one index says."""

    plates: list[str] = field(default_factory=list)
    channels: dict[str, str] = field(default_factory=dict)
    """Names by ChannelID."""
    resolutions: set[tuple[str, str]] = field(default_factory=set)
    """As they are written, with their unit."""
    sizes: set[float] = field(default_factory=set)
    """Micrometres a pixel."""
    images: list[IndexedImage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def find_phenix(raw: Path) -> list[Path]:
    """Return the Harmony indices at or below `raw`, one a folder."""
    found: dict[Path, Path] = {}
    for index in find_indices(raw, lambda name: name in ("index.idx.xml", "index.xml")):
        found.setdefault(index.parent, index)
    return list(found.values())


def list_phenix(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images that Harmony's indices name, which lie beside them or in a folder Images.

    A plate is called by its PlateID, or else as the folder of the measurement. An image whose
    well, field, channel or name cannot be understood becomes a problem, and so does a plate with
    several time points. A pixel size is told where all channels of a plate share it.

    Raises ValueError where an index cannot be read, names no image that can be understood, or is
    of several plates, and where `plate_name` is set for several plates.
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
        folder, present = _find_images(path)
        others += len(set(present) - {image.file for image in index.images})
        channels = name_apart(index.channels)
        found, lapse = make_files(plate, folder, acquisitions[measurement], channels, index.images)
        files += found
        problems += [*place_problems(index.problems, path, plate), *lapse]
        sizes[plate] |= index.sizes
    check_plate_name(raw, settings.plate_name, own)
    return Listing(
        files,
        {plate: min(values) for plate, values in sizes.items() if len(values) == 1},
        passed_over={OTHER_IMAGES: others} if others else {},
        problems=problems,
    )


def _read_index(path: Path) -> _Index:
    index = _Index()
    for element in read_elements(path, "EvaluationInputData", {"Plate", "Entry", "Image"}):
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
    if len(set(index.plates)) > 1:
        raise ValueError(
            f"{path} is of the plates {' and '.join(index.plates[:4])}, and its images do not say "
            "which is theirs: export one plate at a time"
        )
    if not index.images and index.problems:
        complain(path, index.problems)
    if not index.images:
        raise ValueError(f"{path} names no image: expected elements Image in Images")
    return index


def _add_channel(index: _Index, number: str, element: Element) -> None:
    """Learn a channel: from its entry in Maps (Harmony 7), or from each image (before)."""
    name = name_transmitted(element.need("ChannelName"), element.values.get("ChannelType", ""))
    if (known := index.channels.setdefault(number, name)) != name:
        raise ValueError(f"channel {number} is called {known!r}, and then {name!r}")
    size = element.values.get("ImageResolutionX", ""), element.units.get("ImageResolutionX", "")
    if size not in index.resolutions:
        index.resolutions.add(size)
        index.sizes |= _micrometres(*size)


def _micrometres(text: str, unit: str) -> set[float]:
    """Return a length; nothing where it is none, so that nobody takes it for a pixel size."""
    try:
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


def _find_images(index: Path) -> tuple[Path, list[str]]:
    """Return the folder where the images lie, and the names of those there."""
    beside = list_images(index.parent)
    if not beside:
        for folder in sorted(index.parent.iterdir()):
            if folder.name.lower() == "images" and folder.is_dir():
                return folder, list_images(folder)
    return index.parent, beside
