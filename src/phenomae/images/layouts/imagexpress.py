"""ImageXpress: the folders that MetaXpress stores or exports, with an `.HTD` file per plate.

Well, site and wave are in the file names only; the HTD file says which of them should be there.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from phenomae.images.fields import Listing, Problem, RawFile
from phenomae.images.layouts.htd import Plate, read_htd
from phenomae.images.layouts.index_files import (
    OTHER_IMAGES,
    IndexedImage,
    check_plate_name,
    find_indices,
    list_images,
    make_files,
    name_folders,
)
from phenomae.images.layouts.layout import Layout
from phenomae.images.settings import LayoutSettings
from phenomae.records import parse_well

_INNER = re.compile(r"(timepoint|zstep)_([0-9]{1,6})", re.IGNORECASE)
_GUID = r"[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}"
_WELL = r"(?P<prefix>.+?)_(?P<row>[A-Z]{1,2})(?P<column>[0-9]{2})"
# The GUID follows the number of the wave or site, or the well, without a separator.
_NAME = re.compile(
    rf"{_WELL}(?:_s(?P<site>[0-9]{{1,4}}))?(?:_w(?P<wave>[0-9]{{1,2}}))?"
    rf"(?:{_GUID}|_?\[{_GUID}\])?\.tiff?",
    re.IGNORECASE,
)
_THUMBNAIL = re.compile(rf"{_WELL}(?:_[sw][0-9]+)*_thumb.*", re.IGNORECASE)

_Named = tuple[int, int, str, re.Match[str]]
"""Time point, plane (0 outside of a z-stack), path in the plate's folder, parsed file name."""


def find_imagexpress(raw: Path) -> list[Path]:
    """Return the HTD files at or below `raw`, one per plate."""
    found = find_indices(raw, lambda name: name.endswith(".htd"))
    # MetaXpress copies the HTD file into TimePoint_1 and ZStep_1: the outermost copy is kept.
    found.sort(key=lambda index: (len(index.parts), index))
    plates: dict[tuple[Path, str], Path] = {}
    for index in found:
        plates.setdefault((_plate_folder(raw, index), index.stem.lower()), index)
    return sorted(plates.values())


def list_imagexpress(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images in the folders of HTD files, and in TimePoint_N and ZStep_N below them.

    A plate has the name of its HTD file; its folder distinguishes acquisitions. If a channel of a
    field has a z-stack, the projection beside it is ignored. A well or site that the HTD file
    selects but that has no image becomes a problem.

    Raises ValueError if an HTD file is invalid or truncated, or if `plate_name` is set but there
    are several plates.
    """
    folders: dict[Path, dict[str, Path]] = defaultdict(dict)
    for index in indices:
        folders[_plate_folder(raw, index)][index.stem.lower()] = index
    acquisitions = name_folders(folders)
    check_plate_name(raw, settings.plate_name, {index.stem for index in indices})
    files: list[RawFile] = []
    problems: list[Problem] = []
    ignored: Counter[str] = Counter()
    for folder, htds in folders.items():
        named = _match_names(folder, set(htds), ignored)
        for stem, index in htds.items():
            name = settings.plate_name or index.stem
            plate = read_htd(index)
            images, wrong = _parse_names(index, folder, name, plate, named[stem])
            kept = _drop_projections(images, ignored)
            files += make_files(name, folder, acquisitions[folder], plate.waves, kept)
            problems += [*wrong, *_find_gaps(index, name, plate, images)]
    return Listing(files, ignored=dict(ignored), problems=problems)


def _plate_folder(raw: Path, index: Path) -> Path:
    """Return the folder of the plate: above TimePoint_N and ZStep_N, but not above `raw`."""
    folder = index.parent
    # Not above `raw`, so that RAW = TimePoint_1 reads one time point of several.
    while folder != raw and _INNER.fullmatch(folder.name) and raw != index:
        folder = folder.parent
    return folder


def _match_names(folder: Path, stems: set[str], ignored: Counter[str]) -> dict[str, list[_Named]]:
    """Return the images of a folder by plate, with their parsed file names."""
    named: dict[str, list[_Named]] = {stem: [] for stem in stems}
    for time, plane, file in _walk(folder):
        name = file.rpartition("/")[2]
        if _THUMBNAIL.fullmatch(name):
            ignored["thumbnails"] += 1
            continue
        match = _NAME.fullmatch(name)
        # Files of a lone plate may begin with another name than the HTD file; only if plates share
        # a folder must the names agree.
        stem = min(stems) if len(stems) == 1 else match and match["prefix"].lower()
        if match is None or stem not in named:
            ignored[OTHER_IMAGES] += 1
        else:
            named[stem].append((time, plane, file, match))
    return named


def _walk(folder: Path) -> Iterator[tuple[int, int, str]]:
    """Yield time point, plane and path (relative to `folder`) of the images of a plate."""
    for time, inner in [(1, ""), *_numbered(folder, "timepoint")]:
        for plane, leaf in [(0, ""), *_numbered(folder / inner, "zstep")]:
            within = Path(inner, leaf)
            for name in list_images(folder / within):
                yield time, plane, (within / name).as_posix()


def _numbered(folder: Path, kind: str) -> list[tuple[int, str]]:
    """Return the numbers and names of the folders TimePoint_N or ZStep_N in a folder."""
    matches = [(_INNER.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted(
        (int(match[2]), path.name)
        for match, path in matches
        if match and match[1].lower() == kind and path.is_dir()
    )


def _parse_names(
    index: Path, folder: Path, name: str, plate: Plate, named: Sequence[_Named]
) -> tuple[list[IndexedImage], list[Problem]]:
    """Return the images of a plate, and a problem per image with an unknown wave or well."""
    images: list[IndexedImage] = []
    problems: list[Problem] = []
    # MetaXpress leaves _s1 or _w1 out of file names if a plate has only one site or wave.
    only_wave = next(iter(plate.waves)) if len(plate.waves) == 1 else ""
    for time, plane, file, match in named:
        well: str | None = None
        site = int(match["site"] or 1)
        wave = (match["wave"] or only_wave).lstrip("0")
        try:
            well = parse_well(match["row"], match["column"])
            if wave not in plate.waves:
                found = f"has the wave {wave}" if wave else "has no wave in its name"
                known = ", ".join(f"{number} ({of})" for number, of in plate.waves.items())
                raise ValueError(f"it {found}, but {index} has the waves {known}")
        except ValueError as error:
            problems.append(Problem(f"{folder / file}: {error}", name, well, site))
            continue
        images.append(IndexedImage(well, site, plane, wave, str(time), file))
    return images, problems


def _drop_projections(images: Sequence[IndexedImage], ignored: Counter[str]) -> list[IndexedImage]:
    """Return the images without those beside a z-stack (plane 0) of the same channel.

    The remaining images of plane 0 are single planes or projections and get plane 1.
    """
    # The stack is kept because every other plane can be computed from it, the projection included.
    stacks = {(i.well, i.site, i.channel, i.time) for i in images if i.plane}
    kept = [i for i in images if i.plane or (i.well, i.site, i.channel, i.time) not in stacks]
    if len(kept) < len(images):
        ignored["projections"] += len(images) - len(kept)
    return [image if image.plane else replace(image, plane=1) for image in kept]


def _find_gaps(
    index: Path, name: str, plate: Plate, images: Sequence[IndexedImage]
) -> Iterator[Problem]:
    """Yield a problem per well or site that the HTD file selects and that has no image."""
    sites: dict[str, set[int]] = defaultdict(set)
    for image in images:
        sites[image.well].add(image.site)
    if not images:
        yield Problem(f"{index}: there is no image of its plate beside it or in TimePoint_1", name)
        return
    for well in plate.wells:
        missing = sorted(set(range(1, plate.sites + 1)) - sites[well])
        label = f"plate {name}, well {well}"
        if missing and not sites[well]:
            yield Problem(f"{label} has no image, but {index} selects it", name, well)
            continue
        for site in missing:
            what = f"{label}, site {site} has no image, but {index} selects it"
            yield Problem(what, name, well, site)


LAYOUT = Layout("imagexpress", "*.HTD", find_imagexpress, list_imagexpress)
