"""Positions the crops in the fields of a store, and reports fields and pixels left out."""

from collections.abc import Sequence

import polars as pl

from phenomae.crops.tiles import Tiles, Tiling, tile_field
from phenomae.progress import info
from phenomae.store.read import Store

TRAIN_SMALLER = "use a network trained on smaller crops"


def cover_fields(
    store: Store,
    crop_size: int,
    side: int,
    tiling: Tiling,
    crops_per_field: int | None = None,
    remedy: str = TRAIN_SMALLER,
) -> list[Tiles]:
    """Return the positions of the crops of every field, in the order of `store.fields`.

    `side` is the side of a crop in pixels of the store, which differs from `crop_size` if crops are
    resampled. Of more than `crops_per_field` crops of a field, that many are used. Raises
    ValueError, ending in `remedy`, if a field is smaller than a crop.
    """
    # Computed once per size of field, because most stores have fields of a single size.
    by_size: dict[tuple[int, int], Tiles] = {}
    for row in store.fields.select("height", "width", "path").iter_rows(named=True):
        sides = row["height"], row["width"]
        if min(sides) < side:
            scaled = f" ({side} x {side} pixels of the store)" if side != crop_size else ""
            raise ValueError(
                f"{store.path}: {row['path']} has {sides[0]} x {sides[1]} pixels, which is smaller "
                f"than the crops of {crop_size} x {crop_size}{scaled}: {remedy}"
            )
        if sides not in by_size:
            by_size[sides] = tile_field(*sides, side, tiling, crops_per_field)
    return [by_size[sides] for sides in store.fields.select("height", "width").iter_rows()]


def report_left_out_fields(store: Store, kept: Store) -> None:
    """Print the number of fields that the setting `where` leaves out, if any."""
    if left_out := len(store.fields) - len(kept.fields):
        info(f"where leaves out {left_out} of {len(store.fields)} fields")


def report_left_out_pixels(
    store: Store, tiles: Sequence[Tiles], crops_per_field: int | None
) -> None:
    """Print the number of pixels that are in no crop, if any."""
    if left_out := sum(tile.left_out for tile in tiles):
        pixels = int(store.fields.select(pl.col("height") * pl.col("width")).sum().item())
        why = "at the edges of fields (tiling overlap includes them)"
        if crops_per_field is not None:
            why = f"at the edges of fields or left out by crops_per_field {crops_per_field}"
        share = f"{left_out} of {pixels} pixels ({100 * left_out / pixels:.1f} %)"
        info(f"{share} are in no crop, {why}")
