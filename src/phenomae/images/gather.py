"""Groups the files that a layout lists into fields: duplicates, channels and z-planes.

The settings that all layouts share are applied here. Only names are used; no image is opened.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from phenomae.images.compose_names import compose, compose_names
from phenomae.images.fields import (
    Listing,
    Place,
    Problem,
    RawField,
    RawFile,
    RawImage,
    RawPlates,
    natural_key,
    well_order,
)
from phenomae.images.settings import LayoutSettings
from phenomae.progress import info
from phenomae.records import check_name, choose_channels

# Transmitted light shows no stain, and no network of the papers was trained on it. The names are
# those that microscopes write; short ones (BF, TL) must be whole words, or "TLR4" would match.
_TRANSMITTED = re.compile(
    r"bright[ _-]*field|phase|transmitted|(?:^|[^a-z])(?:bf|dic|dpc|tl)(?:[^a-z]|$)", re.I
)

_REPEATED = "(setting duplicates: first, last or apart reads such plates)"
_MIXED = (
    "and nothing tells which imaging they are of: keep one of them, or let a pattern take the part "
    "of the name that differs as (?P<acquisition>...)"
)

_FieldKey = tuple[str, str, int]
_Planes = dict[int, Place]
_Times = dict[str, _Planes]
"""Planes by time point."""


def gather_fields(listing: Listing, settings: LayoutSettings, source: Path) -> RawPlates:
    """Group files into fields; a field with a problem is left out and listed in `skipped`.

    Raises ValueError, naming `source`, if there are no files, if a requested channel is in no
    field, if a time point is requested but there are none, or if the name of a plate cannot be a
    file name.
    """
    if not listing.files:
        problems = [str(problem) for problem in listing.problems[:1]]
        raise ValueError(f"{source} holds no images" + "".join(f": {what}" for what in problems))
    listing = compose_names(listing)
    problems = list(listing.problems)
    # Before channels are chosen: renaming plates of later acquisitions must cover all channels.
    own = _leave_out_shared(listing.files, problems)
    files, original_plates = _resolve_duplicates(own, settings.duplicates, problems)
    _check_names(source, files, settings)
    # Channels are chosen before grouping, so that unwanted channels cause no problems.
    labels = _choose_channels(files or listing.files, settings.channels, source)
    found: dict[_FieldKey, dict[str, _Times]] = defaultdict(lambda: defaultdict(dict))
    illumination: dict[Place, Place | None] = {}
    for file in files:
        # Also of a field that has none of the chosen channels, which is then a problem.
        channels = found[file.plate, file.well, file.site]
        if file.channel in labels:
            channels[file.channel].setdefault(file.time, {})[file.plane] = file.place
            illumination[file.place] = file.illumination
    if settings.time_point is None:
        _leave_out_series(found, problems)
    fields: list[RawField] = []
    for key in sorted(found, key=lambda key: (key[0], well_order(key[1]), key[2])):
        images, wrong = _make_images(key, found[key], illumination, list(labels), settings)
        problems += wrong
        if not wrong:
            fields.append(RawField(*key, images))
    pixel_sizes = {
        plate: size
        for plate in {field.plate for field in fields}
        if (size := listing.pixel_sizes_um.get(original_plates.get(plate, plate))) is not None
    }
    return RawPlates(
        channels=tuple(labels.values()),
        fields=tuple(fields),
        pixel_sizes_um=pixel_sizes,
        wells=listing.wells,
        skipped=tuple(problems),
        original_plates=original_plates,
        used_settings=listing.used_settings,
    )


def is_transmitted(channel: str) -> bool:
    """Return whether a channel's name is that of brightfield, phase or interference contrast."""
    return _TRANSMITTED.search(channel) is not None


def _leave_out_shared(files: Sequence[RawFile], problems: list[Problem]) -> list[RawFile]:
    """Return the files without fields that share a file with another field or channel.

    One of them has pixels that are not its own, and nothing tells which. A problem for each such
    field is appended to `problems`.
    """
    first: dict[Place, RawFile] = {}
    shared: dict[_FieldKey, Problem] = {}
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


def _resolve_duplicates(
    files: Sequence[RawFile],
    policy: Literal["error", "first", "last", "apart"],
    problems: list[Problem],
) -> tuple[list[RawFile], dict[str, str]]:
    """Apply the setting `duplicates` to fields that were imaged more than once.

    Returns the files to read, and the original plate of each plate that was renamed. A problem is
    appended to `problems` for each such field with `error`, and with any setting for each field of
    which nothing tells the imagings apart.
    """
    by_field: dict[_FieldKey, list[RawFile]] = defaultdict(list)
    for file in _name_imagings(files):
        by_field[file.plate, file.well, file.site].append(file)
    twice = {key: clash for key, found in by_field.items() if (clash := _clash(found))}
    for key, (one, other) in twice.items():
        mixed = any(_clash(part) for part in _by_acquisition(by_field[key]).values())
        if mixed or policy == "error":
            what = f"{RawField(*key, ())}, channel {one.channel} has two files: {one.place} and "
            what += f"{other.place} {_MIXED if mixed else _REPEATED}"
            problems.append(Problem(what, *key))
            del by_field[key]
    if policy == "apart":
        left = [file for found in by_field.values() for file in found]
        return _rename_acquisitions(left, {plate for plate, _, _ in twice})
    kept: list[RawFile] = []
    choose = max if policy == "last" else min
    for key, found in by_field.items():
        if key in twice:
            # The policy applies per field, because the acquisitions may cover different fields.
            parts = _by_acquisition(found)
            kept += parts[choose(parts, key=natural_key)]
        else:
            kept += found
    return kept, {}


def _name_imagings(files: Sequence[RawFile]) -> list[RawFile]:
    """Return the files with their imaging in the acquisition where that tells files apart."""
    found: dict[tuple[str, str], list[RawFile]] = defaultdict(list)
    for file in files:
        found[file.plate, file.acquisition].append(file)
    told = {key for key, some in found.items() if _imagings_tell(some)}
    return [
        replace(file, acquisition=f"{file.acquisition}/{file.imaging}")
        if (file.plate, file.acquisition) in told
        else file
        for file in files
    ]


def _imagings_tell(files: Sequence[RawFile]) -> bool:
    """Return whether files of one acquisition are of several imagings, which `imaging` tells apart.

    Some field then has a file of each channel in every imaging of the plate. That is not so where
    names differ from file to file, by a GUID or the time of day.
    """
    fields: dict[_FieldKey, list[RawFile]] = defaultdict(list)
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


def _choose_channels(files: Sequence[RawFile], text: str, source: Path) -> dict[str, str]:
    """Return the channels to keep, in order, and their labels."""
    names = list(dict.fromkeys(file.channel for file in files))
    # Only by default: a channel that the setting names is kept, whatever it is.
    if not text.strip():
        transmitted = [name for name in names if is_transmitted(name)]
        if transmitted and len(transmitted) < len(names):
            left_out = ", ".join(transmitted)
            info(f"left out, not a stain: {left_out} (setting channels chooses what to keep)")
            names = [name for name in names if name not in transmitted]
    return choose_channels(compose(text), names, str(source))


def _check_names(source: Path, files: Sequence[RawFile], settings: LayoutSettings) -> None:
    """Raise ValueError if a plate cannot be named so, or if no file has the time points that are
    chosen from."""
    for plate in sorted({file.plate for file in files}):
        try:
            check_name(plate, "plate")
        except ValueError as error:
            raise ValueError(f"{source}: {error} (setting plate_name gives another)") from None
    if settings.time_point is not None and not any(file.time for file in files):
        raise ValueError(
            f"time_point is {settings.time_point!r}, but nothing tells time points apart in "
            f"{source}: leave it out"
        )


def _leave_out_series(found: dict[_FieldKey, dict[str, _Times]], problems: list[Problem]) -> None:
    """Remove plates with several time points of a channel from `found`; a problem for each.

    Different wells and channels may have different time points, as long as each channel of a field
    has only one.
    """
    series: dict[str, set[str]] = {}
    for (plate, _, _), channels in found.items():
        times = max((set(times) for times in channels.values()), key=len, default=set[str]())
        if len(times) > max(1, len(series.get(plate, ()))):
            series[plate] = times
    for plate, times in sorted(series.items()):
        listed = ", ".join(sorted(times, key=natural_key))
        what = (
            f"plate {plate} was imaged at {len(times)} time points ({listed}), but a field has one "
            "(setting time_point: a number, first or last)"
        )
        problems.append(Problem(what, plate))
    for key in [key for key in found if key[0] in series]:
        del found[key]


def _choose_time(channels: Mapping[str, _Times], names: Sequence[str], choice: str) -> str | None:
    """Return the time point to read of a field: first or last of those with all channels."""
    if choice.isdecimal():
        times = {time for channel in channels.values() for time in channel}
        return next((time for time in times if time.isdecimal() and int(time) == int(choice)), None)
    shared = set.intersection(*(set(channels.get(name, ())) for name in names))
    choose = max if choice == "last" else min
    return choose(shared, key=natural_key, default=None)


def _make_images(
    key: _FieldKey,
    channels: Mapping[str, _Times],
    illumination: Mapping[Place, Place | None],
    names: Sequence[str],
    settings: LayoutSettings,
) -> tuple[tuple[RawImage, ...], list[Problem]]:
    """Return a field's images in the order of `names`, and a problem per missing channel."""
    images: list[RawImage] = []
    problems: list[Problem] = []
    label, choice = RawField(*key, ()), settings.time_point
    chosen_time = _choose_time(channels, names, choice) if choice else None
    if choice and not choice.isdecimal() and chosen_time is None:
        return (), [Problem(f"{label} has all channels at no time point", *key)]
    for name in names:
        if name not in channels:
            problems.append(Problem(f"{label} lacks channel {name}", *key))
            continue
        times = channels[name]
        planes = times.get(chosen_time or "") if choice else next(iter(times.values()))
        if planes is None:
            problems.append(Problem(f"{label}, channel {name} lacks time point {choice}", *key))
            continue
        # A channel with one plane has no choice: on an ImageXpress only some waves may be stacks.
        single = settings.plane == "max" or len(planes) == 1
        chosen = sorted(planes) if single else [int(settings.plane)]
        if chosen[0] not in planes:
            what = f"{label}, channel {name} lacks plane {settings.plane}"
            problems.append(Problem(what, *key))
            continue
        places = tuple(planes[number] for number in chosen)
        images.append(RawImage(places, illumination[places[0]], settings.value_range))
    return tuple(images), problems
