"""The rows of a LoadData CSV: each describes one field, or one plane of it.

Columns are named as CellProfiler (FileName_Orig..., PathName_Orig..., URL_Orig...) and pe2loaddata
(Metadata_...) write them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from phenomae.images.fields import Place, Problem, RawFile, parse_site
from phenomae.images.gather import is_transmitted
from phenomae.images.layouts.relocate import ImageLocator
from phenomae.images.settings import LayoutSettings
from phenomae.records import check_name, normalize_well, parse_well

ORIGINALS = ("FileName_Orig", "URL_Orig")
LIGHTS = ("FileName_Illum", "URL_Illum")
_RESOLUTION = "Metadata_ImageResolutionX"

_Row = Mapping[str, str | None]


class LoadDataRows:
    """Collects the files, problems and pixel sizes of one CSV, row by row."""

    def __init__(self, csv: Path, columns: Sequence[str], settings: LayoutSettings) -> None:
        """Check the columns of `csv`; raises ValueError if one that is needed is missing."""
        self.files: list[RawFile] = []
        self.problems: list[Problem] = []
        self.pixel_sizes_um: dict[str, set[float]] = {}
        self._csv = csv
        self._plate_name = settings.plate_name
        self._channels = _check_columns(csv, columns, settings)
        self._divided = _check_illumination(csv, columns, self._channels, settings)
        self._locator = ImageLocator(csv.parent, Path(settings.images) if settings.images else None)

    def read(self, number: int, row: _Row) -> None:
        """Read one row (`number` is its line in the file) into `files` or `problems`."""
        plate: str | None = None
        well: str | None = None
        site: int | None = None
        try:
            plate = check_name(row.get("Metadata_Plate") or self._plate_name or "", "plate")
            well = _read_well(row)
            site = parse_site(row.get("Metadata_Site") or row.get("Metadata_FieldID") or "1")
            plane = parse_site(row.get("Metadata_PlaneID") or "1", "plane")
            places = {
                channel: place
                for channel in self._channels
                if (place := self._locate(row, "Orig" + channel)) is not None
            }
            lights = {channel: self._locate(row, "Illum" + channel) for channel in self._divided}
            if not places:
                raise ValueError("it names no image")
            # An image without its function would be left brighter or darker than all others.
            if dark := [name for name in places if lights.get(name, places[name]) is None]:
                raise ValueError(f"it names no illumination function for channel {dark[0]}")
        except ValueError as error:
            self.problems.append(Problem(f"{self._csv}, line {number}: {error}", plate, well, site))
            return
        acquisition = _common_folder([place.url for place in places.values()])
        # A channel without a file is not a problem here: `gather_fields` reports it, unless the
        # channel is not kept anyway.
        self.files += [
            RawFile(plate, well, site, channel, place, plane, acquisition, lights.get(channel))
            for channel, place in places.items()
        ]
        if (size := _read_size(row.get(_RESOLUTION))) is not None:
            self.pixel_sizes_um.setdefault(plate, set()).add(size)

    def _locate(self, row: _Row, image: str) -> Place | None:
        name, url = row.get(f"FileName_{image}"), row.get(f"URL_{image}")
        if name is None and url is None:
            return None
        return Place(self._locator.find(row.get(f"PathName_{image}") or "", name, url))


def _check_columns(csv: Path, columns: Sequence[str], settings: LayoutSettings) -> list[str]:
    """Return the channels in the order of their columns; raises ValueError if a column is missing.

    The columns of all channels are checked here, so that they are not reported row by row.
    """
    found = [
        name.removeprefix(start)
        for name in columns
        for start in ORIGINALS
        if name.startswith(start)
    ]
    channels = [name for name in dict.fromkeys(found) if name]
    missing: list[str] = []
    if "Metadata_Plate" not in columns and settings.plate_name is None:
        missing.append("Metadata_Plate, and the setting plate_name is not given")
    if "Metadata_Well" not in columns and not {"Metadata_Row", "Metadata_Col"} <= set(columns):
        missing.append("Metadata_Well")
    if not channels:
        missing.append("FileName_Orig... or URL_Orig...")
    missing += [
        f"PathName_Orig{channel}"
        for channel in channels
        if not {f"PathName_Orig{channel}", f"URL_Orig{channel}"} & set(columns)
    ]
    if missing:
        raise ValueError(f"{csv} is not a LoadData CSV: it has no column {missing[0]}")
    return channels


def _check_illumination(
    csv: Path, columns: Sequence[str], channels: Sequence[str], settings: LayoutSettings
) -> list[str]:
    """Return the channels to divide by their illumination functions: all that are kept."""
    if settings.illumination == "keep":
        return []
    kept = {item.partition("=")[0].strip() for item in settings.channels.split(",")} - {""}
    # By default transmitted light is left out (see `gather_fields`) and needs no function.
    stains = [name for name in channels if not is_transmitted(name)] or channels
    divided = [name for name in channels if name in (kept or stains)]
    for name in divided:
        pair = {f"FileName_Illum{name}", f"PathName_Illum{name}"}
        if not pair <= set(columns) and f"URL_Illum{name}" not in columns:
            raise ValueError(
                f"{csv} has no columns FileName_Illum{name} and PathName_Illum{name}, which "
                "illumination = divide needs: use load_data_with_illum.csv, or illumination = keep"
            )
    return divided


def _read_well(row: _Row) -> str:
    if (well := row.get("Metadata_Well")) is None and row.get("Metadata_Row") is not None:
        return parse_well(row["Metadata_Row"] or "", row.get("Metadata_Col") or "")
    return normalize_well(well or "")


def _read_size(text: str | None) -> float | None:
    """Return the pixel size in micrometres from text in metres; None if there is no valid size."""
    try:
        size = float(text or "") * 1e6  # pe2loaddata writes metres
    except ValueError:
        return None
    # The upper bound refuses a size that was written in micrometres after all.
    return size if 0 < size < 1e4 else None


def _common_folder(urls: Sequence[str]) -> str:
    """Return the folder that all images share; each channel may have a folder of its own in it."""
    shared: list[str] = []
    for parts in zip(*(url.split("/")[:-1] for url in urls), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)
