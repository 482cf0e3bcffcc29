"""Proposes a pattern for the file names of a folder without a known layout.

First the names that instruments give are tried, then one is put together from the parts of the
names. A proposal is checked on all files: it must give each image a place of its own.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phenomae.images.layouts.pattern import list_pattern
from phenomae.images.settings import LayoutSettings

# From file names that the makers' manuals and public data sets show.
_KNOWN = (
    # Opera Phenix, Operetta: r01c02f03p01-ch1sk1fk1fl1.tiff
    r"r(?P<row>\d+)c(?P<column>\d+)f(?P<site>\d+)p(?P<plane>\d+)-ch(?P<channel>\d+)"
    r"(?:sk(?P<time>\d+))?.*\.tiff?",
    # CellVoyager: AssayPlate_A01_T0001F001L01A01Z01C01.tif
    r".*_(?P<well>[A-P]\d\d)_T(?P<time>\d+)F(?P<site>\d+)L\d+A\d+Z(?P<plane>\d+)"
    r"C(?P<channel>\d+)\.tif",
    # CQ1: W0001F0001T0001Z001C1.tif
    r"W(?P<well>\d+)F(?P<site>\d+)T(?P<time>\d+)Z(?P<plane>\d+)C(?P<channel>\d+)\.tif",
    # ScanR: A1--W00001--P00001--Z00000--T00000--DAPI.tif, and without the label of the well
    r"(?P<well>[A-P]\d+)--W\d+--P(?P<site>\d+)--Z(?P<plane>\d+)--T(?P<time>\d+)--"
    r"(?P<channel>.+)\.tif",
    r"-*W(?P<well>\d+)--P(?P<site>\d+)--Z(?P<plane>\d+)--T(?P<time>\d+)--(?P<channel>.+)\.tif",
    # ImageXpress without its HTD file: plate_A01_s1_w1 and a GUID
    r".*_(?P<well>[A-P]\d\d)(?:_s(?P<site>\d+))?_w(?P<channel>\d)(?:[0-9A-F-]{36})?\.(?i:tif)",
    # ArrayScan, CellInsight: MFGTMP_140206180002_A01f00d0.TIF
    r".*_(?P<well>[A-P]\d\d)f(?P<site>\d+)d(?P<channel>\d+)\.(?i:tif)",
    # IN Cell Analyzer: A - 01(fld 1 wv DAPI - DAPI).tif
    r"(?P<row>[A-P]) - (?P<column>\d+)\(fld (?P<site>\d+) wv (?P<channel>[^)]+)\)\.tif",
    # ArrayScan at SBS, as in BBBC013: Channel1-01-A-01.tif
    r"(?P<channel>[^-]+)-\d\d-(?P<well>[A-P]-\d\d)\.(?i:tif)",
    # Cytation: A1_02_1_3_DAPI_001.tif
    r"(?P<well>[A-P]\d+)_\d+_\d+_(?P<site>\d+)_(?P<channel>[^_]+)_(?P<time>\d+)\.tif",
)

_SEPARATORS = r"([-_. ()\[\]]+)"
_WELL = re.compile(r"[A-Pa-p](?:0?[1-9]|1[0-9]|2[0-4])")
_PARTS = re.compile(r"([A-Za-z]+)([0-9]+)")
# Letters in front of a number, and what the number then is.
_LETTERS = {
    "site": ("s", "site", "f", "fld", "field", "fov", "p", "pos", "xy"),
    "channel": ("c", "ch", "channel", "w", "wv", "d"),
    "plane": ("z",),
    "time": ("t",),
}
_GROUP_OF = {letters: group for group, its in _LETTERS.items() for letters in its}
_MAX_CHANNELS = 12
_MIN_SHARE = 0.25  # masks and pictures for people may lie beside the images
_ALL_WELLS = 1536
_FOLDER = "(?P<channel>[^/]+)/"


@dataclass(frozen=True)
class Proposal:
    """A pattern that reads images of a folder, each as an image of its own."""

    pattern: str
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
    files = [name.rpartition("/")[2] for name in names]
    counts = {
        pattern: sum(map(bool, map(re.compile(pattern).fullmatch, files))) for pattern in _KNOWN
    }
    known = [pattern for pattern, count in counts.items() if count >= _MIN_SHARE * len(names)]
    known.sort(key=lambda pattern: -counts[pattern])
    for pattern in (*known, *_compose(names, files)):
        proposal = _check(raw, pattern, settings)
        if proposal is not None and proposal.images >= _MIN_SHARE * len(names):
            return proposal
    return None


def _check(raw: Path, pattern: str, settings: LayoutSettings) -> Proposal | None:
    """Return the proposal if it reads images without problems, and no two as the same."""
    needed = {
        "plate_size": _ALL_WELLS if r"(?P<well>\d+)" in pattern else None,
        "plate_name": "P" if pattern.startswith(_FOLDER) else None,
    }
    also = {name: value for name, value in needed.items() if getattr(settings, name) is None}
    also = {name: value for name, value in also.items() if value is not None}
    try:
        listing = list_pattern(
            raw, (), replace(settings, layout="pattern", pattern=pattern, images=None, **also)
        )
    except ValueError:
        return None
    keys = {(f.plate, f.well, f.site, f.channel, f.plane, f.time) for f in listing.files}
    if listing.problems or len(keys) < len(listing.files):
        return None
    return Proposal(pattern, len(keys), tuple(also))


def _compose(names: Sequence[str], files: Sequence[str]) -> Iterator[str]:
    """Yield patterns that are put together from the parts of the commonest kind of name."""
    split = [re.split(_SEPARATORS, file) for file in files]
    shape, _ = Counter(tuple(parts[1::2]) for parts in split).most_common(1)[0]
    alike = [parts[0::2] for parts in split if tuple(parts[1::2]) == shape]
    groups: set[str] = set()
    columns = [set(column) for column in zip(*alike, strict=True)]
    pieces = [_describe_part(values, groups) for values in columns[:-1]]
    _name_the_rest(columns[:-1], pieces, groups)
    ends = [re.escape(end) for end in sorted(columns[-1])]
    suffix = ends[0] if len(ends) == 1 else f"(?:{'|'.join(ends)})"
    separators = [re.escape(text) for text in shape]
    middle = [piece or r"[^/]+?" for piece in pieces]
    pattern = "".join(a + b for a, b in zip(middle, separators, strict=True)) + suffix
    if "well" in groups and "channel" in groups:
        yield pattern
    elif "well" in groups and all("/" in name for name in names):
        yield _FOLDER + pattern


def _name_the_rest(columns: Sequence[set[str]], pieces: list[str | None], groups: set[str]) -> None:
    """Take the last part that varies and has letters as the channel, and a number as the site."""
    for index in reversed([index for index, piece in enumerate(pieces) if piece is None]):
        is_number = all(value.isdecimal() for value in columns[index])
        few = len(columns[index]) <= _MAX_CHANNELS
        if "site" not in groups and is_number:
            pieces[index] = r"(?P<site>\d+)"
            groups.add("site")
        elif "channel" not in groups and few and not is_number:
            pieces[index] = r"(?P<channel>[^/]+?)"
            groups.add("channel")


def _describe_part(values: set[str], groups: set[str]) -> str | None:
    """Return the pattern of one part of the names; None if it varies and is not recognised.

    Adds the groups that it contains to `groups`.
    """
    if "well" not in groups and all(map(_WELL.fullmatch, values)):
        groups.add("well")
        return r"(?P<well>[A-Pa-p]\d+)"
    matches = [_PARTS.findall(value) for value in values]
    letters = {tuple(letter for letter, _ in found) for found in matches}
    whole = all(
        "".join(map("".join, found)) == value for found, value in zip(matches, values, strict=True)
    )
    if len(letters) == 1 and whole and matches[0]:
        numbers = list(zip(*([digits for _, digits in found] for found in matches), strict=True))
        return "".join(
            _describe_number(letter, set(its), groups)
            for letter, its in zip(next(iter(letters)), numbers, strict=True)
        )
    return re.escape(next(iter(values))) if len(values) == 1 else None


def _describe_number(letters: str, values: set[str], groups: set[str]) -> str:
    group = _GROUP_OF.get(letters.lower())
    if group is not None and group not in groups:
        groups.add(group)
        return rf"{letters}(?P<{group}>\d+)"
    return letters + (next(iter(values)) if len(values) == 1 else r"\d+")
