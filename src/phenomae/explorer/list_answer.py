"""What is said of a list of names: how alike they are, their pairs, and what else is like them."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float64, Int

from phenomae.evaluation.name_lists import ListCohesion, compare_with_random_lists, nearest_to_list
from phenomae.explorer.inputs import Inputs

MAX_NAMES = 1000
"""Of a list that is compared."""
MAX_MATRIX = 60
"""Names of a list whose cosines are drawn."""
MAX_PAIRS = 200
_DRAWS = 1000


@dataclass(frozen=True)
class ListAnswer:
    """What is said of a list of two names or more."""

    names: list[str]
    """In an order in which names that are alike are beside each other."""
    cosines: Float64[np.ndarray, "n n"]
    """Of each two names, in this order."""
    cohesion: ListCohesion
    pairs: pl.DataFrame
    """The pairs with the highest cosines, up to `MAX_PAIRS`: name, other, cosine, known."""
    nearest: pl.DataFrame
    """Names outside the list that are nearest to its mean: rank, neighbor, cosine."""

    @property
    def summary(self) -> pl.DataFrame:
        """One row: the list beside random lists of as many names."""
        random = self.cohesion.random
        return pl.DataFrame(
            {
                "names": [len(self.names)],
                "mean_cosine": [self.cohesion.mean_cosine],
                "random_mean": [random.mean()],
                "random_high": [np.quantile(random, 0.95)],
                "p": [self.cohesion.p],
            }
        )


def answer_list(inputs: Inputs, rows: Int[np.ndarray, " n"]) -> ListAnswer:
    """Compare two or more rows of the map with each other, with random lists and with all rows."""
    finder = inputs.finder
    rows = rows[_order(finder.unit[rows])] if len(rows) <= MAX_MATRIX else rows
    own = finder.unit[rows]
    cosines = np.clip(own @ own.T, -1, 1)
    near, near_cosines = nearest_to_list(finder.unit, rows, finder.k)
    return ListAnswer(
        [inputs.names[row] for row in rows],
        cosines,
        compare_with_random_lists(finder.unit, rows, draws=_DRAWS, seed=finder.seed),
        _list_pairs(inputs, rows, cosines),
        pl.DataFrame(
            {
                "rank": np.arange(1, len(near) + 1),
                "neighbor": pl.Series([inputs.names[row] for row in near], dtype=pl.String),
                "cosine": near_cosines,
            }
        ),
    )


def _order(unit: Float64[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
    """Return the order of the leaves of average linkage, as in the heat map of the report."""
    from scipy.cluster.hierarchy import leaves_list, linkage  # imported here: slow to import

    first, second = np.triu_indices(len(unit), k=1)
    # Rounding makes the distance of equal profiles slightly negative.
    distances = np.maximum(1 - (unit @ unit.T)[first, second], 0)
    return leaves_list(linkage(distances, method="average")).astype(np.int64)


def _list_pairs(
    inputs: Inputs, rows: Int[np.ndarray, " n"], cosines: Float64[np.ndarray, "n n"]
) -> pl.DataFrame:
    first, second = np.triu_indices(len(rows), k=1)
    highest = np.argsort(-cosines[first, second], kind="stable")[:MAX_PAIRS]
    first, second = first[highest], second[highest]
    names = np.array(inputs.names, dtype=object)[rows]
    return pl.DataFrame(
        {
            "name": pl.Series(names[first], dtype=pl.String),
            "other": pl.Series(names[second], dtype=pl.String),
            "cosine": cosines[first, second],
            "known": inputs.finder.name_sources(rows[first], rows[second]),
        }
    )
