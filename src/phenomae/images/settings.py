"""Settings of `ingest` that say where the raw images are and which of them to read.

The allowed layouts come from the registry, so a new layout needs no edit here.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from phenomae import checks
from phenomae.images.layouts.table import LAYOUTS
from phenomae.images.well_settings import WellSettings
from phenomae.urls import Location

# cyclopts takes help from the docstring of a field, which cannot list the registry's names.
_LAYOUT_HELP = (
    "Which microscope or data set the files come from; auto recognises it by its index file. "
    f"One of auto, {', '.join(LAYOUTS)}."
)


@Parameter(name="*")
@dataclass(frozen=True)
class LayoutSettings(WellSettings):
    """Where the raw images are and which of them to read."""

    layout: Annotated[str, Parameter(help=_LAYOUT_HELP)] = "auto"
    """Which microscope or data set the files come from: a name in `layouts.table.LAYOUTS`, or
    `auto` for the first of them whose index file is found."""
    pattern: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """Regular expression that reads plate, well and channel from the path of an image below RAW, or
    from the end of that path. Named groups: channel; well, or row and column; optionally plate (or
    its parts plate_1, plate_2, ..., joined by `_`), site, plane, time and acquisition. Or a name of
    an instrument's file names: phenix-names, imagexpress-names, cellomics, scanr, incell, cq1,
    cellvoyager-names. Implies the layout `pattern`."""
    plate_name: str | None = None
    """Name of the plate if the files do not give one; by default the name of the image folder."""
    images: Location | None = None
    """Folder that holds the images now, if the LoadData CSV or metadata gives paths of another
    machine. Of JUMP-Lite the store of images, such as jpegxl_lossy_mq.zarr, also an s3:// address.
    """
    where: str | None = None
    """Condition that selects the fields to read: `plate IN ('P1', 'P2') AND site < 3`. Columns:
    plate, well, site; of a data set that says what is in its wells also batch, gene and so on; of
    JUMP-Lite also source."""
    channels: str = ""
    """Channels to keep, in this order, separated by commas: `DNA,ER`; `1=DNA,2=ER` also renames
    them; a name that contains a comma needs double quotes. Empty keeps all channels except
    brightfield and phase contrast."""
    plane: str = "max"
    """Which plane of a z-stack to read: its number, or `max` for the maximum projection."""
    time_point: str | None = None
    """Which time point of a time series to read: its number in the index, table or file name; or
    `first` or `last`, in each field the first or last at which it has all channels."""
    pages: Literal["auto", "channel", "plane", "time"] = "auto"
    """What the pages of a TIFF with several are. auto follows the file's OME-XML or ImageJ
    metadata, or else takes them as channels if the layout names none for the file."""
    value_range: tuple[float, float] | None = None
    """The values that become 0 and 65535 in images with other pixels than 8 or 16 bits without
    sign, such as float32: `0 1`. Values outside are clipped. None makes such images an error."""
    illumination: Literal["keep", "divide"] = "keep"
    """`divide` divides each image by the illumination function that a LoadData CSV names for it
    (FileName_Illum...)."""
    duplicates: Literal["error", "first", "last", "apart"] = "error"
    """What to do with a plate that was imaged more than once: stop with an error, read the first or
    the last acquisition (by folder, or by name or row within one), or read all as separate plates
    named PLATE, PLATE-2, PLATE-3."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with fields that lack a channel or have an unreadable file: stop with an error
    that lists them all, or leave them out and list them in ingest-report.csv."""

    def __post_init__(self) -> None:
        WellSettings.__post_init__(self)
        checks.one_of("layout", self.layout, ["auto", *LAYOUTS])
        for name in ("plane", "time_point"):
            if isinstance(number := getattr(self, name), int):  # from Python; flags are text
                object.__setattr__(self, name, str(number))
        plane_is_known = self.plane == "max" or self.plane.isdecimal()
        checks.require(plane_is_known, "plane", "a number or max", repr(self.plane))
        time_is_known = self.time_point in (None, "first", "last") or self.time_point.isdecimal()
        rule = "a number, first or last"
        checks.require(time_is_known, "time_point", rule, repr(self.time_point))
        checks.one_of("pages", self.pages, ["auto", "channel", "plane", "time"])
        low, high = self.value_range or (0, 1)
        is_range = -math.inf < low < high < math.inf
        checks.require(is_range, "value_range", "two numbers, low < high", self.value_range)
        if self.pattern is not None and self.layout not in ("auto", "pattern"):
            raise ValueError(
                f"pattern and layout {self.layout!r} exclude each other: leave one out"
            )
        if self.layout == "pattern" and self.pattern is None:
            raise ValueError("layout 'pattern' needs the setting pattern, a regular expression")
        if self.pattern is not None and self.images is not None:
            raise ValueError("pattern and images exclude each other: leave one out")
