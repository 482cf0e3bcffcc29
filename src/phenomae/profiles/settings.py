"""The settings of the command `import`."""

from dataclasses import dataclass
from typing import Literal

from cyclopts import Parameter

from phenomae import checks
from phenomae.missing_features import MAX_MISSING

Unit = Literal["wells", "sites", "cells"]
"""What a row of a table is."""
Statistic = Literal["mean", "median"]
UNITS: tuple[Unit, ...] = ("wells", "sites", "cells")


@Parameter(name="*")
@dataclass(frozen=True)
class ImportSettings:
    """What the rows and columns of the tables are, and how rows are averaged."""

    rows: Unit | None = None
    """What a row of the tables is: wells, sites or cells. Default: wells if no well has two rows;
    otherwise cells if there is a column of object numbers, and sites if there is one of sites."""
    statistic: Statistic = "mean"
    """How sites or cells are averaged to wells: mean or median of each feature. Cells in which a
    feature is missing are left out of its average."""
    features: str | None = None
    """Prefixes of the names of features, separated by commas, such as `Cells_,Nuclei_`. Default:
    `Cells_`, `Cytoplasm_` and `Nuclei_` if there are such columns, otherwise `feature_`, otherwise
    all columns of numbers that are not metadata."""
    max_missing: float = MAX_MISSING
    """Largest share of wells in which a feature may be missing (NaN, empty or infinite). Features
    missing in more wells are left out, and then each well that lacks another feature."""

    def __post_init__(self) -> None:
        """Raise ValueError, naming the setting, if a value is outside its range."""
        checks.one_of("rows", self.rows, UNITS)
        checks.one_of("statistic", self.statistic, ("mean", "median"))
        checks.share("max_missing", self.max_missing)
        named = self.features is None or all(map(str.strip, self.features.split(",")))
        checks.require(named, "features", "prefixes such as Cells_,Nuclei_", repr(self.features))

    @property
    def prefixes(self) -> tuple[str, ...] | None:
        """The prefixes in `features`."""
        return None if self.features is None else tuple(map(str.strip, self.features.split(",")))
