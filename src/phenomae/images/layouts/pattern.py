"""File names described by a regular expression whose named groups give plate, well and channel.

The layout for everything without an index file; it is used only if the setting `pattern` is given.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from phenomae.images.fields import Listing, Place, Problem, RawFile, natural_key, parse_site
from phenomae.images.layouts.index_files import require_repeats, show_names, walk_once
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.named_patterns import NAMED_PATTERNS, folder_of_plate, plate_of_folder
from phenomae.images.settings import LayoutSettings
from phenomae.records import check_name, normalize_well, parse_well

_GROUPS = ("plate", "well", "row", "column", "site", "plane", "time", "channel", "acquisition")
_PLATE_PART = re.compile(r"plate_[1-9][0-9]?")


def find_pattern(raw: Path) -> list[Path]:
    """Return no index file: nothing in a folder tells that its file names follow a pattern."""
    return []


def list_pattern(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the files below `raw` whose path, or the end of it from some folder on, matches.

    `settings.pattern` is a name in `NAMED_PATTERNS`, or a regular expression with the named groups
    `well`, or `row` (letters or number) and `column`; `channel` (may be missing if files have a
    page for each channel); optionally `plate`, or its parts `plate_1`, `plate_2`, ..., which are
    joined by `_` (default: `settings.plate_name`, then the name of the file's folder), `site` and
    `plane` (default: 1), `time`, and `acquisition` (default: what no other group matches of the
    folder). Hidden files are ignored. A file that matches, but with an invalid plate, well, site or
    plane, becomes a problem.

    Raises ValueError if `raw` is not a folder, if the pattern is not a regular expression, lacks a
    group or has an unknown one, if no file matches, or if two plates would have one name.
    """
    assert not indices, "a pattern has no index files"
    assert settings.pattern is not None
    if not raw.is_dir():
        raise ValueError(f"{raw} is a file: with a pattern it must be a folder")
    compiled = _compile(settings.pattern)
    paths = _walk_files(raw)
    if not paths:
        raise ValueError(f"{raw} holds no files")
    files: list[RawFile] = []
    problems: list[Problem] = []
    plates: dict[str, tuple[str, ...]] = {}
    by_folder: dict[tuple[str, Path], set[tuple[str, str]]] = defaultdict(set)
    for path in paths:
        match = compiled.fullmatch(path.relative_to(raw).as_posix())
        if match is None:
            continue
        parts = _plate_parts(match)
        plate = parts or (_default_plate(path, settings),)
        try:
            file = _parse_match(match, "_".join(plate), path, settings)
        except ValueError as error:
            problems.append(Problem(f"{path}: {error}"))
            continue
        _check_parts(plates, file.plate, plate)
        files.append(file)
        if not parts and settings.plate_name is None:
            folder = folder_of_plate(path) if settings.pattern in NAMED_PATTERNS else path.parent
            by_folder[file.plate, folder].add((file.well, file.channel))
    require_repeats(by_folder)
    if not files and not problems:
        names = show_names([path.relative_to(raw).as_posix() for path in paths])
        raise ValueError(
            f"{raw}: no file matches the pattern '{settings.pattern}'; files are, for example, "
            f"{names}"
        )
    unmatched = len(paths) - len(files) - len(problems)
    return Listing(
        # Channels are listed in the order of first appearance, which must not be 1, 10, 2.
        sorted(files, key=lambda file: natural_key(file.channel)),
        ignored={"files that do not match the pattern": unmatched} if unmatched else {},
        problems=problems,
    )


def _walk_files(raw: Path) -> list[Path]:
    """Return all files below a folder, sorted; links to folders are followed, each folder once."""
    return sorted(
        folder / name
        for folder, _, names in walk_once(raw)
        for name in names
        if not name.startswith(".")
    )


def _compile(pattern: str) -> re.Pattern[str]:
    if pattern in NAMED_PATTERNS:
        pattern = NAMED_PATTERNS[pattern].pattern
    # Python allows a global flag only at the very start, where the optional folders are put here.
    flags = re.IGNORECASE if pattern.startswith("(?i)") else re.NOFLAG
    try:
        compiled = re.compile(f"(?:.*/)?(?:{pattern.removeprefix('(?i)')})", flags)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None
    names = set(compiled.groupindex)
    if not names:
        raise ValueError(
            f"pattern {pattern!r} has no groups such as (?P<well>...), and is none of the names "
            f"{', '.join(NAMED_PATTERNS)}"
        )
    parts = {name for name in names if _PLATE_PART.fullmatch(name)}
    if unknown := sorted(names - parts - set(_GROUPS)):
        raise ValueError(
            f"pattern has an unknown group {unknown[0]!r}; groups are {', '.join(_GROUPS)}, and "
            "plate_1, plate_2, ... for parts of the plate's name"
        )
    if parts and "plate" in names:
        raise ValueError(
            f"pattern has the group plate and the group {min(parts)}: call the parts of the "
            "plate's name plate_1, plate_2, ..."
        )
    if ("well" in names) == ({"row", "column"} <= names):
        raise ValueError(
            f"pattern {pattern!r} must have either a group (?P<well>...) "
            "or both (?P<row>...) and (?P<column>...)"
        )
    return compiled


def _parse_match(match: re.Match[str], plate: str, path: Path, settings: LayoutSettings) -> RawFile:
    groups, size = match.groupdict(), settings.plate_size
    well = groups.get("well")
    acquisition, imaging = _name_acquisition(match)
    if groups.get("channel", "*") in ("", None):
        raise ValueError("the group channel is empty")
    return RawFile(
        plate=check_name(plate, "plate"),
        well=normalize_well(well, size)
        if well
        else parse_well(groups.get("row") or "", groups.get("column") or "", size),
        site=parse_site(groups.get("site") or "1"),
        channel=groups.get("channel") or "",
        place=Place(str(path)),
        plane=parse_site(groups.get("plane") or "1", "plane"),
        acquisition=acquisition,
        imaging=imaging,
        time=groups.get("time") or "",
    )


def _plate_parts(match: re.Match[str]) -> tuple[str, ...]:
    """Return the group plate, or the groups plate_1, plate_2, ...; without those that are empty."""
    names = [name for name in match.re.groupindex if name.startswith("plate")]
    return tuple(text for name in sorted(names, key=natural_key) if (text := match[name]))


def _check_parts(plates: dict[str, tuple[str, ...]], plate: str, parts: tuple[str, ...]) -> None:
    """Raise ValueError if other parts were joined to the same name before: a_1/2 and a/1_2."""
    if (others := plates.setdefault(plate, parts)) != parts:
        raise ValueError(
            f"the plates {'/'.join(others)} and {'/'.join(parts)} would both be named {plate}: "
            "choose other groups plate_1, plate_2, ... in the pattern"
        )


def _default_plate(path: Path, settings: LayoutSettings) -> str:
    if settings.plate_name is not None:
        return settings.plate_name
    is_named = settings.pattern in NAMED_PATTERNS
    return plate_of_folder(path) if is_named else path.absolute().parent.name


def _name_acquisition(match: re.Match[str]) -> tuple[str, str]:
    """Return the acquisition and the imaging of a file.

    Without the group `acquisition` they are the folder and the name, with the parts that the groups
    match replaced by `*`: channels, wells and planes may have folders of their own and still belong
    to one acquisition.
    """
    if (named := match.groupdict().get("acquisition")) is not None:
        return named, ""
    path = list(match.string)
    for name in match.re.groupindex:
        start, end = match.span(name)
        path[start:end] = ["*" if part != "/" else part for part in path[start:end]]
    # Runs of * collapse, so that A1 and A10 leave the same folder.
    folder, _, name = re.sub(r"\*+", "*", "".join(path)).rpartition("/")
    # Upper and lower case (x.tif, x.TIF) do not say which of two files was written first.
    return folder, name.casefold()


LAYOUT = Layout("pattern", "names that the setting pattern describes", find_pattern, list_pattern)
