"""The rows of a LoadData table: each describes one field, or one plane of it."""

from collections.abc import Mapping
from pathlib import Path

from phenomae.images.fields import Place, Problem, RawFile, parse_site
from phenomae.images.gather import is_transmitted
from phenomae.images.layouts.loaddata_columns import ImageColumns, LoadDataColumns
from phenomae.images.layouts.relocate import ImageLocator
from phenomae.images.settings import LayoutSettings
from phenomae.records import check_name, normalize_well, parse_well

_Row = Mapping[str, str | None]


class LoadDataRows:
    """Collects the files, problems and pixel sizes of one table, row by row."""

    def __init__(
        self, csv: Path, columns: LoadDataColumns, settings: LayoutSettings, *, paged: bool
    ) -> None:
        """Raises ValueError if a channel that is divided has no columns of illumination functions.

        `paged` means that the table's frames are pages of files with several.
        """
        self.files: list[RawFile] = []
        self.problems: list[Problem] = []
        self.pixel_sizes_um: dict[str, set[float]] = {}
        self.highest_row = 0
        """The highest number given to a site by the order of rows; 0 if the table has sites."""
        self._csv = csv
        self._settings = settings
        self._columns = columns
        self._paged = paged
        self._divided = _find_divided(csv, columns, settings)
        self._locator = ImageLocator(csv.parent, Path(settings.images) if settings.images else None)
        self._numbers: dict[tuple[str, str, str], dict[tuple[str, ...], int]] = {}

    def read(self, number: int, row: _Row) -> None:
        """Read one row (`number` is its line in the file) into `files` or `problems`."""
        plate: str | None = None
        well: str | None = None
        site: int | None = None
        try:
            plate = check_name(self._get(row, "plate") or self._settings.plate_name or "", "plate")
            well = self._read_well(row)
            site = parse_site(self._get(row, "site") or "1")
            plane = parse_site(self._get(row, "plane") or "1", "plane")
            places = {
                channel: place
                for channel, columns in self._columns.channels.items()
                if (place := self._locate(row, columns)) is not None
            }
            lights = {
                channel: self._locate(row, self._columns.lights[channel])
                for channel in self._divided
            }
            if not places:
                raise ValueError("it names no image")
            # An image without its function would be left brighter or darker than all others.
            if dark := [name for name in places if lights.get(name, places[name]) is None]:
                raise ValueError(f"it names no illumination function for channel {dark[0]}")
            time = self._get(row, "time") or ""
        except ValueError as error:
            self.problems.append(Problem(f"{self._csv}, line {number}: {error}", plate, well, site))
            return
        acquisition = _common_folder([place.url for place in places.values()])
        if self._columns.numbers_rows:
            # Without the pages: frames of one file are planes or time points, and not sites.
            urls = tuple(place.url for place in places.values())
            site = self._number((plate, well, acquisition), urls)
        # A channel without a file is not a problem here: `gather_fields` reports it, unless the
        # channel is not kept anyway.
        self.files += [
            RawFile(
                plate, well, site, channel, place, plane, acquisition, lights.get(channel), "", time
            )
            for channel, place in places.items()
        ]
        if (size := _read_size(row, self._columns.fields["resolution"])) is not None:
            self.pixel_sizes_um.setdefault(plate, set()).add(size)

    def _get(self, row: _Row, field: str) -> str | None:
        """Return what a row has in the columns of a field; raises ValueError if they differ."""
        given = {column: row[column] for column in self._columns.fields[field] if row[column]}
        if len(set(given.values())) > 1:
            (one, first), *others = given.items()
            other, second = next(item for item in others if item[1] != first)
            raise ValueError(f"its {one} is {first}, but its {other} is {second}")
        return next(iter(given.values()), None)

    def _read_well(self, row: _Row) -> str:
        size = self._settings.plate_size
        well, letters = self._get(row, "well"), self._get(row, "row")
        if well is None and letters is not None:
            return parse_well(letters, self._get(row, "column") or "", size)
        return normalize_well(well or "", size)

    def _locate(self, row: _Row, columns: ImageColumns) -> Place | None:
        name, folder, url, frame, series = (
            row[column] if column else None
            for column in (columns.name, columns.folder, columns.url, columns.frame, columns.series)
        )
        if name is None and url is None:
            return None
        if parse_site(series or "0", "series") > 0:
            raise ValueError(f"it names series {series} of {name or url}: only series 0 is read")
        if self._paged and columns.frame and frame is None:
            # Page 0 would be another image than the one that the other rows lead one to expect.
            raise ValueError(
                f"its {columns.frame} is empty, and the table has files of several pages"
            )
        page = parse_site(frame, "frame") if self._paged and frame else None
        return Place(self._locator.find(folder or "", name, url), page=page)

    def _number(self, well: tuple[str, str, str], urls: tuple[str, ...]) -> int:
        """Return the number of a row among those of its well and folder, counted from 1."""
        numbers = self._numbers.setdefault(well, {})
        number = numbers.setdefault(urls, len(numbers) + 1)
        self.highest_row = max(self.highest_row, number)
        return number


def _find_divided(csv: Path, columns: LoadDataColumns, settings: LayoutSettings) -> list[str]:
    """Return the channels to divide by their illumination functions: all that are kept."""
    if settings.illumination == "keep":
        return []
    channels = list(columns.channels)
    kept = {item.partition("=")[0].strip() for item in settings.channels.split(",")} - {""}
    # By default transmitted light is left out (see `gather_fields`) and needs no function.
    stains = [name for name in channels if not is_transmitted(name)] or channels
    divided = [name for name in channels if name in (kept or stains)]
    if missing := [name for name in divided if name not in columns.lights]:
        raise ValueError(
            f"{csv} has no columns FileName_Illum{missing[0]} and PathName_Illum{missing[0]}, "
            "which illumination = divide needs: use load_data_with_illum.csv, or illumination = "
            "keep"
        )
    return divided


def _read_size(row: _Row, columns: tuple[str, ...]) -> float | None:
    """Return the pixel size in micrometres from text in metres; None if there is no valid size."""
    sizes = {row[column] for column in columns}
    try:
        (text,) = sizes
        size = float(text or "") * 1e6  # pe2loaddata writes metres
    except ValueError:
        return None
    # The upper bound refuses a size that was written in micrometres after all.
    return size if 0 < size < 1e4 else None


def _common_folder(urls: list[str]) -> str:
    """Return the folder that all images share; each channel may have a folder of its own in it."""
    shared: list[str] = []
    for parts in zip(*(url.split("/")[:-1] for url in urls), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)
