"""Finds the store of JUMP-Lite's images: a Zarr group, on this machine or on S3."""

import os
from pathlib import Path

from phenomae.images.layouts.jump_lite_release import STORE_FOLDERS
from phenomae.images.pixels.site_array import CHUNKS
from phenomae.urls import below, locate, read_address

_GROUPS = {".zgroup": ".zarray", "zarr.json": "zarr.json"}
"""Metadata of the arrays in a group, by the metadata of the group: Zarr 2, and Zarr 3."""
_SUCH_AS = "such as jpegxl_lossy_mq.zarr"


def find_store(
    raw: Path, index: Path, images: str | os.PathLike[str] | None
) -> tuple[Path | str, str]:
    """Return the folder or address of the store, and the path of the chunk in each of its arrays.

    That is `images`, or else the only store in `raw` or beside `index`. Raises ValueError if there
    is none, or several; OSError if a server fails.
    """
    place = _find_only(raw, index) if images is None else locate(images)
    for group, array in _GROUPS.items():
        if _exists(below(place, group)):
            return place, CHUNKS[array]
    if isinstance(place, Path) and (stores := find_stores(place)):
        return find_store(raw, index, _require_one(place, stores))
    raise ValueError(
        f"{place} is not a store of JUMP-Lite, {_SUCH_AS}: it has neither .zgroup nor zarr.json"
    )


def find_stores(folder: Path) -> list[Path]:
    """Return the stores in a folder, also where the published `source_all` has them."""
    folders = [folder / name for name in STORE_FOLDERS]
    return sorted(store for parent in folders for store in parent.glob("*.zarr") if is_store(store))


def is_store(folder: Path) -> bool:
    """Return whether a folder is a Zarr group."""
    return any((folder / name).is_file() for name in _GROUPS)


def _find_only(raw: Path, index: Path) -> Path:
    folder = raw if raw.is_dir() else index.parent
    stores = find_stores(folder) or find_stores(index.parent)
    if not stores:
        raise ValueError(
            f"{index} has no store of images beside it, {_SUCH_AS} (setting images: its folder or "
            "s3:// address)"
        )
    return _require_one(folder, stores)


def _require_one(folder: Path, stores: list[Path]) -> Path:
    if len(stores) > 1:
        names = " and ".join(store.name for store in stores)
        raise ValueError(f"{folder} has the stores {names}: choose one with the setting images")
    return stores[0]


def _exists(place: Path | str) -> bool:
    if isinstance(place, Path):
        return place.is_file()
    try:
        read_address(place)
    except FileNotFoundError:
        return False
    return True
