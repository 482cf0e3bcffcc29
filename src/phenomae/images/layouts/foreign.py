"""Formats that are recognised but not read: what they are, and what to do with them."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from phenomae.images.layouts.index_files import IMAGE_SUFFIXES, ZARR_FILES
from phenomae.images.layouts.zarr_groups import name_kind, read_group

_CONVERT = "which is not read: convert it to OME-TIFF, for example with bfconvert of Bio-Formats"
_SUFFIXES = {
    ".flex": "an Opera .flex file",
    ".nd2": "a Nikon .nd2 file",
    ".lif": "a Leica .lif file",
    ".czi": "a Zeiss .czi file",
    ".lsm": "a Zeiss .lsm file",
    ".vsi": "an Olympus .vsi file",
    ".oir": "an Olympus .oir file",
    ".ims": "an Imaris .ims file",
    ".dv": "a DeltaVision .dv file",
    ".stk": "a MetaMorph .stk file",
    ".c01": "a Cellomics .c01 file",
    ".dib": "a Cellomics .dib file",
    ".mvd2": "a Volocity .mvd2 library",
}
_COLUMBUS = re.compile(r"(?:image|measurement)index\.columbusidx\.xml")


@dataclass
class Survey:
    """What is in a folder without a known layout."""

    images: list[str] = field(default_factory=list)
    """Paths of the image files, relative to the folder, sorted."""
    foreign: str | None = None
    """What it is, if it has a format that is recognised and not read, and what to do."""


def survey_folder(raw: Path) -> Survey:
    """Return the image files of a folder, and which format that is not read it has."""
    survey = Survey(foreign=_describe_zarr(raw) or _describe_file(raw))
    if survey.foreign is not None or not raw.is_dir():
        return survey
    for path in _walk(raw):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            survey.images.append(path.relative_to(raw).as_posix())
        elif survey.foreign is None:
            survey.foreign = _describe_zarr(path) or _describe_file(path)
    survey.images.sort()
    return survey


def _walk(raw: Path) -> Iterator[Path]:
    """Yield all files below a folder, and the folders that are Zarr groups, without their files."""
    for folder, below, names in os.walk(raw):
        below.sort()
        groups = [name for name in below if ZARR_FILES & set(os.listdir(Path(folder, name)))]
        below[:] = [name for name in below if name not in groups and not name.startswith(".")]
        yield from (Path(folder, name) for name in groups)
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _describe_zarr(folder: Path) -> str | None:
    """Return what a Zarr group is; None if it is none."""
    try:
        keys = read_group(folder)
    except (OSError, ValueError):
        return None
    if keys is None:
        return None
    if "well" in keys or "plate" in keys:
        return f"{folder} is {name_kind(keys)}: give the folder of the plate, with layout ome-zarr"
    return (
        f"{folder} is {name_kind(keys)}, and no plate, so nothing says of which well it is: give "
        "an OME-Zarr plate, or the raw files"
    )


def _describe_file(path: Path) -> str | None:
    """Return what a file shows that its folder is; None if it is of no such format."""
    name = path.name.lower()
    if _COLUMBUS.fullmatch(name):
        return (
            f"{path} is the index of a Columbus export, which is not read: give the names of the "
            "TIFFs with the setting pattern, or export from Harmony with Index.idx.xml"
        )
    if (what := _SUFFIXES.get(path.suffix.lower())) is not None:
        return f"{path} is {what}, {_CONVERT}"
    return None
