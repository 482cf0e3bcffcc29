"""Which wells are used to diagnose a correction: all of a small screen, a sample of a large one.

The sample is drawn with a fixed seed: the same wells always give the same diagnosis.
"""

import numpy as np
import polars as pl
from jaxtyping import Int, Shaped

MAX_WELLS = 2000  # cosines of all pairs then take about a second
_MIN_PER_BATCH = 20  # with fewer, hardly any neighbour can be of the same batch
_MAX_PER_PERTURBATION = 50  # so that a positive control on every plate leaves room for others


def sample_batches(
    batches: Shaped[np.ndarray, " n"], maximum: int = MAX_WELLS
) -> Int[np.ndarray, " m"]:
    """Return up to `maximum` rows, equally many of each batch; some batches only if there are many.

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
    """Return up to `maximum` rows of `table` that have a `name`: all wells of some perturbations.

    `table` has the columns name and plate. Perturbations on several plates come first, and at most
    50 wells of each are used. The same wells always give the same rows.
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
    """Return the numbered rows in random order; wells are sorted by plate, so order has meaning."""
    order = np.random.default_rng(0).permutation(len(table))
    return table.with_row_index("row")[order]
