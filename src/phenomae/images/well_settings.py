"""Settings for plates and wells that raw layouts and plate maps share."""

from dataclasses import dataclass
from typing import Literal

from cyclopts import Parameter

from phenomae import checks
from phenomae.records import PLATE_SHAPES


@Parameter(name="*")
@dataclass(frozen=True)
class WellSettings:
    """How plates and wells are named in tables and file names."""

    plate_size: Literal[6, 12, 24, 48, 96, 384, 1536] | None = None
    """Number of wells per plate. Required if wells are given by number, in a plate map, a LoadData
    CSV or file names; wells beyond the plate are then errors."""
    plate_column: str = "plate"
    """Column of the plate in the plate map or LoadData CSV; may be missing if all images are of one
    plate."""
    well_column: str = "well"
    """Column of the well in the plate map or LoadData CSV, or the columns of its row and its
    column: `Row,Column`."""

    def __post_init__(self) -> None:
        sizes = ", ".join(map(str, PLATE_SHAPES))
        known = self.plate_size is None or self.plate_size in PLATE_SHAPES
        checks.require(known, "plate_size", f"one of {sizes}", self.plate_size)
        at_most_two = self.well_column.count(",") < 2
        checks.require(at_most_two, "well_column", "Well or Row,Column", repr(self.well_column))
