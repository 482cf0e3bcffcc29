"""Least squares on controls centred per plate, and its explained variance on unseen plates.

Both need only sums of products per plate, so a fit without one plate costs a subtraction, and the
controls are never copied.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from phenomae.blas import one_blas_thread
from phenomae.correction.center_scale import RESOLUTION, inverse
from phenomae.correction.covariates import Covariates

MIN_PLATES = 2  # of two or more controls each: one to fit on, one to measure


@dataclass(frozen=True)
class Products:
    """Sums of products over the controls of one plate, after centring on their means."""

    covariates: Float64[np.ndarray, "q q"]
    """Covariates by covariates."""
    features: Float64[np.ndarray, "q d"]
    """Covariates by features."""
    squares: Float64[np.ndarray, " d"]
    """Each feature by itself: its sum of squares within the plate."""


def plate_products(
    covariates: Covariates, features: Float64[np.ndarray, "m d"]
) -> dict[str, Products]:
    """Return the sums of products of each plate with at least two controls, by plate name."""
    found: dict[str, Products] = {}
    for plate, rows in covariates.each_plate():
        if len(rows) > 1:  # a single control is 0 after centring
            found[plate] = _multiply(covariates.values[rows], features[rows])
    return found


def total_products(products: dict[str, Products]) -> Products:
    """Return the sums over all plates."""
    parts = products.values()
    return Products(
        np.sum([each.covariates for each in parts], axis=0),
        np.sum([each.features for each in parts], axis=0),
        np.sum([each.squares for each in parts], axis=0),
    )


def solve(
    covariates: Float64[np.ndarray, "q q"], features: Float64[np.ndarray, "q d"]
) -> Float64[np.ndarray, "q d"]:
    """Return the ordinary least squares coefficients, from the sums of `Products`.

    Directions in which the covariates do not vary within plates get the coefficient 0 (the solution
    of minimum norm in standardised covariates).
    """
    # Standardised first, so that the threshold of `pinv` does not depend on units. The square of
    # RESOLUTION, because eigenvalues of this matrix are squares of singular values.
    scale = inverse(np.sqrt(np.maximum(np.diag(covariates), 0.0)))
    correlations = covariates * scale[:, None] * scale
    with one_blas_thread():
        inverted = np.linalg.pinv(correlations, rcond=RESOLUTION**2, hermitian=True)
    return scale[:, None] * (inverted @ (scale[:, None] * features))


def explained_on_unseen_plates(products: dict[str, Products]) -> Float64[np.ndarray, " d"]:
    """Return the R2 of each feature by leave-one-plate-out; NaN if it does not vary within plates.

    The coefficients for a plate are fitted on all other plates. R2 is 1 - (sum of squared residuals
    of all left-out plates) / (sum of squares within plates), so it is 0 for a regression that
    explains nothing, and below 0 for one that fits noise.
    """
    assert len(products) >= MIN_PLATES
    total = total_products(products)
    gain = np.zeros_like(total.squares)
    for left_out in products.values():
        slopes = solve(total.covariates - left_out.covariates, total.features - left_out.features)
        # y'y - |y - x b|^2 = 2 b'x'y - b'x'x b, feature by feature.
        gain += 2 * (slopes * left_out.features).sum(axis=0)
        gain -= (slopes * (left_out.covariates @ slopes)).sum(axis=0)
    varies = total.squares > 0
    return np.divide(gain, total.squares, out=np.full_like(gain, np.nan), where=varies)


def _multiply(
    covariates: Float64[np.ndarray, "m q"], features: Float64[np.ndarray, "m d"]
) -> Products:
    x, y = _center(covariates), _center(features)
    return Products(x.T @ x, x.T @ y, np.einsum("md,md->d", y, y))


def _center(values: Float64[np.ndarray, "m k"]) -> Float64[np.ndarray, "m k"]:
    """Return the values minus their mean; exactly 0 for columns that do not vary."""
    centered = values - values.mean(axis=0)
    # Without the threshold, the rounding error of a constant would count as variation.
    varies: Bool[np.ndarray, " k"] = np.abs(centered).max(axis=0) > (
        RESOLUTION * np.abs(values).max(axis=0)
    )
    return centered * varies
