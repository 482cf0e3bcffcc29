"""The settings of the command `map`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class MapSettings:
    """How wells are averaged."""

    by: Literal["gene", "compound", "dose", "perturbation"] = "gene"
    """What the rows of the map are: the column of the wells that names them; dose: each compound at
    each concentration."""
    through: Literal["guides", "wells"] | None = None
    """guides: the wells of each guide, then the guides of each gene, are averaged; wells: all wells
    at once. Not given: guides for --by gene, wells otherwise."""
    statistic: Literal["mean", "median", "weighted"] = "mean"
    """What the average is: mean; median of each feature; or weighted: a mean in which wells (or
    guides) that agree with the others of their row weigh more, as in MODZ."""
    controls: bool = False
    """Keep the control wells; as a rule they are left out of a map."""
    where: str | None = None
    """SQL that a well's row must fulfil: "plate != 'P3' AND focus > 0.5". Not given: all wells are
    taken."""
    least_wells: int = 1
    """Leave out rows with fewer wells than this."""
    phenotype: float | None = None
    """Keep only rows whose wells are alike with a p-value of this or less, like 0.05, and write
    consistency and p-value into the map; 1 keeps all. Not given: neither is looked at."""
    unexpressed: Path | None = None
    """Text file with a name a line: genes that the cells do not express, whose wells --phenotype is
    to compare with. Not given: it compares with groups of control wells."""
    draws: int = 1000
    """Groups of control wells to compare with, for --phenotype."""
    seed: int = 0
    """Of the groups of control wells."""

    def check(self) -> None:
        """Raise ValueError, naming the setting, where a value makes no sense."""
        if self.least_wells < 1:
            raise ValueError(f"--least-wells {self.least_wells}: give 1 or more")
        if self.draws < 1 or self.seed < 0:
            raise ValueError(
                f"--draws {self.draws} --seed {self.seed}: give 1 draw or more, and a seed of 0 or "
                "more"
            )
        if self.phenotype is None:
            if self.unexpressed is not None:
                raise ValueError(
                    f"--unexpressed {self.unexpressed} is for --phenotype, which is not given: "
                    "give both, like --phenotype 0.05"
                )
            return
        if not 0 < self.phenotype <= 1:
            raise ValueError(
                f"--phenotype {self.phenotype} is no p-value: give more than 0 and at most 1, like "
                "0.05"
            )
        if self.unexpressed is None and self.phenotype * (self.draws + 1) < 1:
            raise ValueError(
                f"--phenotype {self.phenotype} is below the smallest p-value that --draws "
                f"{self.draws} can give, 1/{self.draws + 1}: raise --draws"
            )
