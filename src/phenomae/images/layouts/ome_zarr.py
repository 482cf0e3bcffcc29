"""OME-Zarr plates (HCS, versions 0.4 and 0.5), such as bioformats2raw, faim-ipa and Fractal write.

The arrays are read in place: a `Place` names an array and the index of a plane in it.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phenomae.cores import available_cores
from phenomae.images.fields import Listing, Place, Problem, RawFile
from phenomae.images.layouts.index_files import (
    ZARR_FILES,
    check_file_name,
    check_plate_name,
    name_folders,
    require_repeats,
)
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.ome_zarr_image import ZarrImage, read_image
from phenomae.images.layouts.ome_zarr_sites import number_sites, version_of
from phenomae.images.layouts.zarr_groups import name_kind, read_group, walk_groups
from phenomae.images.settings import LayoutSettings
from phenomae.images.threads import map_in_threads
from phenomae.progress import info, tracked
from phenomae.records import parse_well
from phenomae.urls import below

_SUFFIX = re.compile(r"(\.ome)?\.zarr", re.I)
_WELL_PATH = re.compile(r"[A-Za-z]{1,2}/0*[1-9][0-9]*", re.ASCII)
_IGNORED = ("labels", "tables")
_REQUESTS = 32  # concurrent reads at an address, where threads mostly wait for the server


@dataclass(frozen=True)
class _Image:
    """An image as its well lists it."""

    well: str
    site: int
    acquisition: str
    location: Path | str


@dataclass
class _Plate:
    """What the metadata of one plate say."""

    files: list[RawFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    sizes: set[float | None] = field(default_factory=set)
    """Pixel sizes in micrometres; None stands for images without one."""
    no_sizes: set[str] = field(default_factory=set)
    """Why scales do not give pixel sizes."""
    colors: dict[str, str] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)


def find_ome_zarr(raw: Path) -> list[Path]:
    """Return the metadata file of each OME-Zarr plate at or below `raw`."""
    if raw.is_file() and raw.name in ZARR_FILES:
        raw = raw.parent
    # A damaged group is taken for a plate, so that its plate is not lost in silence.
    plates = [folder for folder, keys in walk_groups(raw) if keys is None or "plate" in keys]
    names = ("zarr.json", ".zattrs", ".zgroup")
    return [next(p / name for name in names if (p / name).exists()) for p in plates]


def list_ome_zarr(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the planes of the images of all plates, in their first dataset, of full resolution.

    A plate is named by its folder without `.zarr` or `.ome.zarr`. The site is the number that names
    the image, counted from the first one of its acquisition if a well has several. Channels have
    their labels in `omero`, or else numbers. An image that cannot be understood, or whose channels
    are not those of most images of its plate and acquisition, becomes a problem.

    Raises ValueError if the metadata of a plate are damaged, if `plate_name` is set but there are
    several plates, or if different plates have one name.
    """
    plates = [index.parent for index in indices]
    listing = list_plates(raw, plates, settings)
    home = raw if raw.is_dir() else raw.parent
    others = sum(folder not in plates for folder, _ in walk_groups(home))
    if not others:
        return listing
    return replace(listing, ignored={**listing.ignored, "Zarr groups that are no plates": others})


def list_plates(raw: Path | str, plates: Sequence[Path | str], settings: LayoutSettings) -> Listing:
    """List the images of plates at these folders or addresses, as `list_ome_zarr` does."""
    names = {plate: _SUFFIX.sub("", os.path.basename(os.path.abspath(plate))) for plate in plates}
    check_plate_name(raw, settings.plate_name, list(names.values()))
    acquisitions = name_folders([plate for plate in plates if isinstance(plate, Path)])
    files: list[RawFile] = []
    problems: list[Problem] = []
    sizes: dict[str, set[float | None]] = defaultdict(set)
    colors: dict[str, str] = {}
    ignored: Counter[str] = Counter()
    by_folder: dict[tuple[str, Path], set[tuple[str, str]]] = {}
    for location in plates:
        name = settings.plate_name or names[location]
        prefix = acquisitions[location] if isinstance(location, Path) else ""
        plate = _list_plate(location, name, prefix)
        files += plate.files
        problems += plate.problems
        sizes[name] |= plate.sizes
        colors = {**plate.colors, **colors}
        ignored += plate.ignored
        _report_scales(name, plate, settings)
        if plate.files and isinstance(location, Path) and settings.plate_name is None:
            by_folder[name, location] = {(file.well, file.channel) for file in plate.files}
    require_repeats(by_folder)
    known = {name: size for name, found in sizes.items() if (size := _only(found)) is not None}
    return Listing(files, known, ignored=ignored, problems=problems, colors=colors)


def list_address(address: str, settings: LayoutSettings) -> Listing:
    """List the images of one plate at an address; raises ValueError if there is no plate."""
    keys = read_group(address)
    if settings.layout not in ("auto", "ome-zarr") or keys is None or "plate" not in keys:
        found = "holds no Zarr group" if keys is None else f"is {name_kind(keys)}"
        raise ValueError(
            f"{address} {found}: at an address, raw images are read only from an OME-Zarr plate "
            "(a LoadData CSV may name images at addresses)"
        )
    return list_plates(address, [address], settings)


def _only(sizes: set[float | None]) -> float | None:
    return next(iter(sizes)) if len(sizes) == 1 else None


def _report_scales(name: str, plate: _Plate, settings: LayoutSettings) -> None:
    """Print why the pixel size of a plate is not known, if its images have scales."""
    if plate.no_sizes:
        why = ", and ".join(sorted(plate.no_sizes))
        info(
            f"plate {name}: {why}, so the pixel size is not known (setting pixel_size_um gives it)"
        )
    elif len(plate.sizes) > 1:
        listed = ", ".join("none" if size is None else f"{size:g}" for size in plate.sizes)
        info(f"plate {name}: its images have several pixel sizes, so it has none: {listed}")


def _list_plate(location: Path | str, name: str, prefix: str) -> _Plate:
    """List one plate; raises ValueError if its group is damaged or lists no well."""
    plate = _Plate()
    images = _list_images(location, name, prefix, plate)
    workers = available_cores() if isinstance(location, Path) else _REQUESTS
    found: list[tuple[_Image, ZarrImage]] = []
    read = map_in_threads(lambda image: _read_or_explain(image.location), images, workers)
    for image, content in zip(images, tracked(read, name, len(images), "images"), strict=True):
        if isinstance(content, str):
            plate.problems.append(Problem(content, name, image.well, image.site))
        else:
            found.append((image, content))
        _count_ignored(image.location, plate)
    _count_ignored(location, plate)
    usual = _find_usual_channels(found)
    for image, content in found:
        if content.channels != usual[image.acquisition]:
            what = (
                f"{image.location} has the channels {', '.join(content.channels)}, but most images"
            )
            what += f" of the plate have {', '.join(usual[image.acquisition])}"
            plate.problems.append(Problem(what, name, image.well, image.site))
        else:
            _add_image(plate, name, image, content)
    return plate


def _list_images(location: Path | str, name: str, prefix: str, plate: _Plate) -> list[_Image]:
    """Return the images that the wells of a plate list; wells without become problems."""
    keys = read_group(location) or {}
    listed = keys.get("plate")
    wells = listed.get("wells") if isinstance(listed, dict) else None
    if not isinstance(listed, dict) or not isinstance(wells, list) or not wells:
        raise ValueError(f"{location} is an OME-Zarr plate that lists no wells")
    images: list[_Image] = []
    workers = available_cores() if isinstance(location, Path) else _REQUESTS
    entries: list[tuple[str, str]] = []
    for entry in wells:
        try:
            path = check_file_name(entry["path"])
            entries.append((_name_well(listed, entry, path), path))
        except (LookupError, TypeError, AttributeError):
            plate.problems.append(Problem(f"{location} lists the well {entry}: no path", name))
        except ValueError as error:
            plate.problems.append(
                Problem(f"{location} lists the well {entry['path']}: {error}", name)
            )
    read = map_in_threads(lambda entry: _read_well(below(location, entry[1])), entries, workers)
    for (well, path), found in zip(entries, read, strict=True):
        try:
            if isinstance(found, str):
                raise ValueError(found)
            images += _number_images(below(location, path), well, found, prefix)
        except ValueError as error:
            plate.problems.append(Problem(str(error), name, well))
    return images


def _name_well(plate: dict[str, Any], entry: dict[str, Any], path: str) -> str:
    """Return the well that the path of an entry of a plate names, and its indices if it has any.

    Raises ValueError if they name different wells, or none.
    """
    parts = path.split("/")
    row, column = parts[-2:] if len(parts) > 1 else ("", "")
    if not {"rowIndex", "columnIndex"} <= entry.keys():
        return parse_well(row, column)
    by_index = [_name_index(plate, kind, entry) for kind in ("row", "column")]
    if by_index[0] is None or by_index[1] is None:
        return parse_well(row, column)
    well = parse_well(by_index[0], by_index[1])
    # Rows or columns of a path that are counted from 0 say nothing against the indices.
    if _WELL_PATH.fullmatch(f"{row}/{column}") and parse_well(row, column) != well:
        raise ValueError(f"its path is {path}, its indices name {well}")
    return well


def _name_index(plate: dict[str, Any], kind: str, entry: dict[str, Any]) -> str | None:
    """Return the name of an entry's row or column; None if the plate does not list them."""
    listed, index = plate.get(f"{kind}s"), entry[f"{kind}Index"]
    if not isinstance(listed, list) or not listed:
        return None
    if type(index) is not int or not 0 <= index < len(listed):
        raise ValueError(
            f"its {kind}Index is {index!r}: expected a whole number from 0 to {len(listed) - 1}"
        )
    if not isinstance(listed[index], dict) or "name" not in listed[index]:
        raise ValueError(f"its {kind}Index is {index}, but that {kind} has no name")
    return str(listed[index]["name"])


def _read_well(location: Path | str) -> list[tuple[str, str]] | str:
    """Return path and acquisition of each image of a well, or what is wrong with the well."""
    try:
        keys = read_group(location)
        if keys is None:
            return f"{location} is missing: the plate lists a well of this name"
        well = keys.get("well")
        images = well.get("images") if isinstance(well, dict) else None
        if not isinstance(images, list) or not images:
            return f"{location} is {name_kind(keys)} that lists no images"
        return [
            (check_file_name(image["path"]), str(image.get("acquisition", ""))) for image in images
        ]
    except (LookupError, TypeError, AttributeError):
        return f"{location} lists an image without a path"
    except ValueError as error:
        return str(error)


def _number_images(
    location: Path | str, well: str, images: Sequence[tuple[str, str]], prefix: str
) -> list[_Image]:
    """Return the images of a well with their sites; raises ValueError as `number_sites` does."""
    try:
        sites = number_sites(images)
    except ValueError as error:
        raise ValueError(f"{location}: {error}") from None
    found: list[_Image] = []
    for (path, acquisition), site in zip(images, sites, strict=True):
        parts = prefix, acquisition, version_of(path)
        label = "/".join(part for part in parts if part)
        found.append(_Image(well, site, label, below(location, path)))
    return found


def _read_or_explain(location: Path | str) -> ZarrImage | str:
    try:
        return read_image(location)
    except ValueError as error:
        return str(error)


def _count_ignored(location: Path | str, plate: _Plate) -> None:
    if isinstance(location, Path):
        for kind in _IGNORED:
            plate.ignored[f"{kind} of OME-Zarr groups"] += (location / kind).is_dir()


def _find_usual_channels(
    images: Sequence[tuple[_Image, ZarrImage]],
) -> dict[str, tuple[str, ...]]:
    """Return the channels that most images of each acquisition have."""
    counts: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for image, content in images:
        counts[image.acquisition][content.channels] += 1
    return {acquisition: its.most_common(1)[0][0] for acquisition, its in counts.items()}


def _add_image(plate: _Plate, name: str, image: _Image, content: ZarrImage) -> None:
    plate.sizes.add(content.pixel_size_um)
    if content.no_size:
        plate.no_sizes.add(content.no_size)
    for channel, color in zip(content.channels, content.colors, strict=True):
        if color:
            plate.colors.setdefault(channel, color)
    has_times = content.size("t") > 1
    for index, time, channel, z in content.planes():
        plate.files.append(
            RawFile(
                name,
                image.well,
                image.site,
                content.channels[channel],
                Place(content.array, index=index),
                plane=z + 1,
                acquisition=image.acquisition,
                time=str(time + 1) if has_times else "",
            )
        )


_SIGN = "zarr.json or .zattrs of an OME-Zarr plate"
LAYOUT = Layout("ome-zarr", _SIGN, find_ome_zarr, list_ome_zarr)
