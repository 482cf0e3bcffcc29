"""How raw files lie on disk, and which of them count."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclopts import Parameter

LayoutName = Literal[
    "auto", "loaddata", "phenix", "imagexpress", "cellvoyager", "rxrx1", "rxrx3-core", "pattern"
]


@Parameter(name="*")
@dataclass(frozen=True)
class LayoutSettings:
    """How the raw files lie on disk."""

    layout: LayoutName = "auto"
    """Who left the files: `auto` looks for the index file of each, and says what it saw."""
    pattern: str | None = None
    """Regular expression with named groups (channel; well, or row and column; plate; site; plane)
    that explains the path of an image below RAW, or its last parts; makes the layout `pattern`."""
    plate_name: str | None = None
    """Name of the plate where the files do not tell it; without it the folder of the images."""
    images: Path | None = None
    """Folder the images lie in now, where PathName in the LoadData CSV is of another machine."""
    channels: str = ""
    """Channels to keep, in this order, comma between: `DNA,ER`; `1=DNA,2=ER` also renames them; a
    name with a comma in double quotes. Empty keeps all but brightfield and phase contrast."""
    plane: str = "max"
    """Which plane of a stack: its number, or `max` for the brightest of all, pixel by pixel."""
    illumination: Literal["keep", "divide"] = "keep"
    """`divide` divides images by the illumination functions that a LoadData CSV names
    (FileName_Illum...)."""
    duplicates: Literal["error", "first", "last", "apart"] = "error"
    """A plate imaged more than once: an error, its first or last imaging, in the order of the
    folders' names, or all of them as plates of their own, named PLATE, PLATE-2, PLATE-3."""
    on_bad: Literal["error", "skip"] = "error"
    """Fields with a missing channel or a file that cannot be read: an error that names them all, or
    left out and listed in ingest-report.csv."""
