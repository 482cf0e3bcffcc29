"""The command `nearest-crops`: which crops of a screen look like one of them.

All crops are compared, a block of vectors at a time, so that memory depends on neither their number
nor the size of a plate.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
from jaxtyping import Bool, Float16, Float64, Int

from phenomae.checks import at_least, one_of, whole_number
from phenomae.maps.cosine_order import order_by_cosine
from phenomae.maps.nearest import highest_cosines
from phenomae.maps.unit_vectors import unit_rows
from phenomae.paths import PathLike
from phenomae.print_table import show
from phenomae.tokens import TokenFiles, open_tokens

LeaveOut = Literal["crop", "well", "plate"]
_NUMBERS = 2**21
"""Numbers of a block: 50 MB, because they are there as float16, float32 and float64 at a time."""
_SHOWN = 5
_PLACE = ("well", "site", "top", "left")  # within a plate


@dataclass(frozen=True)
class Crop:
    """A crop that the others are compared with."""

    plate: str
    well: str
    site: int
    top: int
    left: int


def nearest_crops(
    tokens: PathLike,
    plate: str,
    well: str,
    site: int,
    top: int,
    left: int,
    /,
    *,
    k: int = 20,
    leave_out: LeaveOut = "crop",
) -> pl.DataFrame:
    """List the crops of a screen that are most alike to one of them, by cosine, exactly.

    Prints the table.

    Parameters
    ----------
    tokens
        Folder with one vector per crop, written by `embed` with tokens.
    plate
        Plate of the crop.
    well
        Well of the crop: B07.
    site
        Number of the crop's field in the well.
    top
        First pixel row of the crop, in pixels of the store.
    left
        First pixel column of the crop.
    k
        Number of crops that are listed.
    leave_out
        Crops that are not compared: the crop itself, those of its well, or those of its plate.

    Returns
    -------
    A table with the columns rank (from 1), plate, well, site, field (row in the store's table of
    fields), top, left, size (pixels of the store) and cosine. Crops with equal cosines are in the
    order of plates and fields.

    Raises
    ------
    ValueError
        If `tokens` is no tokens folder, or damaged, has no such crop, or none to compare it with.
    """
    files = open_tokens(tokens)
    site, top, left = (
        whole_number(name, value) for name, value in (("site", site), ("top", top), ("left", left))
    )
    crop = Crop(plate, well, site, top, left)
    table = search_crops(files, crop, k, leave_out)
    show(table)
    return table


def search_crops(
    files: TokenFiles, crop: Crop, k: int = 20, leave_out: LeaveOut = "crop"
) -> pl.DataFrame:
    """Do as `nearest_crops` for an open tokens folder, without printing."""
    k = whole_number("k", k)
    at_least("k", k, 1)
    one_of("leave_out", leave_out, get_args(LeaveOut))
    own = files.crops(crop.plate)
    row = _find(files, crop, own)
    query = files.vectors(crop.plate, row, row + 1)
    if not query.any():
        raise ValueError(f"{files.folder}: the vector of this crop is all 0 and has no cosine")
    block = max(1, _NUMBERS // files.width)
    best = own.clear().with_columns(cosine=pl.lit(0.0))
    for plate in files.plates:
        crops, kept = files.crops(plate), None
        if plate == crop.plate:
            kept = _keep(own, row, leave_out)
        for start, vectors in files.blocks(plate, block):
            part = crops[start : start + block]
            if kept is not None:
                mask = kept[start : start + block]
                part, vectors = part.filter(mask), vectors[mask]
            if len(part):
                best = _merge(best, part, *_highest(query, vectors, k), k)
    if best.is_empty():
        raise ValueError(
            f"{files.folder} has no crop but those that leave_out {leave_out} leaves out: "
            "leave out fewer, or embed more wells"
        )
    return best.with_row_index("rank", offset=1)


def _find(files: TokenFiles, crop: Crop, crops: pl.DataFrame) -> int:
    """Return the row of a crop in its plate; raises ValueError, with those there are, if none."""
    found = crops.with_row_index("row")
    where = f"{files.folder} has no crop at plate {crop.plate},"
    for name in _PLACE:
        before, value = found, getattr(crop, name)
        found = before.filter(pl.col(name) == value)
        where += f" {name} {value}"
        if found.is_empty():
            near = before[name].unique(maintain_order=True).to_list()
            more = ", ..." if len(near) > _SHOWN else ""
            raise ValueError(f"{where}: {name} is {', '.join(map(str, near[:_SHOWN]))}{more}")
    return int(found["row"][0])


def _keep(crops: pl.DataFrame, row: int, leave_out: LeaveOut) -> Bool[np.ndarray, " m"]:
    """Return which crops of the plate of a crop are compared with it."""
    if leave_out == "well":
        return (crops["well"] != crops["well"][row]).to_numpy()
    kept = np.full(len(crops), leave_out == "crop")
    kept[row] = False
    return kept


def _highest(
    query: Float16[np.ndarray, "1 d"], vectors: Float16[np.ndarray, "m d"], k: int
) -> tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Return rows and cosines of the vectors that are nearest to the query, `k` if there are."""
    # The query is one more row, which is left out, so that all of a few rows can be asked for.
    rows = unit_rows(np.concatenate([vectors, query]))
    last = np.array([len(vectors)])
    near, cosines = highest_cosines(rows[last], rows, min(k, len(vectors)), last)
    return near[0], cosines[0]


def _merge(
    best: pl.DataFrame,
    part: pl.DataFrame,
    near: Int[np.ndarray, " c"],
    cosines: Float64[np.ndarray, " c"],
    k: int,
) -> pl.DataFrame:
    """Return the `k` crops with the highest cosines of those found before and in a block."""
    both = pl.concat([best, part[near].with_columns(cosine=cosines)])
    order = order_by_cosine(both["cosine"].to_numpy())
    return both[order[:k]]
