"""The settings of `benchmark`, and checks of settings shared with other commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from phenomae import checks
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.evaluation.recall.tiers import TIERS, TierName
from phenomae.paths import PathLike

# Makes cyclopts accept `--low 0.05 0.01` beside `--low 0.05 --low 0.01`, and leaves out the flag
# `--empty-low`, which it would add to every sequence.
Several = Parameter(consume_multiple=True, negative=())


@dataclass(frozen=True, kw_only=True)
class RecallTails:
    """The tails of the cosines of all pairs in which a known pair is recalled."""

    low: float = 0.05
    """A known pair is recalled if its cosine is within this lowest fraction of the cosines of all
    pairs."""
    high: float = 0.95
    """A known pair is also recalled if its cosine is above this fraction of the cosines of all
    pairs."""

    def __post_init__(self) -> None:
        check_shares(self.low, self.high)

    @property
    def percentiles(self) -> Percentiles:
        """The percentile pair (low, high)."""
        return self.low, self.high


@Parameter(name="*")
@dataclass(frozen=True)
class BenchmarkSettings:
    """Which relationships are tested, at which thresholds, and how uncertainty is estimated."""

    annotations: PathLike
    """A file of known pairs, or a folder of such .txt, .csv, .tsv and .gmt files: pairs
    (entity1,entity2), sets (gene,set), or GMT. Each file is a source, named by its stem.
    `annotations fetch` downloads public files."""
    aliases: PathLike | None = None
    """CSV file with the columns alias,gene: aliases, on the map or in the annotations, are replaced
    by their genes."""
    low: Annotated[tuple[float, ...], Several] = (0.05,)
    """A known pair is recalled if its cosine is within this lowest fraction of the cosines of all
    pairs. Several values may be given."""
    high: Annotated[tuple[float, ...], Several] = (0.95,)
    """A known pair is also recalled if its cosine is above this fraction of the cosines of all
    pairs. Several values of high are combined with the values of low in order."""
    neighbors: Annotated[tuple[int, ...], Several] = (1, 10)
    """Numbers of nearest neighbors k at which precision is computed: the fraction of the k nearest
    neighbors of annotated genes that are known partners. Several values may be given."""
    resamples: int = 1000
    """Number of bootstrap resamples of the genes for 95 % confidence intervals; 0 for none."""
    shuffle: int = 0
    """Number of permutations of the gene names for null distribution and p-values; 0 for none."""
    within: Literal["all", "degree"] = "all"
    """all: gene names are permuted among all genes; degree: names are permuted only among genes
    with a similar number of known pairs."""
    seed: int = 0
    """Seed of the permutations and the bootstrap."""
    baseline: Annotated[tuple[str, ...], Several] = ()
    """NAME=MAP: a map of the same genes that recall is compared with, such as random-network,
    random-layer, spectra, intensity, count or position. Several may be given."""
    wells: PathLike | None = None
    """Folder of the wells that the map was made from. Adds recall by the mean cosine over pairs of
    wells of two genes, by tier."""
    tiers: Annotated[tuple[TierName, ...], Several] = tuple(TIERS)
    """With --wells: which pairs of wells count: any, or those on another plate, of another batch,
    at another well position. Several may be given."""

    def __post_init__(self) -> None:
        checks.whole_numbers(self)
        check_neighbors(self.neighbors)
        checks.at_least("resamples", self.resamples, 0)
        checks.at_least("shuffle", self.shuffle, 0)
        checks.at_least("seed", self.seed, 0)
        if len(self.low) != len(self.high) or not self.low:
            raise ValueError(
                f"low {self.low} and high {self.high} must have the same number of values, at "
                "least one, because they are combined in order"
            )
        if self.within == "degree" and not self.shuffle:
            raise ValueError("within degree needs shuffle: set shuffle, for example to 200")
        check_tiers(self.tiers)
        if self.wells is None and self.tiers != tuple(TIERS):
            raise ValueError("tiers are of pairs of wells: give wells, or leave out tiers")
        if self.baseline and not self.resamples:
            raise ValueError("baseline needs resamples of at least 1, for intervals of differences")
        for low, high in self.percentiles:
            check_shares(low, high)
            if self.percentiles.count((low, high)) > 1:
                raise ValueError(f"the pair low {low} and high {high} is repeated: give it once")

    @property
    def percentiles(self) -> list[Percentiles]:
        """The percentile pairs (low, high)."""
        return list(zip(self.low, self.high, strict=True))


def check_neighbors(neighbors: Sequence[int]) -> None:
    """Raise ValueError unless all numbers of neighbors are at least 1 and different."""
    if not neighbors:
        raise ValueError("neighbors must have at least one number, like 1")
    for k in neighbors:
        checks.at_least("neighbors", k, 1)
        if neighbors.count(k) > 1:
            raise ValueError(f"neighbors has {k} twice: give it once")


def check_tiers(tiers: Sequence[TierName]) -> None:
    """Raise ValueError if `tiers` is empty, repeats a tier or has an unknown one."""
    if not tiers:
        raise ValueError("tiers must have at least one tier, like other-plate")
    for tier in tiers:
        checks.one_of("tiers", tier, TIERS)
        if tiers.count(tier) > 1:
            raise ValueError(f"tiers has {tier} twice: give it once")


def check_level(level: float) -> None:
    """Raise ValueError unless a significance level is between 0 and 1."""
    checks.between("level", level, 0, 1)


def check_shares(low: float, high: float) -> Percentiles:
    """Return the pair of percentiles; raises ValueError unless 0 <= low <= high <= 1."""
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"low {low} and high {high} must be fractions of all pairs with "
            "0 <= low <= high <= 1, like 0.05 and 0.95"
        )
    return low, high
