"""The index files of microscopes: where they lie, and what becomes of the images they name."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phenomae.images.fields import Place, Problem, RawFile

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2"})
OTHER_IMAGES = "images that the index does not name"


@dataclass(frozen=True)
class IndexedImage:
    """An image as an index speaks of it."""

    well: str
    site: int
    plane: int
    channel: str
    """As the index numbers it."""
    time: str
    file: str
    """Its path in the folder of the images."""


def find_indices(raw: Path, is_index: Callable[[str], bool]) -> list[Path]:
    """Return the files at or below `raw` whose name in small letters is that of an index, sorted.

    Links to folders are followed, each folder once. Hidden files (`._Index.xml`) do not count.
    """
    if raw.is_file():
        return [raw] if is_index(raw.name.lower()) else []
    indices: list[Path] = []
    seen: set[str] = set()
    for folder, below, names in os.walk(raw, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            below.clear()
            continue
        seen.add(real)
        below.sort()
        indices += [
            Path(folder, name)
            for name in names
            if not name.startswith(".") and is_index(name.lower())
        ]
    return sorted(indices)


def list_images(folder: Path) -> list[str]:
    """Return the names of the images that lie directly in a folder, sorted."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}") from None
    return sorted(
        name
        for name in names
        if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")
    )


def name_folders(folders: Iterable[Path]) -> dict[Path, str]:
    """Return what to call each folder: its name, with as many of those above as tell it apart."""
    parts = {folder: Path(os.path.abspath(folder)).parts for folder in folders}
    names: dict[Path, str] = {}
    for folder, own in parts.items():
        others = [other for other in parts.values() if other != own]
        depth = 1
        while depth < len(own) and any(other[-depth:] == own[-depth:] for other in others):
            depth += 1
        names[folder] = "/".join(own[-depth:])
    return names


def name_apart(names: Mapping[str, str]) -> dict[str, str]:
    """Return the names of channels by number, with the number added where a name is there twice."""
    counts = Counter(names.values())
    return {
        number: f"{name} (channel {number})" if counts[name] > 1 else name
        for number, name in names.items()
    }


def name_transmitted(name: str, kind: str) -> str:
    """Return a channel's name, with brightfield or phase contrast added where only `kind` tells."""
    for sign, word in (("bright", "brightfield"), ("phase", "phase contrast")):
        if sign in kind.lower() and sign not in name.lower():
            return f"{name} ({word})"
    return name


def check_plate_name(raw: Path, plate_name: str | None, own: Collection[str]) -> None:
    """Raise ValueError where one `plate_name` is set for several plates."""
    if plate_name is not None and len(plates := sorted(set(own))) > 1:
        raise ValueError(
            f"plate_name is {plate_name!r}, but {raw} holds {len(plates)} plates: "
            f"{', '.join(plates[:4])}; leave it out, or take one plate's folder"
        )


def place_problems(problems: Iterable[Problem], index: Path, plate: str) -> list[Problem]:
    """Return the problems of an index with its path before them, and with its plate."""
    return [replace(it, what=f"{index}, {it.what}", plate=plate) for it in problems]


def make_files(
    plate: str,
    folder: Path,
    acquisition: str,
    channels: Mapping[str, str],
    images: Sequence[IndexedImage],
) -> tuple[list[RawFile], list[Problem]]:
    """Return the files of a plate: none, and why, where one image has several time points.

    Other wells or channels may be of another time point: what counts is a channel of a field.
    """
    times: dict[tuple[str, int, str], set[str]] = defaultdict(set)
    for image in images:
        times[image.well, image.site, image.channel].add(image.time)
    most = max(times.values(), key=len, default=set[str]())
    if len(most) > 1:
        listed = ", ".join(sorted(most, key=lambda time: (len(time), time)))
        what = (
            f"plate {plate} was imaged at {len(most)} time points ({listed}), and a field has one: "
            "choose the files of one with the setting pattern"
        )
        return [], [Problem(what, plate)]
    files: list[RawFile] = []
    for image in images:
        channel, place = channels[image.channel], Place(str(folder / image.file))
        files.append(
            RawFile(plate, image.well, image.site, channel, place, image.plane, acquisition)
        )
    return files, []


def check_file_name(name: str) -> str:
    """Return a name of a file; raises ValueError where it would lead out of its folder."""
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise ValueError(f"{name!r} is not the name of a file beside the index")
    return name
