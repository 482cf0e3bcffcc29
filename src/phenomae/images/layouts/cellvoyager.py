"""CellVoyager of Yokogawa: `MeasurementData.mlf`, with `MeasurementDetail.mrf` and a `.mes`."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from phenomae.images.layouts.xml_stream import read_elements
from phenomae.images.settings import LayoutSettings
from phenomae.records import parse_well

_DETAIL = "MeasurementDetail.mrf"


@dataclass
class _Detail:
    """What lies beside the records."""

    plate: str | None = None
    settings: str | None = None
    """The name of the `.mes`."""
    sizes: dict[str, float] = field(default_factory=dict)
    """Micrometres a pixel, by channel number."""
    shading: set[str] = field(default_factory=set)
    """The files that correct the shading, which are no images of a field."""


def find_cellvoyager(raw: Path) -> list[Path]:
    """Return the files of measurement records at or below `raw`: `MeasurementData.mlf`."""
    return find_indices(raw, lambda name: name == "measurementdata.mlf")


def list_cellvoyager(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images that measurement records name; they lie beside the `.mlf`.

    A plate is called as in the `.mrf`, a channel by its fluorophore or target in the `.mes`; where
    these are not there, by the folder and by the channel's number. What the microscope could not
    image becomes a problem, as does a record that cannot be understood, and several time points.

    Raises ValueError where one of the files cannot be read, where no image can be understood, and
    where `plate_name` is set for several plates.
    """
    acquisitions = name_folders(index.parent for index in indices)
    files: list[RawFile] = []
    problems: list[Problem] = []
    sizes: dict[str, set[float]] = defaultdict(set)
    passed_over: Counter[str] = Counter()
    own: set[str] = set()
    for index in indices:
        folder = index.parent
        images, wrong = _read_records(index)
        detail = _read_detail(folder / _DETAIL)
        own.add(name := detail.plate or folder.absolute().name)
        plate = settings.plate_name or name
        channels = _name_channels(folder, detail, images)
        found, lapse = make_files(plate, folder, acquisitions[folder], channels, images)
        files += found
        problems += [*place_problems(wrong, index, plate), *lapse]
        sizes[plate] |= {detail.sizes[number] for number in channels if number in detail.sizes}
        _count_others(folder, {image.file for image in images}, detail.shading, passed_over)
    check_plate_name(raw, settings.plate_name, own)
    return Listing(
        files,
        {plate: min(values) for plate, values in sizes.items() if len(values) == 1},
        passed_over=dict(passed_over),
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
        complain(path, problems)
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
        held = element.attributes
        if element.name == "MeasurementSamplePlate":
            detail.plate = held.get("Name") or element.outermost.get("Title")
            continue
        detail.shading.add(held.get("ShadingCorrectionSource", ""))
        try:
            size = float(held.get("HorizontalPixelDimension", ""))
        except ValueError:
            continue
        if 0 < size < math.inf:
            detail.sizes[held.get("Ch", "")] = size
    return detail


def _name_channels(folder: Path, detail: _Detail, images: Sequence[IndexedImage]) -> dict[str, str]:
    """Return the names of the channels of images, by number."""
    names: dict[str, str] = {}
    settings = folder / Path(detail.settings).name if detail.settings else None
    if settings is not None and settings.is_file():
        for element in read_elements(settings, "MeasurementSetting", {"Channel"}):
            held = element.attributes
            if name := held.get("Fluorophore") or held.get("Target"):
                names[held.get("Ch", "")] = name_transmitted(name, held.get("Kind", ""))
    apart = name_apart(names)
    return {image.channel: apart.get(image.channel, image.channel) for image in images}


def _count_others(
    folder: Path, named: set[str], shading: set[str], passed_over: Counter[str]
) -> None:
    for name in list_images(folder):
        if name in shading or name.startswith(("DC_", "SC_")):
            passed_over["shading files"] += 1
        elif name not in named:
            passed_over[OTHER_IMAGES] += 1
