"""Yokogawa CellVoyager: `MeasurementData.mlf`, with `MeasurementDetail.mrf` and a `.mes` file.

The `.mlf` lists images, the `.mrf` the plate and pixel sizes, the `.mes` what the channels show;
only the first is required.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phenomae.images.fields import Listing, Problem, RawFile, parse_site, raise_problems
from phenomae.images.layouts.index_files import (
    OTHER_IMAGES,
    IndexedImage,
    check_file_name,
    check_plate_name,
    find_indices,
    list_images,
    locate_problems,
    make_files,
    mark_transmitted,
    name_folders,
    unique_channels,
)
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.xml_stream import read_elements
from phenomae.images.settings import LayoutSettings
from phenomae.records import parse_well

_DETAIL = "MeasurementDetail.mrf"


@dataclass
class _Detail:
    """Contents of `MeasurementDetail.mrf`."""

    plate: str | None = None
    settings: str | None = None
    """Name of the `.mes` file."""
    sizes: dict[str, float] = field(default_factory=dict)
    """Pixel size in micrometres by channel number."""
    shading: set[str] = field(default_factory=set)
    """Names of the files for shading correction, which are not images of a field."""


def find_cellvoyager(raw: Path) -> list[Path]:
    """Return the files `MeasurementData.mlf` at or below `raw`."""
    return find_indices(raw, lambda name: name == "measurementdata.mlf")


def list_cellvoyager(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images that `MeasurementData.mlf` files name, which are in the same folder.

    The name of a plate comes from the `.mrf`, that of a channel (fluorophore or target) from the
    `.mes`; without them the folder's name and the channel's number are used. A record that reports
    an error of the microscope or cannot be understood becomes a problem.

    Raises ValueError if one of the files cannot be read, if no image can be understood, or if
    `plate_name` is set but there are several plates.
    """
    acquisitions = name_folders(index.parent for index in indices)
    files: list[RawFile] = []
    problems: list[Problem] = []
    sizes: dict[str, set[float]] = defaultdict(set)
    ignored: Counter[str] = Counter()
    own: set[str] = set()
    for index in indices:
        folder = index.parent
        images, wrong = _read_records(index)
        detail = _read_detail(folder / _DETAIL)
        own.add(name := detail.plate or folder.absolute().name)
        plate = settings.plate_name or name
        channels = _name_channels(folder, detail, images)
        files += make_files(plate, folder, acquisitions[folder], channels, images)
        problems += locate_problems(wrong, index, plate)
        # The file lists every channel of the protocol; only those that were imaged count.
        sizes[plate] |= {detail.sizes[number] for number in channels if number in detail.sizes}
        _count_others(folder, {image.file for image in images}, detail.shading, ignored)
    check_plate_name(raw, settings.plate_name, own)
    return Listing(
        files,
        # A store has one pixel size: channels with different binning leave it unknown.
        {plate: min(values) for plate, values in sizes.items() if len(values) == 1},
        ignored=dict(ignored),
        problems=problems,
    )


def _read_records(path: Path) -> tuple[list[IndexedImage], list[Problem]]:
    images: list[IndexedImage] = []
    problems: list[Problem] = []
    records = read_elements(path, "MeasurementData", {"MeasurementRecord"})
    for number, record in enumerate(records, start=1):
        well: str | None = None
        site: int | None = None
        try:
            well = parse_well(record.need_attribute("Row"), record.need_attribute("Column"))
            # ERR records say why a field was not imaged (autofocus failed) and name no file.
            if (kind := record.attributes.get("Type")) != "IMG":
                raise ValueError(f"the microscope reports {kind}: {record.text or 'no reason'}")
            site = parse_site(record.need_attribute("FieldIndex"))
            plane = parse_site(record.attributes.get("ZIndex") or "1")
            channel = record.need_attribute("Ch")
            time = record.attributes.get("TimePoint", "")
            file = check_file_name(record.text)
            images.append(IndexedImage(well, site, plane, channel, time, file))
        except ValueError as error:
            label = f"record {number}" + (f" (well {well})" if well else "")
            problems.append(Problem(f"{label}: {error}", well=well, site=site))
    if not images and problems:
        raise_problems(path, problems)
    if not images:
        raise ValueError(f"{path} names no image: expected elements MeasurementRecord")
    return images, problems


def _read_detail(path: Path) -> _Detail:
    detail = _Detail()
    if not path.is_file():
        return detail
    names = {"MeasurementSamplePlate", "MeasurementChannel"}
    for element in read_elements(path, "MeasurementDetail", names):
        detail.settings = element.outermost.get("MeasurementSettingFileName")
        attributes = element.attributes
        if element.name == "MeasurementSamplePlate":
            detail.plate = attributes.get("Name") or element.outermost.get("Title")
            continue
        detail.shading.add(attributes.get("ShadingCorrectionSource", ""))
        try:
            size = float(attributes.get("HorizontalPixelDimension", ""))
        except ValueError:
            continue
        # float() also reads "inf" and "nan".
        if 0 < size < math.inf:
            detail.sizes[attributes.get("Ch", "")] = size
    return detail


def _name_channels(folder: Path, detail: _Detail, images: Sequence[IndexedImage]) -> dict[str, str]:
    """Return the names of the images' channels by number."""
    names: dict[str, str] = {}
    # Only the name counts: a path in the .mrf must not make ingest read another folder.
    settings = folder / Path(detail.settings).name if detail.settings else None
    if settings is not None and settings.is_file():
        for element in read_elements(settings, "MeasurementSetting", {"Channel"}):
            attributes = element.attributes
            if name := attributes.get("Fluorophore") or attributes.get("Target"):
                kind = attributes.get("Kind", "")
                names[attributes.get("Ch", "")] = mark_transmitted(name, kind)
    unique = unique_channels(names)
    return {image.channel: unique.get(image.channel, image.channel) for image in images}


def _count_others(
    folder: Path, indexed: set[str], shading: set[str], ignored: Counter[str]
) -> None:
    """Count the images of a folder that are not in the index, by kind."""
    for name in list_images(folder):
        # Known by their prefix too, because the .mrf that names them may be missing.
        if name in shading or name.startswith(("DC_", "SC_")):
            ignored["shading files"] += 1
        elif name not in indexed:
            ignored[OTHER_IMAGES] += 1


LAYOUT = Layout("cellvoyager", "MeasurementData.mlf", find_cellvoyager, list_cellvoyager)
