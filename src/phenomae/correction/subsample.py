"""Samples the wells for the diagnosis of a correction; a small screen is used completely.

The sample is drawn with a fixed seed, so that the same wells always give the same diagnosis.
"""

import numpy as np
import polars as pl
from jaxtyping import Int, Shaped

MAX_WELLS = 2000  # the cosines of all pairs of so many wells take about a second
_MIN_PER_BATCH = 20  # with fewer wells per batch, few neighbours could be of the same batch
# Limits a positive control that is on every plate, which would otherwise fill the sample.
_MAX_PER_PERTURBATION = 50


def sample_batches(
    batches: Shaped[np.ndarray, " n"], maximum: int = MAX_WELLS
) -> Int[np.ndarray, " m"]:
    """Return all row numbers, or a sample of up to `maximum` with the same limit for each batch.

    If there are more than `maximum` / 20 batches, only a random selection of batches is sampled.
    The same wells always give the same rows.
    """
    drawn = _draw(pl.DataFrame({"batch": batches}))
    if len(drawn) <= maximum:
        return np.arange(len(batches))
    names = drawn["batch"].unique(maintain_order=True)
    names = names[: max(1, maximum // _MIN_PER_BATCH)]
    each = maximum // len(names)
    chosen = drawn.filter(pl.col("batch").is_in(names.implode()))
    return np.sort(chosen.group_by("batch").head(each)["row"].to_numpy())


def sample_replicates(table: pl.DataFrame, maximum: int = MAX_WELLS) -> Int[np.ndarray, " m"]:
    """Return up to `maximum` row numbers of `table`: the wells of randomly chosen perturbations.

    `table` has the columns name (the perturbation) and plate; rows without a name are left out. A
    chosen perturbation contributes all its wells, or 50 at most. Perturbations on several plates
    are chosen first. The same wells always give the same rows.
    """
    drawn = _draw(table.select("name", "plate")).filter(pl.col("name").is_not_null())
    groups = (
        drawn.group_by("name", maintain_order=True)
        .agg(pl.col("row").head(_MAX_PER_PERTURBATION), plates=pl.col("plate").n_unique())
        .sort(pl.col("plates") > 1, descending=True, maintain_order=True)
    )
    fitting = groups.filter(pl.col("row").list.len().cum_sum() <= maximum)
    return np.sort(fitting["row"].explode(empty_as_null=False).to_numpy())


def _draw(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `table` with their row numbers, in random order."""
    # Wells are sorted by plate, so the first rows would be a sample of a few plates only.
    order = np.random.default_rng(0).permutation(len(table))
    return table.with_row_index("row")[order]
