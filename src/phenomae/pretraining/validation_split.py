"""Which wells are kept out of training, to tell what was learned from what was memorised."""

import hashlib

import numpy as np
import polars as pl
from jaxtyping import Int64


def split_fields(
    fields: pl.DataFrame, share: float, seed: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Return the rows of fields to train on, and those of held-out wells.

    `share` of the wells (at least one, where `share` is above 0 and there are two) is held out, all
    sites of a well together; which ones depends on the names of plates and wells and on the seed.
    """
    names = [f"{plate}/{well}" for plate, well in fields.select("plate", "well").iter_rows()]
    wells = sorted(set(names), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    count = min(max(round(share * len(wells)), 1 if share > 0 else 0), len(wells) - 1)
    held_out = set(wells[:count])
    is_held_out = np.array([name in held_out for name in names])
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
