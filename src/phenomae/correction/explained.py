"""Diagnosis: how much row, column, position and count explain of the controls on unseen plates.

Each is a regression fitted on all plates but one and measured on that one, as the methods
`position` and `count` are tested before they are used.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.correction.count import Count
from phenomae.correction.covariates import Covariates
from phenomae.correction.least_squares import explained_on_unseen_plates, plate_products
from phenomae.correction.position import COLUMN, ROW, Position
from phenomae.correction.regression import measure_covariates
from phenomae.wells import Profiles

_SHUFFLES = 20


def measure_all(
    table: pl.DataFrame, kept: Bool[np.ndarray, " n"], counts: Profiles | None
) -> dict[str, Covariates]:
    """Return the covariates of all wells by name: row, column, position, and count if given."""
    position = measure_covariates(Position(), table, kept, None)
    found = {
        "row": Covariates(position.values[:, ROW], position.plates),
        "column": Covariates(position.values[:, COLUMN], position.plates),
        "position": position,
    }
    if counts is not None:
        found["count"] = measure_covariates(Count(), table, kept, counts)
    return found


def explained_rows(
    both: list[Float64[np.ndarray, "m _"]], covariates: dict[str, Covariates]
) -> list[dict[str, object]]:
    """Return the rows of the diagnosis: R2 on unseen plates, its mean and largest over features.

    `both` has the features of some controls before and after the correction, and `covariates` those
    of the same controls. The chance level is the mean over 20 permutations of the covariates among
    the controls of each plate. Values are None if no feature varies within plates.
    """
    rows: list[dict[str, object]] = []
    for name, own in covariates.items():
        before, after = (_mean_and_largest(own, features) for features in both)
        chance = np.mean([_mean_and_largest(draw, both[1]) for draw in _shuffles(own)], axis=0)
        for statistic, *values in zip(("mean", "largest"), before, after, chance, strict=True):
            row = {"measure": f"R2 of {name}, {statistic}", "wells": "controls", "column": "plate"}
            # NaN would be written as a number, and None leaves the cell empty.
            known = [None if np.isnan(value) else float(value) for value in values]
            found = dict(zip(("before", "after", "chance"), known, strict=True))
            rows.append({**row, "n": len(own.plates), **found})
    return rows


def _mean_and_largest(own: Covariates, features: Float64[np.ndarray, "m d"]) -> tuple[float, float]:
    explained = explained_on_unseen_plates(plate_products(own, features))
    varying = explained[~np.isnan(explained)]
    if not len(varying):
        return np.nan, np.nan
    return float(varying.mean()), float(varying.max())


def _shuffles(own: Covariates) -> Iterator[Covariates]:
    """Yield the covariates in 20 random orders within plates, with fixed seeds."""
    for index in range(_SHUFFLES):
        rng, values = np.random.default_rng([0, index]), own.values.copy()
        for _, rows in own.each_plate():
            values[rows] = values[rng.permutation(rows)]
        yield Covariates(values, own.plates)
