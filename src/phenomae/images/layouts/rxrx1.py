"""RxRx1: `metadata.csv`, and one PNG per channel of a field.

Controls and siRNAs are in the same table as the sites, so no plate map is needed.
"""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from phenomae.images.fields import Listing, Place, Problem, RawFile, parse_site, raise_problems
from phenomae.images.layouts.layout import Layout
from phenomae.images.settings import LayoutSettings
from phenomae.records import PLATE_MAP_COLUMNS, check_name, normalize_well
from phenomae.text_tables import read_table

_COLUMNS = ("experiment", "plate", "well", "site", "well_type", "sirna")
_TYPES = ("treatment", "negative_control", "positive_control")
_NAME = re.compile(r"([A-Z]{1,2}(?:0?[1-9]|[1-9][0-9]))_s([0-9]{1,6})_(w[0-9]+)\.png", re.ASCII)

_Images = dict[tuple[str, int], list[tuple[str, str]]]
"""Channel and path of the images of a plate, by well and site."""


def find_rxrx1(raw: Path) -> list[Path]:
    """Return `metadata.csv` (`raw` itself, or in it) if it has the columns of RxRx1."""
    csv = raw if raw.is_file() else raw / "metadata.csv"
    try:
        columns = read_table(csv).columns if csv.name.lower() == "metadata.csv" else []
    except ValueError:
        return []
    # Many data sets have a metadata.csv. One column may be missing, so that `list_rxrx1` can say
    # which, instead of an error that no layout is known.
    return [csv] if len(set(_COLUMNS) & set(columns)) >= len(_COLUMNS) - 1 else []


def list_rxrx1(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the PNGs `images/EXPERIMENT/Plate1/B02_s1_w1.png` of the sites in metadata.csv.

    The folder `images` may be missing, and `settings.images` may name another one. Sites of plates
    without a folder are ignored. Plates are named EXPERIMENT_Plate1 and channels w1 to w6. The
    batch of a well is its experiment; perturbation and guide are its siRNA; wells with the well
    type `negative_control` are controls.

    Raises ValueError if metadata.csv lacks a column or contradicts itself about a well.
    """
    (csv,) = indices
    table = read_table(csv)
    if missing := [name for name in _COLUMNS if name not in table.columns]:
        raise ValueError(f"{csv} is not the metadata of RxRx1: it has no column {missing[0]}")
    home = Path(settings.images or csv.parent)
    if (home / "images").is_dir():
        home = home / "images"
    sites, problems = _read_sites(csv, table)
    # One look per folder and not per file: the data set has 125,510 sites of six channels.
    folders = {site.folder: _scan(home / site.folder) for site in sites}
    here = [site for site in sites if folders[site.folder] is not None]
    if sites and not here:
        raise ValueError(f"{home} has no folder of a plate in {csv}, such as {sites[0].folder}")
    files, missing_images = _list_files(home, here, folders)
    listed = {(site.folder, site.well, site.number) for site in here}
    unlisted = sum(
        len(images)
        for folder, found in folders.items()
        for key, images in (found or {}).items()
        if (folder, *key) not in listed
    )
    ignored = {
        "sites of plates without a folder": len(sites) - len(here),
        "images that metadata.csv does not name": unlisted,
    }
    return Listing(
        # By length first, so that w10 would come after w2.
        sorted(files, key=lambda file: (len(file.channel), file.channel)),
        wells=_wells(csv, here, {(file.plate, file.well) for file in files}),
        ignored={what: count for what, count in ignored.items() if count},
        problems=[*problems, *missing_images],
    )


@dataclass(frozen=True)
class _Site:
    """A row of metadata.csv."""

    line: int
    experiment: str
    plate: str
    folder: str
    well: str
    number: int
    sirna: str | None
    type: str


def _read_sites(csv: Path, table: pl.DataFrame) -> tuple[list[_Site], list[Problem]]:
    sites: list[_Site] = []
    problems: list[Problem] = []
    for line, row in enumerate(table.iter_rows(named=True), start=2):
        try:
            experiment = check_name(row["experiment"] or "", "batch")
            plate = parse_site(row["plate"] or "", "plate's number")
            well = normalize_well(row["well"] or "")
            number = parse_site(row["site"] or "")
            # Of an unknown type one cannot say whether it is a control.
            if row["well_type"] not in _TYPES:
                types = ", ".join(_TYPES)
                raise ValueError(f"{row['well_type']!r} is not a well type: expected {types}")
        except ValueError as error:
            problems.append(Problem(f"{csv}, line {line}: {error}"))
            continue
        # The plates of every experiment are numbered from 1: the number alone is not unique.
        name, folder = f"{experiment}_Plate{plate}", f"{experiment}/Plate{plate}"
        sites.append(
            _Site(line, experiment, name, folder, well, number, row["sirna"], row["well_type"])
        )
    return sites, problems


def _scan(folder: Path) -> _Images | None:
    """Return channel and path of a plate's images by well and site; None without the folder."""
    if not folder.is_dir():
        return None
    found: _Images = defaultdict(list)
    for name in sorted(os.listdir(folder)):
        if match := _NAME.fullmatch(name):
            key = normalize_well(match[1]), int(match[2])
            found[key].append((match[3], str(folder / name)))
    return found


def _list_files(
    home: Path, sites: Sequence[_Site], folders: Mapping[str, _Images | None]
) -> tuple[list[RawFile], list[Problem]]:
    """Return the files of the sites, and a problem per site without any."""
    files: list[RawFile] = []
    problems: list[Problem] = []
    for site in sites:
        images = (folders[site.folder] or {}).get((site.well, site.number), [])
        if not images:
            what = f"{home / site.folder} has no image of well {site.well}, site {site.number}"
            problems.append(Problem(what, site.plate, site.well, site.number))
        files += [
            RawFile(site.plate, site.well, site.number, channel, Place(path), 1, site.folder)
            for channel, path in images
        ]
    return files, problems


def _wells(csv: Path, sites: Sequence[_Site], imaged: Set[tuple[str, str]]) -> pl.DataFrame:
    """Return the plate map of the wells that have images."""
    wells: dict[tuple[str, str], _Site] = {}
    problems: list[str] = []
    for site in sites:
        first = wells.setdefault((site.plate, site.well), site)
        if (first.sirna, first.type) != (site.sirna, site.type):
            problems.append(
                f"line {site.line}: plate {site.plate}, well {site.well} has {site.sirna} "
                f"({site.type}), but {first.sirna} ({first.type}) in line {first.line}"
            )
    if problems:
        raise_problems(csv, problems)
    return pl.DataFrame(
        [
            {
                "plate": site.plate,
                "well": site.well,
                "batch": site.experiment,
                "perturbation": site.sirna,
                "guide": site.sirna,
                "control": site.type == "negative_control",
            }
            for key, site in wells.items()
            if key in imaged
        ],
        schema=PLATE_MAP_COLUMNS,
    )


LAYOUT = Layout("rxrx1", "metadata.csv of RxRx1", find_rxrx1, list_rxrx1)
