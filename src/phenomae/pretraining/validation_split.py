"""Splits the wells into training and validation wells.

All fields of a well are on the same side, because they look similar: a network that was trained on
one field could reconstruct its neighbour from memory.
"""

import hashlib

import numpy as np
import polars as pl
from jaxtyping import Int64


def split_fields(
    fields: pl.DataFrame, share: float, seed: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Return the row numbers of the training fields and of the validation fields.

    `share` is the fraction of wells for validation: at least one well if `share` is above 0 and
    there are two wells. The split depends only on the seed and the names of plates and wells.
    """
    names = [f"{plate}/{well}" for plate, well in fields.select("plate", "well").iter_rows()]
    # Sorted by hash instead of drawn: the split does not depend on the order of rows or stores.
    wells = sorted(set(names), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    count = min(max(round(share * len(wells)), 1 if share > 0 else 0), len(wells) - 1)
    validation = set(wells[:count])
    is_validation = np.array([name in validation for name in names])
    return np.flatnonzero(~is_validation), np.flatnonzero(is_validation)
