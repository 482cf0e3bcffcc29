"""The settings of the command `map`, which are also recorded in the map."""

from dataclasses import dataclass
from typing import Literal

from cyclopts import Parameter

from phenomae import checks
from phenomae.paths import PathLike


@Parameter(name="*")
@dataclass(frozen=True)
class MapSettings:
    """How wells are averaged, and which."""

    by: Literal["gene", "compound", "dose", "perturbation"] = "gene"
    """What the rows of the map are: the column of the wells that names them; dose: each compound at
    each concentration."""
    through: Literal["guides", "wells"] | None = None
    """guides: average the wells of each guide, then the guides of each gene; wells: average all
    wells at once. Not given: guides for --by gene, wells otherwise."""
    statistic: Literal["mean", "median", "weighted"] = "mean"
    """The average: mean; median of each feature; or weighted: a mean in which wells (or guides)
    that agree with the others of their row have more weight (MODZ)."""
    controls: bool = False
    """Keep the control wells, which a map does not contain by default."""
    where: str | None = None
    """SQL condition that selects wells: "plate != 'P3' AND focus > 0.5". Not given: all wells."""
    min_wells: int = 1
    """Leave out rows with fewer wells than this."""
    phenotype: float | None = None
    """Keep only rows whose consistency has a p-value of at most this, like 0.05 (phenotypic
    activity), and write consistency and p-value into obs; 1 keeps all rows. Not given: neither is
    computed."""
    unexpressed: PathLike | None = None
    """Text file with one name per line: genes that the cells do not express, which form the null
    distribution of --phenotype. Not given: groups of control wells do."""
    draws: int = 1000
    """Number of groups of control wells in the null distribution of --phenotype."""
    seed: int = 0
    """Seed of the groups of control wells."""

    def __post_init__(self) -> None:
        """Raise ValueError, naming the setting, if a value is out of its range."""
        checks.one_of("by", self.by, ("gene", "compound", "dose", "perturbation"))
        checks.one_of("through", self.through, ("guides", "wells"))
        checks.one_of("statistic", self.statistic, ("mean", "median", "weighted"))
        checks.at_least("min_wells", self.min_wells, 1)
        checks.at_least("draws", self.draws, 1)
        checks.at_least("seed", self.seed, 0)
        if self.phenotype is None:
            if self.unexpressed is not None:
                raise ValueError("unexpressed is only used with phenotype: give both, like 0.05")
            return
        inside = 0 < self.phenotype <= 1
        checks.require(inside, "phenotype", "a p-value above 0 and at most 1", self.phenotype)
        if self.unexpressed is None and self.phenotype * (self.draws + 1) < 1:
            raise ValueError(
                f"phenotype {self.phenotype} is below the smallest p-value that {self.draws} draws "
                f"can give, 1/{self.draws + 1}: raise draws"
            )
