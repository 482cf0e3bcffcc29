"""Crops of fields: which one was picked, and which look like it."""

from typing import NamedTuple

import polars as pl

from phenomae.evaluation.nearest_crops import Crop, search_crops
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.state import read_number


class Picked(NamedTuple):
    """A square crop of a field, in pixels of the store."""

    field: int
    top: int
    left: int
    side: int


def parse_crop(inputs: Inputs, text: str) -> tuple[int, int, int] | None:
    """Return field, row and column of a point as the address has it; None if there is none."""
    match [read_number(word) for word in text.split(",")]:
        case [int(field), int(row), int(column)]:
            store = inputs.on_map.store
            is_there = store is not None and field < len(store.fields)
            return (field, row, column) if is_there else None
    return None


def crop_around(inputs: Inputs, point: tuple[int, int, int], side: int) -> Picked | None:
    """Return the crop with a point in its center, moved into the field; None if it is too large."""
    assert inputs.on_map.store is not None
    field, row, column = point
    height, width = inputs.on_map.store.fields.select("height", "width").row(field)
    if side > min(height, width):
        return None
    top, left = (
        min(max(place - side // 2, 0), length - side)
        for place, length in ((row, height), (column, width))
    )
    return Picked(field, top, left, side)


def token_crop_at(inputs: Inputs, point: tuple[int, int, int]) -> Picked | None:
    """Return the crop with tokens whose center is nearest to a point; None if there is none."""
    assert inputs.on_map.store is not None
    assert inputs.tokens is not None
    field, row, column = point
    plate = inputs.on_map.store.fields["plate"][field]
    if plate not in inputs.tokens.plates:
        return None
    crops = inputs.tokens.crops(plate).filter(pl.col("field") == field)
    if crops.is_empty():
        return None
    half = pl.col("size") / 2
    away = (pl.col("top") + half - row) ** 2 + (pl.col("left") + half - column) ** 2
    nearest = crops.sort(away, maintain_order=True).select("field", "top", "left", "size")
    return Picked(*nearest.row(0))


def find_similar(inputs: Inputs, picked: Picked, k: int = 12) -> pl.DataFrame:
    """Return the crops that are most alike to one with tokens; see `nearest_crops`.

    Crops of the same well are left out, because they are alike for many reasons.
    """
    assert inputs.on_map.store is not None
    assert inputs.tokens is not None
    plate, well, site = inputs.on_map.store.fields.select("plate", "well", "site").row(picked.field)
    crop = Crop(plate, well, site, picked.top, picked.left)
    return search_crops(inputs.tokens, crop, k, "well")
