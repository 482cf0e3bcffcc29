"""The images of the RxRx data sets: one file per channel, in a folder for each plate."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phenomae.images.fields import Place, RawFile
from phenomae.images.layouts.rxrx_metadata import Plate, Row
from phenomae.images.settings import LayoutSettings
from phenomae.records import normalize_well

_WELL_SITE = r"([A-Z]{1,2}(?:0?[1-9]|[1-9][0-9]))_s([0-9]{1,6})"
# The names of RxRx3-core have the number of the channel without a w.
_NAME = re.compile(rf"{_WELL_SITE}_(w?[0-9]{{1,3}})\.(?:png|jp2|tiff?)", re.ASCII)
_WILDS = re.compile(rf"{_WELL_SITE}\.png", re.ASCII)


@dataclass
class PlateImages:
    """The images in the folder of a plate."""

    paths: dict[tuple[str, int], list[tuple[str, str]]] = field(default_factory=dict)
    """Channel and path of the images, by well and site."""
    sites: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Sites by well."""
    packed: Path | None = None
    """An image of three channels in one file, as WILDS packs RxRx1, if there are only those."""

    def choose(self, row: Row) -> list[RawFile]:
        """Return the images of a row of the metadata."""
        sites = self.sites.get(row.well, []) if row.site is None else [row.site]
        return [
            RawFile(row.plate.name, row.well, site, channel, Place(path), 1, row.plate.folder)
            for site in sites
            for channel, path in self.paths.get((row.well, site), [])
        ]

    def count_others(self, rows: Sequence[Row]) -> int:
        """Return the number of images that none of these rows of the plate is about."""
        named = {(row.well, row.site) for row in rows}
        return sum(
            len(images)
            for (well, site), images in self.paths.items()
            if not named.intersection([(well, site), (well, None)])
        )


class PlateFolders:
    """The folders of the plates of a data set, each looked at once."""

    # One look per folder and not per file: RxRx1 has 125,510 sites of six channels.
    def __init__(self, csv: Path, settings: LayoutSettings) -> None:
        home = Path(settings.images or csv.parent)
        self.home = home / "images" if (home / "images").is_dir() else home
        self.found: dict[Plate, PlateImages] = {}
        self.missing: set[Plate] = set()

    def has(self, plate: Plate) -> bool:
        """Return whether there is a folder with the images of a plate."""
        if plate not in self.found and plate not in self.missing:
            folder = self.home / plate.folder
            if folder.is_dir():
                self.found[plate] = _scan(folder)
            else:
                self.missing.add(plate)
        return plate in self.found

    def check(self, csv: Path) -> None:
        """Raise ValueError if none of the plates has a folder, or one was packed by WILDS."""
        for images in self.found.values():
            if images.packed is not None:
                raise ValueError(
                    f"{images.packed} is an image of three channels in colour, as WILDS packs "
                    "RxRx1: give the images of RxRx1 itself, with a file for each channel "
                    "(B02_s1_w1.png)"
                )
        if self.found or not self.missing:
            return
        example = min(self.missing, key=lambda plate: (plate.experiment, plate.number))
        folder = self.home / example.folder
        if (archive := folder.with_name(f"{folder.name}.tar")).is_file():
            raise ValueError(
                f"{archive} is an archive: unpack the archive of each plate into a folder of its "
                f"own, such as {folder}"
            )
        raise ValueError(f"{self.home} has no folder of a plate in {csv}, such as {example.folder}")


def _scan(folder: Path) -> PlateImages:
    found = PlateImages()
    names = sorted(os.listdir(folder))
    for well, site, channel, name in _parse_names(names):
        if (well, site) not in found.paths:
            found.sites[well].append(site)
        found.paths.setdefault((well, site), []).append((channel, str(folder / name)))
    if not found.paths:
        found.packed = next((folder / name for name in names if _WILDS.fullmatch(name)), None)
    return found


def _parse_names(names: Sequence[str]) -> Iterator[tuple[str, int, str, str]]:
    """Yield well, site, channel and name of the names that are those of images."""
    for name in names:
        if match := _NAME.fullmatch(name):
            yield normalize_well(match[1]), int(match[2]), match[3], name
