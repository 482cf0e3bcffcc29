"""Notices that raw files were replaced after they were read, also by files of the same size.

Their times of change are recorded in the store. `artefact.json` does not list that file: a copy of
the raw files has other times and the same pixels, and gives the same store.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from phenomae.images.fields import Place, RawField
from phenomae.images.pixels.zarr_array import list_chunk_times
from phenomae.images.read import read_field
from phenomae.images.threads import map_in_threads
from phenomae.locks import BeingWrittenError
from phenomae.progress import info, tracked
from phenomae.store.files import read_file, remove_folder, write_file
from phenomae.store.inventory import Inventory
from phenomae.store.part_rows import forget_parts, is_saved, read_part
from phenomae.store.parts import Part
from phenomae.store.read import Store
from phenomae.store.write import checksum
from phenomae.urls import below, is_address
from phenomae.whole_files import hash_json

RAW_FILES = "raw-files.json"


def begin_plates(
    folder: Path | str,
    parts: Mapping[str, Sequence[Part]],
    inventory: Inventory,
    times: Mapping[str, str],
) -> None:
    """Record the times of the raw files, and remove plates whose files changed since a stop.

    `folder` is an unfinished store, which nobody writes. Parts with fields that could not be
    decoded are done again, because these fields have to be tried and reported again.
    """
    known = read_times(folder)
    changed = find_changed(known, times)
    for plate in changed:
        info(f"plate {plate}: its raw files have changed since an earlier call read them")
        remove_folder(below(folder, f"{plate}.zarr"))
    for plate, some in parts.items():
        forget_parts(folder, some if plate in changed else _find_unfinished(folder, some))
    if {**known, **times} != known:
        write_times(folder, {**known, **times})


def _find_unfinished(folder: Path | str, parts: Sequence[Part]) -> list[Part]:
    """Return the parts of a plate that have to be done again, of those that were saved.

    The plate itself, the last part, is among them if any of its ranges is.
    """
    found = {part: read_part(folder, part) for part in parts}
    bad = [part for part, saved in found.items() if saved is not None and saved[1]]
    # Cut short, when the machine lost power.
    cut = [part for part, saved in found.items() if saved is None and is_saved(folder, part)]
    return [*bad, *cut, *(parts[-1:] if bad or cut else ())]


def require_same_times(folder: Path, inventory: Inventory, times: Mapping[str, str]) -> None:
    """Raise ValueError if raw files have changed since other shards began to read them."""
    for plate in find_changed(read_times(folder), times):
        raise BeingWrittenError(
            f"{inventory.path}: raw files of plate {plate} have changed since other shards began "
            "to read them, or each node has a copy of its own with other times: stop all shards "
            "and start them again with files that stay as they are"
        )


def read_times(folder: Path | str) -> dict[str, str]:
    """Return a hash of the times of each plate's raw files; empty for stores of version 0.1.

    Raises ValueError if the file is damaged.
    """
    try:
        times = json.loads(read_file(below(folder, RAW_FILES)))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        times = None
    if not isinstance(times, dict) or not all(isinstance(text, str) for text in times.values()):
        raise ValueError(
            f"{folder}/{RAW_FILES} is damaged: remove it, and compare the raw images by their "
            "pixels once (check_raw)"
        )
    return times


def write_times(folder: Path | str, times: Mapping[str, str]) -> None:
    """Write what `read_times` reads."""
    content = json.dumps(dict(times), indent=2, sort_keys=True) + "\n"
    write_file(below(folder, RAW_FILES), content.encode())


def require_unchanged(store: Store, inventory: Inventory) -> None:
    """Raise ValueError if raw files have changed since a finished store was made from them.

    With the setting `check_raw` the pixels of all files are compared with the store and the times
    recorded anew, without it the times are compared.
    """
    known, found = read_times(store.path), hash_times(inventory)
    changed = find_changed(known, found)
    if inventory.settings.check_raw:
        _compare_pixels(store, inventory)
        write_times(store.path, {**known, **found})
    elif changed:
        raise ValueError(
            f"{inventory.path}: raw files of plate {changed[0]} have changed since {store.path} "
            "was made from them: check_raw compares their pixels with the store's, overwrite makes "
            "it anew"
        )


def find_changed(known: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return the plates whose times of raw files are others now than they were."""
    return [plate for plate, times in found.items() if known.get(plate, times) != times]


def hash_times(inventory: Inventory) -> dict[str, str]:
    """Return a hash of the times at which each plate's files on this machine last changed."""
    times: dict[str, list[int]] = {plate: [] for plate in inventory.raw.plate_names}
    for field in inventory.raw.fields:
        places = [place for image in field.images for place in image.planes]
        for place in places:
            times[field.plate] += _read_place_times(place)
    return {plate: hash_json(values) for plate, values in times.items()}


def _read_place_times(place: Place) -> list[int]:
    if is_address(place.url):
        return []
    return [os.stat(place.url).st_mtime_ns] if place.index is None else list_chunk_times(place)


def _compare_pixels(store: Store, inventory: Inventory) -> None:
    if inventory.dtype not in inventory.raw_dtypes.values():
        raise ValueError(
            f"check_raw needs a store of unchanged pixels, but {store.path} was made with bits = 8"
        )
    keys = store.fields.select("plate", "well", "site").rows()
    expected = dict(zip(keys, store.fields["checksum"], strict=True))
    fields: Sequence[RawField] = inventory.raw.fields
    compared = map_in_threads(partial(_is_same, expected), list(fields), inventory.workers)
    for field, same in zip(
        fields, tracked(compared, "checking raw", len(fields), "fields"), strict=True
    ):
        if not same:
            raise ValueError(
                f"{inventory.path}: the pixels of {field} have changed since {store.path} was made "
                "from them: overwrite makes it anew"
            )


def _is_same(expected: dict[tuple[str, str, int], str], field: RawField) -> bool:
    return expected.get((field.plate, field.well, field.site)) == checksum(read_field(field))
