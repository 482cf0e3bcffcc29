"""The settings of the command `map`; a map records the settings that determine it."""

from dataclasses import dataclass
from typing import Literal

from cyclopts import Parameter

from phenomae import checks
from phenomae.paths import PathLike


@Parameter(name="*")
@dataclass(frozen=True)
class MapSettings:
    """Which wells are averaged, and how."""

    by: Literal["gene", "compound", "dose", "perturbation"] = "gene"
    """Column of the wells that names the rows of the map; dose: one row for each compound at each
    concentration."""
    through: Literal["guides", "wells"] | None = None
    """guides: average the wells of each guide, then the guides of each row; wells: average all
    wells of a row at once. Default: guides for --by gene, wells otherwise."""
    statistic: Literal["mean", "median", "weighted"] = "mean"
    """Kind of average. median: of each feature; weighted: a mean in which wells (or guides) that
    correlate with the others of their row have more weight (MODZ)."""
    controls: bool = False
    """Keep the control wells, which are left out of the map by default."""
    where: str | None = None
    """Condition that selects wells: "plate != 'P3' AND focus > 0.5". Default: all wells."""
    min_wells: int = 1
    """Minimum number of wells of a row; smaller rows are left out."""
    phenotype: float | None = None
    """Maximum p-value of a row's consistency, such as 0.05; rows with a larger p-value are left out
    (phenotypic activity). Consistency and p-value are written into obs. 1 keeps all rows. Default:
    consistency is not computed and no row is left out."""
    unexpressed: PathLike | None = None
    """Text file with one name per line: genes that the cells do not express. Their consistencies
    are the null distribution of --phenotype. Default: groups of control wells."""
    draws: int = 1000
    """Number of groups of control wells to draw for the null distribution of --phenotype."""
    seed: int = 0
    """Random seed for drawing the groups of control wells."""

    def __post_init__(self) -> None:
        """Raise ValueError, naming the setting, if a value is outside its range."""
        checks.whole_numbers(self)
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
