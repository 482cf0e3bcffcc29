"""How crops cover the fields of a store, and what is told of the pixels they leave out."""

from collections.abc import Sequence

import polars as pl

from phenomae.crops.tiles import Tiles, Tiling, tile_field
from phenomae.progress import info
from phenomae.store.read import Store


def cover_fields(screen: Store, crop_size: int, side: int, tiling: Tiling) -> list[Tiles]:
    """Return where the crops of every field lie, `side` of its own pixels each.

    Fields of one size are worked out once. Raises ValueError where a field is smaller than a crop.
    """
    by_size: dict[tuple[int, int], Tiles] = {}
    for row in screen.fields.select("height", "width", "path").iter_rows(named=True):
        sides = row["height"], row["width"]
        if min(sides) < side:
            scaled = f", {side} x {side} of these pixels" if side != crop_size else ""
            raise ValueError(
                f"{screen.path}: {row['path']} has {sides[0]} x {sides[1]} pixels, but the network "
                f"takes crops of {crop_size} x {crop_size}{scaled}: train one on smaller crops"
            )
        if sides not in by_size:
            by_size[sides] = tile_field(*sides, side, tiling)
    return [by_size[sides] for sides in screen.fields.select("height", "width").iter_rows()]


def tell_left_out(screen: Store, tiles: Sequence[Tiles]) -> None:
    """Say how many pixels lie in no crop, if any do."""
    left_out = sum(tile.left_out for tile in tiles)
    if left_out:
        pixels = int(screen.fields.select(pl.col("height") * pl.col("width")).sum().item())
        info(
            f"{left_out} of {pixels} pixels ({100 * left_out / pixels:.1f} %) lie in no crop, at "
            "the rims of fields (--tiling overlap takes them in)"
        )
