"""Count: regresses out how many cells a well has, as measured in another wells folder.

Cells in crowded wells look different whatever was done to them. A perturbation that kills cells has
a real effect on the count, and the part of its profile that goes with the count is removed as well.
"""

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.correction.covariates import match_counts
from phenomae.correction.regression import Regression
from phenomae.progress import count_of
from phenomae.wells import Profiles


class Count(Regression):
    """Subtracts what the counts of the wells, such as log cell count, explain of the features."""

    name = "count"
    needs_counts = True

    def measure(self, table: pl.DataFrame, counts: Profiles | None) -> Float64[np.ndarray, "n q"]:
        """Return the counts of the wells in `table`.

        Raises ValueError if a well has no counts, or if there are other counts than the regression
        was fitted on.
        """
        assert counts is not None  # `correct` checks the settings
        fitted, given = getattr(self, "coefficients_", None), counts.features.shape[1]
        if fitted is not None and len(fitted) != given:
            raise ValueError(
                f"counts has {count_of(given, 'feature')}, but count was fitted on "
                f"{len(fitted)}: both must come from the same measurement"
            )
        return match_counts(table, counts)
