"""File names that a regular expression explains: its named groups say what a file is."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from phenomae.images.fields import Listing, Place, Problem, RawFile, parse_site
from phenomae.images.settings import LayoutSettings
from phenomae.records import check_name, normalize_well, parse_well

_GROUPS = ("plate", "well", "row", "column", "site", "plane", "channel")


def list_pattern(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the files below `raw` whose path, or the end of it from some folder on, matches.

    Named groups of `settings.pattern`: `channel`; `well`, or `row` (letter or number) and `column`;
    `plate`, without which the plate is `settings.plate_name` or else the file's folder; `site` and
    `plane`, without which they are 1. Hidden files do not count.

    Raises ValueError where the pattern is no regular expression, lacks or invents a group, or
    matches nothing; a file that matches with what is no plate, well, site or plane is a problem.
    """
    assert not indices, "a pattern needs no index"
    assert settings.pattern is not None
    compiled = _compile(settings.pattern)
    paths = _walk_files(raw)
    if not paths:
        raise ValueError(f"{raw} holds no files")
    files: list[RawFile] = []
    problems: list[Problem] = []
    for path in paths:
        match = compiled.fullmatch(path.relative_to(raw).as_posix())
        if match is None:
            continue
        try:
            files.append(_interpret(match, path, settings.plate_name))
        except ValueError as error:
            problems.append(Problem(f"{path}: {error}"))
    if not files and not problems:
        example = paths[0].relative_to(raw).as_posix()
        raise ValueError(
            f"{raw}: no file matches the pattern {settings.pattern!r}; one is {example!r}"
        )
    unmatched = len(paths) - len(files) - len(problems)
    return Listing(
        sorted(files, key=lambda file: _natural(file.channel)),
        passed_over={"files that do not match the pattern": unmatched} if unmatched else {},
        problems=problems,
    )


def _walk_files(raw: Path) -> list[Path]:
    """Return all files below a folder, sorted; links to folders are followed, as plates are."""
    files: list[Path] = []
    for folder, below, names in os.walk(raw, followlinks=True):
        below[:] = [name for name in below if not _leads_back(folder, name)]
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(files)


def _leads_back(folder: str, name: str) -> bool:
    """Say whether a link leads to a folder that it lies in: following it would not end."""
    path = os.path.join(folder, name)
    if not os.path.islink(path):
        return False
    return (os.path.realpath(folder) + os.sep).startswith(os.path.realpath(path) + os.sep)


def _compile(pattern: str) -> re.Pattern[str]:
    flags = re.IGNORECASE if pattern.startswith("(?i)") else re.NOFLAG
    try:  # a flag must stand at the very start, where the folders before the pattern do
        compiled = re.compile(f"(?:.*/)?(?:{pattern.removeprefix('(?i)')})", flags)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from None
    names = set(compiled.groupindex)
    if unknown := sorted(names - set(_GROUPS)):
        raise ValueError(f"pattern has a group {unknown[0]!r}; groups are {', '.join(_GROUPS)}")
    if "channel" not in names:
        raise ValueError(f"pattern {pattern!r} has no group (?P<channel>...)")
    if ("well" in names) == ({"row", "column"} <= names):
        raise ValueError(
            f"pattern {pattern!r} must have either a group (?P<well>...) "
            "or both (?P<row>...) and (?P<column>...)"
        )
    return compiled


def _interpret(match: re.Match[str], path: Path, plate_name: str | None) -> RawFile:
    groups = match.groupdict()
    plate = groups.get("plate") or plate_name or path.absolute().parent.name
    well = groups.get("well")
    if not groups["channel"]:
        raise ValueError("the group channel is empty")
    return RawFile(
        plate=check_name(plate, "plate"),
        well=normalize_well(well)
        if well
        else parse_well(groups.get("row") or "", groups.get("column") or ""),
        site=parse_site(groups.get("site") or "1"),
        channel=groups["channel"],
        place=Place(str(path)),
        plane=parse_site(groups.get("plane") or "1", "plane"),
        acquisition=_unexplained_folder(match),
    )


def _unexplained_folder(match: re.Match[str]) -> str:
    """Return the file's folder without what the groups explain: a channel may have a folder too."""
    path = list(match.string)
    for name in match.re.groupindex:
        start, end = match.span(name)
        path[start:end] = ["*" if part != "/" else part for part in path[start:end]]
    return re.sub(r"\*+", "*", "".join(path)).rpartition("/")[0]


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a sorting key under which channel 2 comes before channel 10."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]
