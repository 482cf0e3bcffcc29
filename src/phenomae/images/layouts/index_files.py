"""What layouts with index files share: finding them, listing images beside them, naming plates.

Phenix, ImageXpress and CellVoyager have indices of different formats, but the images that an index
names are handled in the same way.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phenomae.images.fields import Place, Problem, RawFile
from phenomae.progress import count_of

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2"})
ZARR_FILES = frozenset({"zarr.json", ".zattrs", ".zgroup"})
"""Files of which every Zarr group has one."""
OTHER_IMAGES = "images that the index does not name"


@dataclass(frozen=True)
class IndexedImage:
    """One image as an index names it."""

    well: str
    site: int
    plane: int
    channel: str
    """Number or identifier of the channel in the index, not its name."""
    time: str
    file: str
    """Path relative to the folder of the images."""


def walk_once(raw: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield folder, folders in it and files in it as os.walk does; links are followed.

    Each folder comes once, as links may lead to a parent, and under its own name: links such as
    `latest`, which name a plate beside them anew, are followed after all other folders.
    """
    seen: set[str] = set()
    starts = deque([str(raw)])
    while starts:
        for folder, below, names in os.walk(starts.popleft()):
            if (real := os.path.realpath(folder)) in seen:
                below.clear()
                continue
            seen.add(real)
            yield Path(folder), below, names
            # Only now: who walks may have taken folders out of `below`.
            paths = (os.path.join(folder, name) for name in below)
            starts += [path for path in paths if os.path.islink(path)]


def find_indices(raw: Path, is_index: Callable[[str], bool]) -> list[Path]:
    """Return the index files at or below `raw`, sorted; `is_index` gets names in lower case.

    Links to folders are followed, each folder once. Hidden files are ignored.
    """
    if raw.is_file():
        return [raw] if is_index(raw.name.lower()) else []
    indices: list[Path] = []
    for folder, below, names in walk_once(raw):
        if ZARR_FILES & set(names):
            below.clear()  # a Zarr group has chunks by the million, and no index
        # Not even listed: the root of a store of JUMP-Lite has a folder for each of 655,101 sites.
        below[:] = sorted(name for name in below if not _is_zarr_group(folder / name))
        # macOS leaves a hidden ._Index.xml, which is not XML, beside each file on shared disks.
        indices += [
            folder / name for name in names if not name.startswith(".") and is_index(name.lower())
        ]
    return sorted(indices)


def _is_zarr_group(folder: Path) -> bool:
    """Return whether a folder called *.zarr is a Zarr group; others may hold plates."""
    return folder.suffix == ".zarr" and any((folder / name).exists() for name in ZARR_FILES)


def list_images(folder: Path) -> list[str]:
    """Return the names of the images directly in a folder, sorted."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}") from None
    return sorted(
        name
        for name in names
        if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")
    )


def show_names(names: Sequence[str]) -> str:
    """Return the first, the middle and the last of some names as text."""
    chosen = dict.fromkeys([names[0], names[len(names) // 2], names[-1]])
    return ", ".join(map(repr, chosen))


def name_folders(folders: Iterable[Path]) -> dict[Path, str]:
    """Return a unique name for each folder: its last part, with as many parents as necessary."""
    # abspath, not resolve: a linked plate keeps the name under which it was linked.
    parts = {folder: Path(os.path.abspath(folder)).parts for folder in folders}
    names: dict[Path, str] = {}
    for folder, own in parts.items():
        others = [other for other in parts.values() if other != own]
        depth = 1
        while depth < len(own) and any(other[-depth:] == own[-depth:] for other in others):
            depth += 1
        names[folder] = "/".join(own[-depth:])
    return names


def unique_channels(names: Mapping[str, str]) -> dict[str, str]:
    """Return the names of channels by number, with the number added to names that are repeated."""
    counts = Counter(names.values())
    return {
        number: f"{name} (channel {number})" if counts[name] > 1 else name
        for number, name in names.items()
    }


def mark_transmitted(name: str, kind: str) -> str:
    """Add brightfield or phase contrast to a channel's name if only its `kind` mentions it.

    Channels of transmitted light are recognised by name (`gather.is_transmitted`).
    """
    for sign, word in (("bright", "brightfield"), ("phase", "phase contrast")):
        if sign in kind.lower() and sign not in name.lower():
            return f"{name} ({word})"
    return name


def check_plate_name(raw: Path | str, plate_name: str | None, own: Collection[str]) -> None:
    """Raise ValueError if `plate_name` is set but `raw` holds several plates (names in `own`)."""
    if plate_name is not None and len(plates := sorted(set(own))) > 1:
        raise ValueError(
            f"plate_name is {plate_name!r}, but {raw} holds {count_of(len(plates), 'plate')}: "
            f"{', '.join(plates[:4])}; leave it out, or choose the folder of one plate"
        )


def require_repeats(images: Mapping[tuple[str, Path], Collection[tuple[str, str]]]) -> None:
    """Raise ValueError if folders with one name are different plates: they share no image.

    `images` are the wells and channels by plate and folder. A plate that was imaged again has the
    same ones in both folders, which is what the setting `duplicates` is for.
    """
    seen: dict[str, tuple[Path, set[tuple[str, str]]]] = {}
    for (plate, folder), its in images.items():
        first, known = seen.setdefault(plate, (folder, set(its)))
        if known.isdisjoint(its):
            raise ValueError(
                f"{first} and {folder} would both be the plate {plate}, but have no channel of a "
                "well in common: give them different names, or set plate_name if they are one plate"
            )
        known.update(its)


def locate_problems(problems: Iterable[Problem], index: Path, plate: str) -> list[Problem]:
    """Return the problems with the path of their index in front and with their plate."""
    return [replace(it, what=f"{index}, {it.what}", plate=plate) for it in problems]


def make_files(
    plate: str,
    folder: Path,
    acquisition: str,
    channels: Mapping[str, str],
    images: Sequence[IndexedImage],
) -> list[RawFile]:
    """Return the files of a plate; `channels` maps the channels of the index to names."""
    return [
        RawFile(
            plate,
            image.well,
            image.site,
            channels[image.channel],
            Place(str(folder / image.file)),
            image.plane,
            acquisition,
            time=image.time,
        )
        for image in images
    ]


def check_file_name(name: str) -> str:
    """Return the path of an image file with slashes; raises ValueError if it leads elsewhere."""
    # An index is data from elsewhere: "../../x" in it must not make ingest read other files.
    parts = name.replace("\\", "/").split("/")
    if ":" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{name!r} is not the name of a file beside or below the index")
    return "/".join(parts)
