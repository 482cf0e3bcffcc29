"""The rows of a LoadData CSV: what each says of one field."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from phenomae.images.fields import Place, Problem, RawFile, parse_site
from phenomae.images.gather import is_transmitted
from phenomae.images.layouts.relocate import Whereabouts
from phenomae.images.settings import LayoutSettings
from phenomae.records import check_name, normalize_well, parse_well

ORIGINALS = ("FileName_Orig", "URL_Orig")
LIGHTS = ("FileName_Illum", "URL_Illum")
_RESOLUTION = "Metadata_ImageResolutionX"

_Row = Mapping[str, str | None]


class LoadDataRows:
    """What the rows of one CSV say."""

    def __init__(self, csv: Path, columns: Sequence[str], settings: LayoutSettings) -> None:
        self.files: list[RawFile] = []
        self.problems: list[Problem] = []
        self.pixel_sizes_um: dict[str, set[float]] = {}
        self._csv = csv
        self._plate_name = settings.plate_name
        self._channels = _check_columns(csv, columns, settings)
        self._divided = _check_illumination(csv, columns, self._channels, settings)
        self._places = Whereabouts(csv.parent, settings.images)

    def read(self, number: int, row: _Row) -> None:
        """Take in a row, the number of its line, as files or as a problem."""
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
                if (place := self._find(row, "Orig" + channel)) is not None
            }
            lights = {channel: self._find(row, "Illum" + channel) for channel in self._divided}
            if not places:
                raise ValueError("it names no image")
            if dark := [name for name in places if lights.get(name, places[name]) is None]:
                raise ValueError(f"it names no illumination function for channel {dark[0]}")
        except ValueError as error:
            self.problems.append(Problem(f"{self._csv}, line {number}: {error}", plate, well, site))
            return
        acquisition = _common_folder([place.url for place in places.values()])
        # A channel without a file is told where fields are gathered: the site lacks the channel.
        self.files += [
            RawFile(plate, well, site, channel, place, plane, acquisition, lights.get(channel))
            for channel, place in places.items()
        ]
        if (size := _read_size(row.get(_RESOLUTION))) is not None:
            self.pixel_sizes_um.setdefault(plate, set()).add(size)

    def _find(self, row: _Row, image: str) -> Place | None:
        name, url = row.get(f"FileName_{image}"), row.get(f"URL_{image}")
        if name is None and url is None:
            return None
        return Place(self._places.find(row.get(f"PathName_{image}") or "", name, url))


def _check_columns(csv: Path, columns: Sequence[str], settings: LayoutSettings) -> list[str]:
    """Return the channels, in the order of their columns; raises ValueError for what is missing."""
    found = [
        name.removeprefix(start)
        for name in columns
        for start in ORIGINALS
        if name.startswith(start)
    ]
    channels = [name for name in dict.fromkeys(found) if name]
    missing: list[str] = []
    if "Metadata_Plate" not in columns and settings.plate_name is None:
        missing.append("Metadata_Plate, and there is no setting plate_name")
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
        raise ValueError(f"{csv} is no LoadData CSV: it has no column {missing[0]}")
    return channels


def _check_illumination(
    csv: Path, columns: Sequence[str], channels: Sequence[str], settings: LayoutSettings
) -> list[str]:
    """Return the channels to divide: those that are kept, by name or as a stain."""
    if settings.illumination == "keep":
        return []
    kept = {item.partition("=")[0].strip() for item in settings.channels.split(",")} - {""}
    stains = [name for name in channels if not is_transmitted(name)] or channels
    wanted = [name for name in channels if name in (kept or stains)]
    for name in wanted:
        pair = {f"FileName_Illum{name}", f"PathName_Illum{name}"}
        if not pair <= set(columns) and f"URL_Illum{name}" not in columns:
            raise ValueError(
                f"{csv} has no columns FileName_Illum{name} and PathName_Illum{name}, which "
                "illumination = divide needs: take load_data_with_illum.csv, or leave it at keep"
            )
    return wanted


def _read_well(row: _Row) -> str:
    if (well := row.get("Metadata_Well")) is None and row.get("Metadata_Row") is not None:
        return parse_well(row["Metadata_Row"] or "", row.get("Metadata_Col") or "")
    return normalize_well(well or "")


def _read_size(text: str | None) -> float | None:
    """Return micrometres a pixel, which pe2loaddata tells in metres; None where it does not."""
    try:
        size = float(text or "") * 1e6
    except ValueError:
        return None
    return size if 0 < size < 1e4 else None


def _common_folder(urls: Sequence[str]) -> str:
    """Return the folder that images lie in, or share: each channel may have one of its own."""
    shared: list[str] = []
    for parts in zip(*(url.split("/")[:-1] for url in urls), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)
