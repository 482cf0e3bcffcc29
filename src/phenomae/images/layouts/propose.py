"""Proposes a pattern for the file names of a folder without a known layout.

First the names that instruments give are tried (`named_patterns.py`), then one is put together from
the parts of the names. A proposal is checked on all files: it must give each image a place of its
own. If several do, that which reads most images is proposed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phenomae.images.fields import RawFile
from phenomae.images.layouts.compose_pattern import CHANNEL_FOLDER, compose_patterns
from phenomae.images.layouts.named_patterns import NAMED_PATTERNS, folder_of_plate
from phenomae.images.layouts.pattern import list_pattern
from phenomae.images.settings import LayoutSettings
from phenomae.records import normalize_well, split_well

# Conventions that are too loose for a name of their own.
_OTHERS = (
    # ArrayScan at SBS, as in BBBC013: Channel1-01-A-01.tif
    r"(?P<channel>[^-]+)-\d\d-(?P<well>[A-P]-\d\d)\.(?i:tif)",
    # Cytation: A1_02_1_3_DAPI_001.tif
    r"(?P<well>[A-P]\d+)_\d+_\d+_(?P<site>\d+)_(?P<channel>[^_]+)_(?P<time>\d+)\.tif",
)

_MIN_SHARE = 0.25  # masks and pictures for people may lie beside the images
_ALL_WELLS = 1536
# Not p1 and S1, which may be plates.
_SITE_FOLDER = re.compile(r"(?:[sf]|(?i:site|fld|field|fov|pos|xy))[-_ ]?[0-9]+")


@dataclass(frozen=True)
class Proposal:
    """A pattern that reads images of a folder, each as an image of its own."""

    pattern: str
    """A regular expression, or the name of one in `NAMED_PATTERNS`."""
    images: int
    """Number of images that it reads."""
    also: tuple[str, ...]
    """Other settings that it needs: plate_size where wells are numbers, and plate_name where the
    folder of an image is a channel."""


def propose_pattern(raw: Path, names: Sequence[str], settings: LayoutSettings) -> Proposal | None:
    """Return the pattern that reads most of the images `names`, which are paths below `raw`.

    None if no pattern reads a quarter of them and gives each its own plate, well, site, channel,
    plane and time point.
    """
    best: Proposal | None = None
    for pattern in _list_candidates(names):
        proposal = _check(raw, pattern, settings)
        min_images = best.images + 1 if best else _MIN_SHARE * len(names)
        if proposal is not None and proposal.images >= min_images:
            best = proposal
            if best.images >= len(names):
                break
    return best


def _list_candidates(names: Sequence[str]) -> Iterator[str]:
    """Yield names of patterns, and patterns, that may read the images."""
    files = [name.rpartition("/")[2] for name in names]
    named = {named.pattern: name for name, named in NAMED_PATTERNS.items()}
    counts = {
        pattern: sum(map(bool, map(re.compile(pattern).fullmatch, files)))
        for pattern in (*named, *_OTHERS)
    }
    known = [pattern for pattern, count in counts.items() if count >= _MIN_SHARE * len(names)]
    known.sort(key=lambda pattern: -counts[pattern])
    yield from (named.get(pattern, pattern) for pattern in known)
    # Only where the name of the image's folder alone does not name the plate.
    folders = _name_plate_folders(names)
    for pattern in compose_patterns(names, files):
        yield pattern
        yield from (folder + pattern for folder in folders if "<channel>[^/]+/" not in pattern)
        if pattern.startswith(CHANNEL_FOLDER):
            yield "(?P<plate>[^/]+)/" + pattern
    yield from (folder + pattern for pattern in known for folder in folders)


def _name_plate_folders(names: Sequence[str]) -> list[str]:
    """Return patterns of the two folders of an image that name its plate: of one, or of both."""
    folders = [name.split("/")[:-1] for name in names]
    if min(map(len, folders)) < 2:
        return []
    lowest = {folder[-1] for folder in folders}
    # A folder called Plate1 is a part of the name, although there is only one.
    is_inner = len(lowest) == 1 and not re.search("[0-9]", min(lowest))
    inner = [f"(?P<plate>[^/]+)/{re.escape(lowest.pop())}/"] if is_inner else []
    return [*inner, "(?P<plate_1>[^/]+)/(?P<plate_2>[^/]+)/"]


def _check(raw: Path, pattern: str, settings: LayoutSettings) -> Proposal | None:
    """Return the proposal if it reads images without problems, and no two as the same."""
    named = NAMED_PATTERNS.get(pattern)
    numbered = named.may_be_numbers if named else r"(?P<well>\d+)" in pattern
    needed: dict[str, int | str] = {}
    if pattern.startswith(CHANNEL_FOLDER) and settings.plate_name is None:
        needed["plate_name"] = "P"
    attempts = [needed]
    if numbered and settings.plate_size is None:
        attempts.append({**needed, "plate_size": _ALL_WELLS})
    return next(filter(None, (_try(raw, pattern, settings, also) for also in attempts)), None)


def _try(
    raw: Path, pattern: str, settings: LayoutSettings, also: Mapping[str, int | str]
) -> Proposal | None:
    try:
        listing = list_pattern(
            raw, (), replace(settings, layout="pattern", pattern=pattern, images=None, **also)
        )
    except ValueError:
        return None
    keys = {(f.plate, f.well, f.site, f.channel, f.plane, f.time) for f in listing.files}
    if listing.problems or len(keys) < len(listing.files):
        return None
    if _are_parts([(f, its) for f in listing.files if (its := _folder_of(pattern, f))], raw):
        return None
    plates = {(file.plate, _folder_of(pattern, file)) for file in listing.files}
    # HRCE-1/Plate1 and HRCE-2/Plate1 are two plates, also where they have no well in common.
    if len({plate for plate, _ in plates}) < len(plates):
        return None
    return Proposal(pattern, len(keys), tuple(also))


def _are_parts(files: Sequence[tuple[RawFile, Path]], raw: Path) -> bool:
    """Return whether the folders that would name plates are those of wells or of sites."""
    names = {folder.name for _, folder in files if folder != raw}
    if not names:
        return False
    if all(map(_SITE_FOLDER.fullmatch, names)):
        return True
    wells = {name: _read_well(name) for name in names}
    # P1 is a well, too, but not that of its files, and all plates begin with the same letters.
    rows = {split_well(well)[0] for well in wells.values() if well}
    return all(wells.values()) and (
        len(rows) > 1 or all(file.well == wells.get(folder.name) for file, folder in files)
    )


def _read_well(name: str) -> str | None:
    try:
        return normalize_well(name)
    except ValueError:
        return None


def _folder_of(pattern: str, file: RawFile) -> Path | None:
    """Return the folder that names the plate of a file; None if the folder does not name it."""
    text = NAMED_PATTERNS[pattern].pattern if pattern in NAMED_PATTERNS else pattern
    if "(?P<plate" in text or pattern.startswith(CHANNEL_FOLDER):
        return None
    path = Path(file.place.url)
    return folder_of_plate(path) if pattern in NAMED_PATTERNS else path.parent
