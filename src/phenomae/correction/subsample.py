"""Which wells are looked at when a correction is measured: all of a small screen, some of a big."""

import numpy as np
import polars as pl
from jaxtyping import Int, Shaped

MOST = 2000  # wells: cosines of all pairs then take a second
_LEAST_OF_A_BATCH = 20  # fewer hardly have neighbours of their own batch
_MOST_OF_A_PERTURBATION = 50  # so that a positive control on every plate leaves room for others


def sample_batches(batches: Shaped[np.ndarray, " n"], most: int = MOST) -> Int[np.ndarray, " m"]:
    """Return up to `most` rows, as many of each batch; of some batches only where there are many.

    The same wells always give the same rows.
    """
    drawn = _draw(pl.DataFrame({"batch": batches}))
    if len(drawn) <= most:
        return np.arange(len(batches))
    names = drawn["batch"].unique(maintain_order=True)
    names = names[: max(1, most // _LEAST_OF_A_BATCH)]
    each = most // len(names)
    chosen = drawn.filter(pl.col("batch").is_in(names.implode()))
    return np.sort(chosen.group_by("batch").head(each)["row"].to_numpy())


def sample_replicates(table: pl.DataFrame, most: int = MOST) -> Int[np.ndarray, " m"]:
    """Return up to `most` rows of `table` that have a `name`: all wells of some perturbations.

    `table` has the columns name and plate. Perturbations on several plates come first, and no more
    than 50 wells of each are taken. The same wells always give the same rows.
    """
    drawn = _draw(table.select("name", "plate")).filter(pl.col("name").is_not_null())
    groups = (
        drawn.group_by("name", maintain_order=True)
        .agg(pl.col("row").head(_MOST_OF_A_PERTURBATION), plates=pl.col("plate").n_unique())
        .sort(pl.col("plates") > 1, descending=True, maintain_order=True)
    )
    fitting = groups.filter(pl.col("row").list.len().cum_sum() <= most)
    return np.sort(fitting["row"].explode(empty_as_null=False).to_numpy())


def _draw(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows, numbered, in an order that means nothing."""
    order = np.random.default_rng(0).permutation(len(table))
    return table.with_row_index("row")[order]
