"""Files that two images share, and images that two files give: repeated acquisitions of a plate."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from phenomae.images.fields import Place, Problem, RawField, RawFile, natural_key

_REPEATED = "(setting duplicates: first, last or apart reads such plates)"
_MIXED = (
    "and nothing tells which imaging they are of: keep one of them, or let a pattern take the part "
    "of the name that differs as (?P<acquisition>...)"
)

FieldKey = tuple[str, str, int]
"""Plate, well and site."""


def leave_out_shared(files: Sequence[RawFile], problems: list[Problem]) -> list[RawFile]:
    """Return the files without fields that share a file with another field or channel.

    One of them has pixels that are not its own, and nothing tells which. A problem for each such
    field is appended to `problems`.
    """
    first: dict[Place, RawFile] = {}
    shared: dict[FieldKey, Problem] = {}
    for file in files:
        other = first.setdefault(file.place, file)
        if _image_of(other) != _image_of(file):
            for one, two in ((other, file), (file, other)):
                key = (one.plate, one.well, one.site)
                what = f"{_describe(one)}, has the file of {_describe(two)}: {file.place}"
                shared.setdefault(key, Problem(what, *key))
    problems += shared.values()
    return [file for file in files if (file.plate, file.well, file.site) not in shared]


def _image_of(file: RawFile) -> tuple[str, str, int, str, int, str]:
    return file.plate, file.well, file.site, file.channel, file.plane, file.time


def _describe(file: RawFile) -> str:
    field = RawField(file.plate, file.well, file.site, ())
    time = f", time point {file.time}" if file.time else ""
    return f"{field}, channel {file.channel}, plane {file.plane}{time}"


def resolve_duplicates(
    files: Sequence[RawFile],
    policy: Literal["error", "first", "last", "apart"],
    problems: list[Problem],
    channels: Container[str],
) -> tuple[list[RawFile], dict[str, str]]:
    """Apply the setting `duplicates` to fields of which one of `channels` was imaged repeatedly.

    Returns the files to read, and the original plate of each plate that was renamed. A problem is
    appended to `problems` for each such field with `error`, and with any setting for each field of
    which nothing tells the imagings apart.
    """
    by_field: dict[FieldKey, list[RawFile]] = defaultdict(list)
    files = _name_imagings(files)
    for file in files:
        by_field[file.plate, file.well, file.site].append(file)
    read = {key: [f for f in found if f.channel in channels] for key, found in by_field.items()}
    twice = {key: clash for key, found in read.items() if (clash := _clash(found))}
    for key, (one, other) in twice.items():
        mixed = any(_clash(part) for part in _by_acquisition(read[key]).values())
        if mixed or policy == "error":
            what = f"{RawField(*key, ())}, channel {one.channel} has two files: {one.place} and "
            what += f"{other.place} {_MIXED if mixed else _REPEATED}"
            problems.append(Problem(what, *key))
            del by_field[key]
    if policy == "apart":
        left = [file for found in by_field.values() for file in found]
        return _rename_acquisitions(left, {plate for plate, _, _ in twice})
    kept: list[RawFile] = []
    stains = _channels_by_acquisition(files)
    for key, found in by_field.items():
        # The policy applies per field, because the acquisitions may cover different fields.
        kept += _keep_one(found, stains, policy) if key in twice else found
    return kept, {}


def _channels_by_acquisition(files: Sequence[RawFile]) -> dict[tuple[str, str], set[str]]:
    """Return the channels of each acquisition of each plate."""
    channels: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file in files:
        channels[file.plate, file.acquisition].add(file.channel)
    return channels


def _keep_one(
    files: Sequence[RawFile], stains: Mapping[tuple[str, str], set[str]], policy: str
) -> list[RawFile]:
    """Return the files of a field with each channel from one acquisition, the first or the last.

    Cycles share some stains (DAPI) and have others for themselves, which all stay. An acquisition
    that has a channel elsewhere on the plate is chosen for it although its file is missing here:
    imagings of the same channels are not mixed.
    """
    choose = max if policy == "last" else min
    acquisitions = {(file.plate, file.acquisition) for file in files}
    chosen = {
        channel: choose(
            (its for its in acquisitions if channel in stains[its]),
            key=lambda its: natural_key(its[1]),
        )
        for channel in {file.channel for file in files}
    }
    return [file for file in files if (file.plate, file.acquisition) == chosen[file.channel]]


def _name_imagings(files: Sequence[RawFile]) -> list[RawFile]:
    """Return the files with their imaging in the acquisition where that tells files apart."""
    found: dict[tuple[str, str], list[RawFile]] = defaultdict(list)
    for file in files:
        found[file.plate, file.acquisition].append(file)
    separable = {key for key, some in found.items() if _imagings_differ(some)}
    return [
        replace(file, acquisition=f"{file.acquisition}/{file.imaging}")
        if (file.plate, file.acquisition) in separable
        else file
        for file in files
    ]


def _imagings_differ(files: Sequence[RawFile]) -> bool:
    """Return whether files of one acquisition are of several imagings, which `imaging` tells apart.

    Some field then has a file of each channel in every imaging of the plate. That is not so where
    names differ from file to file, by a GUID or the time of day.
    """
    fields: dict[FieldKey, list[RawFile]] = defaultdict(list)
    for file in files:
        fields[file.plate, file.well, file.site].append(file)
    imagings = {file.imaging for file in files}
    for found in fields.values():
        if _clash(found) and {file.imaging for file in found} == imagings:
            parts = [[file for file in found if file.imaging == name] for name in imagings]
            images = {frozenset(map(_image_of, part)) for part in parts}
            if len(images) == 1 and not any(_clash(part) for part in parts):
                return True
    return False


def _by_acquisition(files: Sequence[RawFile]) -> dict[str, list[RawFile]]:
    parts: dict[str, list[RawFile]] = defaultdict(list)
    for file in files:
        parts[file.acquisition].append(file)
    return parts


def _clash(files: Sequence[RawFile]) -> tuple[RawFile, RawFile] | None:
    """Return two files of one field with the same channel, plane and time point, or None."""
    first: dict[tuple[str, int, str], RawFile] = {}
    for file in files:
        other = first.setdefault((file.channel, file.plane, file.time), file)
        if other.place != file.place:
            return other, file
    return None


def _rename_acquisitions(
    files: Sequence[RawFile], plates: set[str]
) -> tuple[list[RawFile], dict[str, str]]:
    """Rename `plates` in every acquisition but the first: PLATE-2, PLATE-3.

    Returns the files, and the original plate of each new name.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for file in files:
        found[file.plate].add(file.acquisition)
    names = {
        (plate, acquisition): f"{plate}-{number}"
        for plate in plates
        for number, acquisition in enumerate(sorted(found[plate], key=natural_key)[1:], start=2)
    }
    if taken := sorted(set(names.values()) & set(found)):
        raise ValueError(
            f"duplicates = apart would rename a plate to {taken[0]}, but there is such a plate"
        )
    named = [
        replace(file, plate=names.get((file.plate, file.acquisition), file.plate)) for file in files
    ]
    return named, {name: plate for (plate, _), name in names.items()}
