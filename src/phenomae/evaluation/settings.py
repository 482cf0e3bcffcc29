"""What a map is asked: the settings of `benchmark`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from phenomae.evaluation.recall.recall import Percentiles

Several = Parameter(consume_multiple=True, negative=())


@Parameter(name="*")
@dataclass(frozen=True)
class BenchmarkSettings:
    """What the map is asked."""

    annotations: Path
    """A file of known pairs with the columns entity1,entity2, or a folder of such .txt and .csv
    files; each is a source, named by its stem. `annotations fetch` gets the public ones."""
    aliases: Path | None = None
    """A CSV file with the columns alias,gene: other names that the map or the annotations have for
    a gene."""
    low: Annotated[tuple[float, ...], Several] = (0.05,)
    """A pair is found where its cosine is among this share of the lowest; several may be given."""
    high: Annotated[tuple[float, ...], Several] = (0.95,)
    """... or above this share of all pairs' cosines; as many as --low, first with first."""
    resamples: int = 1000
    """Draw genes with replacement so often for the intervals in which a recall lies; 0: none."""
    shuffle: int = 0
    """Repeat with shuffled names so often: mean and spread of the recall, and a p-value."""
    within: Literal["all", "degree"] = "all"
    """all: a shuffled name may go anywhere; degree: to genes with about as many known pairs."""
    seed: int = 0
    """Of the shuffles and the resamples."""


def check_percentiles(settings: BenchmarkSettings) -> list[Percentiles]:
    """Return the percentile pairs; raises ValueError where the settings of recall do not do."""
    for name in ("shuffle", "resamples"):
        if (number := getattr(settings, name)) < 0:
            raise ValueError(f"--{name} {number}: give 0 or a number of {name.rstrip('s')}s")
    if len(settings.low) != len(settings.high) or not settings.low:
        raise ValueError(
            f"--low {settings.low} and --high {settings.high} must be of the same number: "
            "the first low goes with the first high"
        )
    check_seed(settings.seed)
    if settings.within == "degree" and not settings.shuffle:
        raise ValueError(
            "--within degree is for --shuffle, which is not given: give both, like --shuffle 200"
        )
    pairs = [check_shares(*shares) for shares in zip(settings.low, settings.high, strict=True)]
    for low, high in pairs:
        if pairs.count((low, high)) > 1:
            raise ValueError(f"--low {low} and --high {high} are asked twice: name them once")
    return pairs


def check_seed(seed: int) -> None:
    """Raise ValueError where no random numbers can be drawn of a seed."""
    if seed < 0:
        raise ValueError(f"--seed {seed}: give 0 or more")


def check_level(level: float) -> None:
    """Raise ValueError where no p-value is small enough, or each is."""
    if not 0 < level < 1:
        raise ValueError(f"--level {level} must lie between 0 and 1, like 0.05")


def check_shares(low: float, high: float) -> Percentiles:
    """Return a percentile pair; raises ValueError where it is none."""
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"--low {low} --high {high} are no shares of all pairs: expected "
            "0 <= low <= high <= 1, like 0.05 and 0.95"
        )
    return low, high
