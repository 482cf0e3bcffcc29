"""The parameters of a cell that perturbations change.

The parameters are shapes, sizes and positions of cells and organelles, never brightness, so that
perturbations can be recognised by morphology only.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Parameter:
    """One property of a cell."""

    usual: float
    """Median value in unperturbed cells."""
    step: float
    """Change per unit of phenotype, chosen to be clearly visible."""
    lowest: float
    highest: float


# Lengths are in pixels and angles in radians; cells have the same size whatever the field's size.
PARAMETERS: dict[str, Parameter] = {
    "nucleus_radius": Parameter(11.0, 1.1, 7.0, 15.5),
    "nucleus_elongation": Parameter(0.12, 0.07, 0.0, 0.4),
    "nucleus_lobes": Parameter(0.05, 0.045, 0.0, 0.25),
    "nucleus_offset": Parameter(3.0, 2.0, 0.0, 9.0),
    "chromatin_grain": Parameter(2.2, 0.55, 0.9, 4.2),
    "nucleoli_count": Parameter(3.0, 1.1, 1.0, 8.0),
    "nucleoli_radius": Parameter(1.9, 0.4, 0.9, 3.4),
    "nucleoli_spread": Parameter(0.45, 0.16, 0.05, 0.9),
    "er_extent": Parameter(8.0, 2.2, 2.5, 18.0),
    "er_grain": Parameter(2.4, 0.6, 0.9, 4.4),
    "er_polarity": Parameter(0.3, 0.22, 0.0, 0.95),
    "cell_elongation": Parameter(0.14, 0.08, 0.0, 0.38),
    "cell_ruffle": Parameter(0.05, 0.03, 0.0, 0.14),
    "actin_spacing": Parameter(4.6, 0.8, 2.6, 8.5),
    "actin_disorder": Parameter(0.45, 0.25, 0.0, 1.5),
    "actin_cortex": Parameter(0.5, 0.17, 0.05, 0.95),
    "golgi_distance": Parameter(3.5, 1.8, 0.0, 11.0),
    "golgi_spread": Parameter(0.6, 0.35, 0.1, 3.1),
    "golgi_fragment_radius": Parameter(1.5, 0.4, 0.5, 3.2),
    "mito_length": Parameter(6.0, 2.2, 1.0, 15.0),
    "mito_distance": Parameter(0.45, 0.15, 0.05, 0.95),
    "mito_alignment": Parameter(0.5, 0.28, 0.0, 1.0),
}


def cell_values(
    phenotype: Float[np.ndarray, "... parameters"],
    spread: float,
    cells: int,
    rng: np.random.Generator,
) -> dict[str, Float[np.ndarray, " cells"]]:
    """Return the value of every parameter in each cell of a field.

    `phenotype` is the mean change, of all cells or of each, and `spread` the standard deviation
    between cells. Both are in units of `Parameter.step` and apply before values are bounded.
    """
    units = phenotype + spread * rng.standard_normal((cells, len(PARAMETERS)))
    values = {}
    for column, (name, parameter) in zip(units.T, PARAMETERS.items(), strict=True):
        room = np.where(
            column > 0, parameter.highest - parameter.usual, parameter.usual - parameter.lowest
        )
        # tanh approaches the bounds smoothly: cells with strong phenotypes stay within the bounds
        # and, unlike with clipping, differ from each other.
        values[name] = parameter.usual + room * np.tanh(column * parameter.step / room)
    return values
