"""Which wells and crops of the stores a recall is measured on, so that it costs little."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int64

from phenomae.correction.batches import LEAST_CONTROLS
from phenomae.crops.tiles import Tiles
from phenomae.embedding.plates import Plate

_WELL = ("store", "plate", "well")
_CONTROLS = 4  # one well of so many is a control ...
_WELLS_A_PLATE = _CONTROLS * 8  # ... and so a plate has eight: the spread of two is hardly one


@dataclass(frozen=True)
class Choice:
    """Wells that are embedded, and how they are corrected."""

    wells: pl.DataFrame
    """One row a well: store, plate and well, name (its row of the map), guide, control."""
    by_plate: bool
    """Whether every plate has controls enough to be corrected by itself."""


def choose_wells(fields: pl.DataFrame, most: int, annotated: Collection[str]) -> Choice:
    """Choose up to `most` wells: as many genes as possible, then as many guides and repeats.

    `fields` has the columns of `Choice.wells`, one row a field. No more wells than `most` are all
    taken. Else a quarter of them are controls; so few plates are taken, evenly spread over all,
    that each has about eight; and genes that are `annotated` come first. Plates with fewer than two
    controls are left out; where all are such, all wells count as one plate.
    """
    named = pl.col("name").is_not_null() | pl.col("control")
    wells = fields.filter(named).unique(_WELL, keep="first", maintain_order=True)
    plates = wells.group_by("store", "plate", maintain_order=True).agg(
        fit=(pl.col("control").sum() >= LEAST_CONTROLS) & ~pl.col("control").all()
    )
    fitting = plates.filter("fit")
    if fitting.is_empty():
        alike = pl.Series([0]).new_from_index(0, len(wells))
        return Choice(_choose(wells, alike, most, annotated), False)
    if len(wells) > most:
        fitting = fitting[spread(len(fitting), -(-most // _WELLS_A_PLATE))]
    kept = wells.join(fitting, on=["store", "plate"], how="semi", maintain_order="left")
    plate_of = kept.select(pl.struct("store", "plate").rank("dense")).to_series()
    return Choice(_choose(kept, plate_of, most, annotated), True)


def _choose(
    wells: pl.DataFrame, plate_of: pl.Series, most: int, annotated: Collection[str]
) -> pl.DataFrame:
    """Return up to `most` of the wells; controls come evenly from all plates."""
    if len(wells) <= most:
        return wells
    numbered = wells.with_row_index("row").with_columns(plate_of=plate_of)
    treated = _rank(numbered.filter(~pl.col("control")), annotated)[: most - most // _CONTROLS]
    controls = numbered.filter("control").join(treated, on="plate_of", how="semi")
    plates = controls["plate_of"].n_unique()
    each = max(LEAST_CONTROLS, (most - len(treated)) // max(plates, 1))
    parts = controls.sort("row").partition_by("plate_of", maintain_order=True)
    chosen = [treated["row"], *(part["row"][spread(len(part), each)] for part in parts)]
    return wells[np.sort(np.concatenate(chosen))]


def _rank(treated: pl.DataFrame, annotated: Collection[str]) -> pl.DataFrame:
    """Sort wells so that each gene has one first, then each a second by another guide, and so on.

    Genes that are annotated come first in each turn, and genes in an order that means nothing.
    """
    draws = {name: hashlib.sha256(name.encode()).digest() for name in treated["name"].unique()}
    order = {name: place for place, name in enumerate(sorted(draws, key=draws.__getitem__))}
    return (
        treated.with_columns(repeat=pl.int_range(pl.len()).over("name", "guide"))
        .sort("repeat", "guide", "row")
        .with_columns(
            turn=pl.int_range(pl.len()).over("name"),
            known=pl.col("name").is_in(list(annotated)),
            place=pl.col("name").replace_strict(order, return_dtype=pl.Int64),
        )
        .sort("turn", "known", "place", descending=[False, True, False])
    )


def thin(plate: Plate, tiles: Sequence[Tiles], most: int) -> dict[int, Tiles]:
    """Return, by field, up to `most` crops of every well of a plate, evenly from all it has.

    `tiles` says where the crops of every field lie.
    """
    chosen: dict[int, list[int]] = {field: [] for field in plate.fields.tolist()}
    for well in range(len(plate.table)):
        places = [
            (field, crop)
            for field in plate.fields[plate.well_of == well].tolist()
            for crop in range(len(tiles[field].tops))
        ]
        for at in spread(len(places), most):
            field, crop = places[at]
            chosen[field].append(crop)
    return {
        field: Tiles(
            tops=tuple(tiles[field].tops[crop] for crop in crops),
            lefts=tuple(tiles[field].lefts[crop] for crop in crops),
            left_out=0,
        )
        for field, crops in chosen.items()
    }


def spread(count: int, most: int) -> Int64[np.ndarray, " n"]:
    """Return up to `most` of the numbers 0 ... count - 1, the middles of as many equal parts."""
    parts = min(count, most)
    return (2 * np.arange(parts, dtype=np.int64) + 1) * count // max(2 * parts, 1)
