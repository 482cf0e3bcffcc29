"""Puts a pattern together from the parts of file names that no instrument's pattern describes.

A part is a well if all its values can be wells, and a site, channel, plane or time point if letters
such as `s` or `ch` stand before its number; what then still varies is the channel or the site.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

_SEPARATORS = r"([-_. ()\[\]]+)"
_WELL = re.compile(r"[A-Pa-p](?:0?[1-9]|1[0-9]|2[0-4])")
# Of a plate of 1536; alone it would also take w1, s1 and z1.
_WIDE_WELL = re.compile(r"(?:[A-Z]|A[A-F])(?:0?[1-9]|[1-3][0-9]|4[0-8])")
_TIDY_WELL = re.compile(r"[A-Z]{1,2}[0-9]{2}")
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
CHANNEL_FOLDER = "(?P<channel>[^/]+)/"


def compose_patterns(names: Sequence[str], files: Sequence[str]) -> Iterator[str]:
    """Yield patterns that are put together from the parts of the commonest kind of name."""
    split = [re.split(_SEPARATORS, file) for file in files]
    shape, _ = Counter(tuple(parts[1::2]) for parts in split).most_common(1)[0]
    alike = [parts[0::2] for parts in split if tuple(parts[1::2]) == shape]
    groups: set[str] = set()
    columns = [set(column) for column in zip(*alike, strict=True)]
    well = _find_well(columns[:-1])
    if well is not None:
        groups.add("well")
    described: dict[int, str | None] = {}
    # Parts that vary come first: the P1 in front of all names is no site if there is s1 and s2.
    for index in sorted(range(len(columns) - 1), key=lambda index: len(columns[index]) == 1):
        values = columns[index]
        is_well = index == well
        described[index] = _describe_well(values) if is_well else _describe_part(values, groups)
    pieces = [described[index] for index in sorted(described)]
    _name_the_rest(columns[:-1], pieces, groups)
    ends = [re.escape(end) for end in sorted(columns[-1])]
    suffix = ends[0] if len(ends) == 1 else f"(?:{'|'.join(ends)})"
    separators = [re.escape(text) for text in shape]
    middle = [piece or r"[^/]+?" for piece in pieces]
    pattern = "".join(a + b for a, b in zip(middle, separators, strict=True)) + suffix
    if "well" in groups and "channel" in groups:
        yield pattern
    elif "well" in groups and all("/" in name for name in names):
        yield CHANNEL_FOLDER + pattern


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


def _find_well(columns: Sequence[set[str]]) -> int | None:
    """Return the index of the part that is the well; None if there is none.

    Plates, channels and sites look like wells too (P1, c1, f1), but wells vary, are in several rows
    and are mostly written with a capital letter and two digits.
    """
    ranks = [
        (
            len(values) > 1,
            len({value.rstrip("0123456789") for value in values}) > 1,
            all(map(_TIDY_WELL.fullmatch, values)),
            index,
        )
        for index, values in enumerate(columns)
        if any(map(_WELL.fullmatch, values))
        and (all(map(_WELL.fullmatch, values)) or all(map(_WIDE_WELL.fullmatch, values)))
    ]
    return max(ranks)[-1] if ranks else None


def _describe_well(values: set[str]) -> str:
    is_narrow = all(map(_WELL.fullmatch, values))
    return r"(?P<well>[A-Pa-p]\d+)" if is_narrow else r"(?P<well>[A-Z]{1,2}\d+)"


def _describe_part(values: set[str], groups: set[str]) -> str | None:
    """Return the pattern of one part of the names; None if it varies and is not recognised.

    Adds the groups that it contains to `groups`.
    """
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
