"""Chooses the wells and crops on which recall is measured during training.

Few wells keep the measurement cheap, but correction needs controls on every plate, and recall needs
many genes of known pairs. So plates are chosen first, and then wells on these plates.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int64

from phenomae.correction.batches import MIN_CONTROLS
from phenomae.crops.tiles import Tiles
from phenomae.embedding.plates import Plate

_WELL = ("store", "plate", "well")
# One well in four is a control, so a plate has eight controls. With two controls, the minimum that
# a correction accepts, the standard deviation would hardly be an estimate.
_CONTROLS = 4
_WELLS_PER_PLATE = _CONTROLS * 8


@dataclass(frozen=True)
class Choice:
    """The wells that are embedded, and whether each plate is corrected by itself."""

    wells: pl.DataFrame
    """One row per well: store, plate, well, name (its row of the map), guide, control."""
    by_plate: bool
    """Whether every plate has enough controls to be corrected by itself."""


def choose_wells(fields: pl.DataFrame, max_wells: int, annotated: Collection[str]) -> Choice:
    """Choose up to `max_wells` wells: first one per gene, then more guides and replicates.

    `fields` has the columns of `Choice.wells`, one row per field. If there are no more than
    `max_wells` wells, all are chosen. Otherwise a quarter are controls; so few plates are used,
    evenly spaced, that each has about eight controls; and genes in `annotated` come first. Plates
    with fewer than two controls, or with controls only, are left out; if no plate remains, all
    wells count as one plate.
    """
    named = pl.col("name").is_not_null() | pl.col("control")
    # Fields that are neither on the map nor controls would only cost time.
    wells = fields.filter(named).unique(_WELL, keep="first", maintain_order=True)
    plates = wells.group_by("store", "plate", maintain_order=True).agg(
        usable=(pl.col("control").sum() >= MIN_CONTROLS) & ~pl.col("control").all()
    )
    usable = plates.filter("usable")
    if usable.is_empty():
        one_plate = pl.Series([0]).new_from_index(0, len(wells))
        return Choice(_choose(wells, one_plate, max_wells, annotated), False)
    # The number of plates is rounded up, so that there is at least one.
    if len(wells) > max_wells:
        # Evenly spaced, because plates are often in the order of time and library.
        usable = usable[spread(len(usable), -(-max_wells // _WELLS_PER_PLATE))]
    kept = wells.join(usable, on=["store", "plate"], how="semi", maintain_order="left")
    plate_of = kept.select(pl.struct("store", "plate").rank("dense")).to_series()
    return Choice(_choose(kept, plate_of, max_wells, annotated), True)


def _choose(
    wells: pl.DataFrame, plate_of: pl.Series, max_wells: int, annotated: Collection[str]
) -> pl.DataFrame:
    """Return up to `max_wells` of the wells, with equally many controls from every plate."""
    if len(wells) <= max_wells:
        return wells
    numbered = wells.with_row_index("row").with_columns(plate_of=plate_of)
    ranked = _rank(numbered.filter(~pl.col("control")), annotated)
    treated = ranked[: max_wells - max_wells // _CONTROLS]
    # Controls of plates without a chosen treated well would be embedded for nothing.
    controls = numbered.filter("control").join(treated, on="plate_of", how="semi")
    plates = controls["plate_of"].n_unique()
    per_plate = max(MIN_CONTROLS, (max_wells - len(treated)) // max(plates, 1))
    parts = controls.sort("row").partition_by("plate_of", maintain_order=True)
    chosen = [treated["row"], *(part["row"][spread(len(part), per_plate)] for part in parts)]
    return wells[np.sort(np.concatenate(chosen))]


def _rank(treated: pl.DataFrame, annotated: Collection[str]) -> pl.DataFrame:
    """Sort wells into turns: first one well per gene, then a second one by another guide, ...

    Within a turn annotated genes come first. Genes are ordered by a hash of their names, so that a
    limit on wells does not favour the start of the alphabet or depend on the order of wells.
    """
    hashes = {name: hashlib.sha256(name.encode()).digest() for name in treated["name"].unique()}
    order = {name: place for place, name in enumerate(sorted(hashes, key=hashes.__getitem__))}
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


def thin(plate: Plate, tiles: Sequence[Tiles], max_crops: int) -> dict[int, Tiles]:
    """Return the crops of each field of a plate, with up to `max_crops` evenly spaced per well.

    `tiles` has the positions of all crops of every field.
    """
    chosen: dict[int, list[int]] = {field: [] for field in plate.fields.tolist()}
    for well in range(len(plate.table)):
        places = [
            (field, crop)
            for field in plate.fields[plate.well_of == well].tolist()
            for crop in range(len(tiles[field].tops))
        ]
        for at in spread(len(places), max_crops):
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


def spread(count: int, max_numbers: int) -> Int64[np.ndarray, " n"]:
    """Return up to `max_numbers` of the numbers 0 ... count - 1: the centres of equal parts."""
    parts = min(count, max_numbers)
    return (2 * np.arange(parts, dtype=np.int64) + 1) * count // max(2 * parts, 1)
