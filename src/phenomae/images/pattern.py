"""File names that a regular expression explains: its named groups say what a file is."""

import re
from pathlib import Path

from phenomae.images.fields import RawFile, complain, parse_site, parse_well, walk_files
from phenomae.progress import say
from phenomae.records import normalize_well

_GROUPS = ("plate", "well", "row", "column", "site", "channel")


def list_pattern(raw: Path, pattern: str, plate_name: str | None) -> list[RawFile]:
    """List the files below `raw` whose path, or the end of it from some folder on, matches.

    Named groups: `channel`; `well`, or `row` (letter or number) and `column`; `plate`, without
    which the plate is `plate_name` or else the file's folder; `site`, without which it is 1.

    Raises ValueError where the pattern is no regular expression, lacks or invents a group, matches
    nothing, or matches what is no well or site.
    """
    compiled = _compile(pattern)
    paths = walk_files(raw)
    if not paths:
        raise ValueError(f"{raw} holds no files")
    files: list[RawFile] = []
    problems: list[str] = []
    unmatched: list[Path] = []
    for path in paths:
        relative = path.relative_to(raw).as_posix()
        match = compiled.fullmatch(relative)
        if match is None:
            unmatched.append(path)
            continue
        try:
            files.append(_interpret(match.groupdict(), path, plate_name))
        except ValueError as error:
            problems.append(f"{relative}: {error}")
    if problems:
        complain(raw, problems)
    if not files:
        example = paths[0].relative_to(raw).as_posix()
        raise ValueError(f"{raw}: no file matches the pattern {pattern!r}; one is {example!r}")
    if unmatched:
        say(f"{len(unmatched)} files do not match the pattern, the first is {unmatched[0]}")
    return sorted(files, key=lambda file: _natural(file.channel))


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


def _interpret(groups: dict[str, str | None], path: Path, plate_name: str | None) -> RawFile:
    well = groups.get("well")
    return RawFile(
        plate=groups.get("plate") or plate_name or path.absolute().parent.name,
        well=normalize_well(well)
        if well
        else parse_well(groups.get("row") or "", groups.get("column") or ""),
        site=parse_site(groups.get("site") or "1"),
        channel=groups["channel"] or "",
        path=path,
    )


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a sorting key under which channel 2 comes before channel 10."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]
