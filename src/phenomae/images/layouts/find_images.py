"""Finds the images that an index names: beside it, in a folder Images, or anywhere below it.

Exports are rearranged after the index was written: images get a folder of another name, or one for
each well.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from phenomae.images.fields import Problem
from phenomae.images.layouts.index_files import IndexedImage, list_images

# Enough to find the folder although some images are missing, without a look at every one.
_TRIED = 100


@dataclass(frozen=True)
class FoundImages:
    """The images of an index, with paths relative to the folder of the index."""

    images: list[IndexedImage]
    problems: list[Problem]
    """Images whose name several files have."""
    others: int
    """Number of images in the same folders that the index does not name."""


def find_images(folder: Path, images: Sequence[IndexedImage]) -> FoundImages:
    """Return the images of an index in `folder`; one that is not found is left beside the index."""
    tried = [image.file for image in images[:_TRIED]]
    for base in ("", *_folders_called_images(folder)):
        if any(os.path.isfile(folder / base / file) for file in tried):
            moved = [replace(image, file=_join(base, image.file)) for image in images]
            return FoundImages(moved, [], _count_others(folder, moved))
    return _search_below(folder, images)


def _search_below(folder: Path, images: Sequence[IndexedImage]) -> FoundImages:
    places = _index_names(folder, {PurePosixPath(image.file).name for image in images})
    found: list[IndexedImage] = []
    problems: list[Problem] = []
    for image in images:
        candidates = places[PurePosixPath(image.file).name]
        # Where wells have folders of their own, files of different wells may have one name.
        ends = [path for path in candidates if f"/{path}".endswith(f"/{image.file}")]
        chosen = ends or candidates
        if len(chosen) > 1:
            what = f"{image.file} is in the folder twice, as {chosen[0]} and {chosen[1]}"
            problems.append(Problem(what, well=image.well, site=image.site))
        else:
            found.append(replace(image, file=chosen[0]) if chosen else image)
    return FoundImages(found, problems, _count_others(folder, found))


def _index_names(folder: Path, names: set[str]) -> dict[str, list[str]]:
    """Return the paths below a folder of the files with these names, sorted."""
    places: dict[str, list[str]] = defaultdict(list)
    for parent, below, files in os.walk(folder):
        below.sort()
        for name in names.intersection(files):
            places[name].append(Path(parent, name).relative_to(folder).as_posix())
    return places


def _folders_called_images(folder: Path) -> list[str]:
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    return sorted(name for name in names if name.lower() == "images")


def _join(base: str, file: str) -> str:
    return f"{base}/{file}" if base else file


def _count_others(folder: Path, images: Sequence[IndexedImage]) -> int:
    named: dict[str, set[str]] = defaultdict(set)
    for image in images:
        parent, _, name = image.file.rpartition("/")
        named[parent].add(name)
    there = {parent: folder / parent for parent in named if (folder / parent).is_dir()}
    return sum(len(set(list_images(path)) - named[parent]) for parent, path in there.items())
