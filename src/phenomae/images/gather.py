"""Groups the files that a layout lists into fields: duplicates, channels and z-planes.

The settings that all layouts share are applied here. Only names are used; no image is opened.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from phenomae.images.compose_names import compose, compose_names
from phenomae.images.duplicates import FieldKey, leave_out_shared, resolve_duplicates
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

_Planes = dict[int, Place]
_Times = dict[str, _Planes]
"""Planes by time point."""


def gather_fields(listing: Listing, settings: LayoutSettings, source: Path | str) -> RawPlates:
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
    own = leave_out_shared(listing.files, problems)
    # Repeated images of a channel that is not read are no problem.
    read = _choose_channels(own or listing.files, settings.channels, source)
    files, original_plates = resolve_duplicates(own, settings.duplicates, problems, read)
    _check_names(source, files, settings)
    # Channels are chosen before grouping, so that unwanted channels cause no problems.
    labels = _choose_channels(files or listing.files, settings.channels, source)
    _print_left_out(files or listing.files, labels, settings.channels)
    found: dict[FieldKey, dict[str, _Times]] = defaultdict(lambda: defaultdict(dict))
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
        own_columns=listing.own_columns,
        skipped=tuple(problems),
        original_plates=original_plates,
        colors={
            label: color for name, label in labels.items() if (color := listing.colors.get(name))
        },
        used_settings=listing.used_settings,
    )


def is_transmitted(channel: str) -> bool:
    """Return whether a channel's name is that of brightfield, phase or interference contrast."""
    return _TRANSMITTED.search(channel) is not None


def _choose_channels(files: Sequence[RawFile], text: str, source: Path | str) -> dict[str, str]:
    """Return the channels to keep, in order, and their labels."""
    names = list(dict.fromkeys(file.channel for file in files))
    # Only by default: a channel that the setting names is kept, whatever it is.
    if not text.strip():
        names = [name for name in names if not is_transmitted(name)] or names
    return choose_channels(compose(text), names, str(source))


def _print_left_out(files: Sequence[RawFile], labels: Collection[str], text: str) -> None:
    left_out = ", ".join(dict.fromkeys(it.channel for it in files if it.channel not in labels))
    if left_out and not text.strip():
        info(f"left out, not a stain: {left_out} (setting channels chooses what to keep)")


def _check_names(source: Path | str, files: Sequence[RawFile], settings: LayoutSettings) -> None:
    """Raise ValueError for a plate that cannot be named so, and for a time point without series."""
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


def _leave_out_series(found: dict[FieldKey, dict[str, _Times]], problems: list[Problem]) -> None:
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
    key: FieldKey,
    channels: Mapping[str, _Times],
    illumination: Mapping[Place, Place | None],
    names: Sequence[str],
    settings: LayoutSettings,
) -> tuple[tuple[RawImage, ...], list[Problem]]:
    """Return a field's images in the order of `names`, and a problem per missing channel."""
    images: list[RawImage] = []
    problems: list[Problem] = []
    label, choice = RawField(*key, ()), settings.time_point
    time = _choose_time(channels, names, choice) if choice else None
    if time is None and choice in ("first", "last"):
        return (), [Problem(f"{label} has all channels at no time point", *key)]
    for name in names:
        try:
            places = _choose_planes(name, channels.get(name, {}), time, settings)
        except ValueError as error:
            problems.append(Problem(f"{label}{error}", *key))
            continue
        images.append(RawImage(places, illumination[places[0]], settings.value_range))
    return tuple(images), problems


def _choose_planes(
    name: str, times: _Times, time: str | None, settings: LayoutSettings
) -> tuple[Place, ...]:
    """Return the planes to read of a channel; raises ValueError, for after a field's name."""
    if not times:
        raise ValueError(f" lacks channel {name}")
    if settings.time_point is None:
        (planes,) = times.values()  # plates with several are left out before
    elif time is None or time not in times:
        raise ValueError(f", channel {name} lacks time point {settings.time_point}")
    else:
        planes = times[time]
    # A channel with one plane has no choice: on an ImageXpress only some waves may be stacks.
    if settings.plane == "max" or len(planes) == 1:
        return tuple(planes[number] for number in sorted(planes))
    if int(settings.plane) not in planes:
        raise ValueError(f", channel {name} lacks plane {settings.plane}")
    return (planes[int(settings.plane)],)
