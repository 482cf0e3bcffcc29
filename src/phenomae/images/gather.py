"""Puts the files that a layout lists together to fields."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from phenomae.images.fields import (
    Listing,
    Place,
    Problem,
    RawField,
    RawFile,
    RawImage,
    RawScreen,
    well_order,
)
from phenomae.images.settings import LayoutSettings
from phenomae.progress import info
from phenomae.records import check_name, choose_channels

# Transmitted light shows no stain, and no network of the papers has seen it.
_TRANSMITTED = re.compile(
    r"bright[ _-]*field|phase|transmitted|(?:^|[^a-z])(?:bf|dic|dpc|tl)(?:[^a-z]|$)", re.I
)

_FieldKey = tuple[str, str, int]
_Planes = dict[int, Place]


def gather_fields(listing: Listing, settings: LayoutSettings, source: Path) -> RawScreen:
    """Put files together to fields; what is wrong with one stands in `RawScreen.skipped`.

    Raises ValueError where there is no file at all, where no field has a channel asked for, or
    where a plate's name cannot name a file.
    """
    if not listing.files:
        problems = [str(problem) for problem in listing.problems[:1]]
        raise ValueError(f"{source} holds no images" + "".join(f": {what}" for what in problems))
    problems = list(listing.problems)
    files, imagings = _settle_duplicates(listing.files, settings.duplicates, problems)
    for plate in sorted({file.plate for file in files}):
        check_name(plate, "plate")
    labels = _choose_channels(files, settings.channels, source)
    found: dict[_FieldKey, dict[str, _Planes]] = defaultdict(lambda: defaultdict(dict))
    illumination: dict[Place, Place | None] = {}
    for file in files:
        if file.channel in labels:
            found[file.plate, file.well, file.site][file.channel][file.plane] = file.place
            illumination[file.place] = file.illumination
    fields: list[RawField] = []
    for key in sorted(found, key=lambda key: (key[0], well_order(key[1]), key[2])):
        images, wrong = _make_images(key, found[key], illumination, list(labels), settings.plane)
        problems += wrong
        if not wrong:
            fields.append(RawField(*key, images))
    pixel_sizes = {
        plate: size
        for plate in {field.plate for field in fields}
        if (size := listing.pixel_sizes_um.get(imagings.get(plate, plate))) is not None
    }
    return RawScreen(
        channels=tuple(labels.values()),
        fields=tuple(fields),
        pixel_sizes_um=pixel_sizes,
        wells=listing.wells,
        skipped=tuple(problems),
        imagings=imagings,
    )


def is_transmitted(channel: str) -> bool:
    """Say whether a channel's name is that of brightfield, phase or interference contrast."""
    return _TRANSMITTED.search(channel) is not None


def _settle_duplicates(
    files: Iterable[RawFile],
    policy: Literal["error", "first", "last", "apart"],
    problems: list[Problem],
) -> tuple[list[RawFile], dict[str, str]]:
    """Return the files without the second imaging of a field, or with a plate's name for it.

    Beside them comes of which plate such a plate is another imaging.
    """
    by_field: dict[_FieldKey, list[RawFile]] = defaultdict(list)
    for file in dict.fromkeys(files):  # a row met twice is no harm: JUMP lists fields in two CSVs
        by_field[file.plate, file.well, file.site].append(file)
    twice = {key: clash for key, found in by_field.items() if (clash := _clash(found))}
    if policy == "apart":
        plates = {key[0] for key in twice}
        return _name_apart([file for found in by_field.values() for file in found], plates)
    settled: list[RawFile] = []
    for key, found in by_field.items():
        if key not in twice:
            settled += found
        elif policy == "error":
            one, other = twice[key]
            what = (
                f"{RawField(*key, ())}, channel {one.channel} has two files: {one.place} and "
                f"{other.place} (--duplicates says what to do with plates imaged again)"
            )
            problems.append(Problem(what, *key))
        else:
            acquisitions = sorted({file.acquisition for file in found})
            kept = acquisitions[0 if policy == "first" else -1]
            settled += [file for file in found if file.acquisition == kept]
    return settled, {}


def _clash(files: Sequence[RawFile]) -> tuple[RawFile, RawFile] | None:
    """Return two files of one field that claim the same channel and plane."""
    first: dict[tuple[str, int], RawFile] = {}
    for file in files:
        other = first.setdefault((file.channel, file.plane), file)
        if other.place != file.place:
            return other, file
    return None


def _name_apart(files: Sequence[RawFile], plates: set[str]) -> tuple[list[RawFile], dict[str, str]]:
    """Make plates of their own of every later imaging of `plates`: PLATE-2, PLATE-3."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in files:
        found[file.plate].add(file.acquisition)
    names = {
        (plate, acquisition): f"{plate}-{number}"
        for plate in plates
        for number, acquisition in enumerate(sorted(found[plate])[1:], start=2)
    }
    if taken := sorted(set(names.values()) & set(found)):
        raise ValueError(
            f"--duplicates apart would name a plate {taken[0]}, which there is already"
        )
    named = [
        replace(file, plate=names.get((file.plate, file.acquisition), file.plate)) for file in files
    ]
    return named, {name: plate for (plate, _), name in names.items()}


def _choose_channels(files: Sequence[RawFile], text: str, source: Path) -> dict[str, str]:
    """Return the channels to keep, in order, and their labels."""
    names = list(dict.fromkeys(file.channel for file in files))
    if not text.strip():
        transmitted = [name for name in names if is_transmitted(name)]
        if transmitted and len(transmitted) < len(names):
            info(f"left out, as no stain: {', '.join(transmitted)} (--channels names what to keep)")
            names = [name for name in names if name not in transmitted]
    return choose_channels(text, names, str(source))


def _make_images(
    key: _FieldKey,
    channels: dict[str, _Planes],
    illumination: dict[Place, Place | None],
    names: Sequence[str],
    plane: str,
) -> tuple[tuple[RawImage, ...], list[Problem]]:
    """Return a field's images, channel by channel, and what is missing."""
    images: list[RawImage] = []
    problems: list[Problem] = []
    label = RawField(*key, ())
    for name in names:
        planes = channels.get(name)
        if planes is None:
            problems.append(Problem(f"{label} lacks channel {name}", *key))
            continue
        chosen = sorted(planes) if plane == "max" or len(planes) == 1 else [int(plane)]
        if chosen[0] not in planes:
            problems.append(Problem(f"{label}, channel {name} lacks plane {plane}", *key))
            continue
        places = tuple(planes[number] for number in chosen)
        images.append(RawImage(places, illumination[places[0]]))
    return tuple(images), problems
