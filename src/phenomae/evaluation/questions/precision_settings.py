"""The settings of `ask replicates`: which wells are replicates, and what they are ranked with."""

from dataclasses import dataclass
from typing import Annotated, Literal

import polars as pl
from cyclopts import Parameter

from phenomae import checks
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.settings import Several, check_level, check_tiers
from phenomae.paths import PathLike

Column = Literal["perturbation", "gene", "guide", "compound"]


@Parameter(name="*")
@dataclass(frozen=True)
class PrecisionSettings:
    """Which wells are replicates, which perturbations should agree, and the p-values."""

    by: Column = "perturbation"
    """Column with the names of replicates: wells with the same name are replicates."""
    plates: Literal["same", "any"] = "same"
    """Controls among which a well ranks its replicates: those of its plate, or of any plate."""
    agree: Literal["gene", "compound", "mechanism"] = "gene"
    """Column of agreement: perturbations with the same name in this column are positives."""
    mechanisms: PathLike | None = None
    """CSV file with the columns compound, mechanism; required if agree is mechanism."""
    tiers: Annotated[tuple[TierName, ...], Several] = ("any",)
    """Which wells are ranked: any, or those on another plate, of another batch, at another well
    position than the well that ranks them. Several may be given; all but any need plates any."""
    draws: int = 1000
    """Number of exchanges of profiles in the null distribution."""
    level: float = 0.05
    """Significance level: a name is retrieved if its FDR-adjusted p-value is at most this level."""
    seed: int = 0
    """Seed of the exchanges."""

    def __post_init__(self) -> None:
        checks.whole_numbers(self)
        checks.at_least("draws", self.draws, 1)
        checks.at_least("seed", self.seed, 0)
        check_level(self.level)
        check_tiers(self.tiers)
        if self.plates == "same" and self.tiers != ("any",):
            raise ValueError(
                f"tiers {', '.join(self.tiers)} need plates any, so that controls are chosen as "
                "replicates are: set plates to any, or tiers to any"
            )
        if self.agree == "mechanism" and self.mechanisms is None:
            raise ValueError("agree mechanism needs mechanisms: name a file, or set another agree")
        if self.agree != "mechanism" and self.mechanisms is not None:
            raise ValueError(
                "mechanisms needs agree mechanism: set agree to mechanism, or leave mechanisms out"
            )


def name_rows(
    table: pl.DataFrame, tier: TierName, column: str, names: list[str], level: float
) -> pl.DataFrame:
    """Replace the column of codes by names, and add the columns tier and retrieved."""
    named = pl.Series(column, [names[code] for code in table["code"]], dtype=pl.String)
    return table.select(
        pl.lit(tier).alias("tier"),
        named,
        pl.exclude("code"),
        retrieved=pl.col("p_adjusted") <= level,
    )
