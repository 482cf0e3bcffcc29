"""Lists the wells that the pair objective compares: wells of one label in different batches.

If too few labels have wells in several batches, they are compared across plates, else across wells.
All pairs of a training differ in the same: the right answer must not be the only one of its kind.
Controls have no label.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64

from phenomae.checks import require
from phenomae.crops.pairs import PairSampler, Wells
from phenomae.pretraining.data import Data
from phenomae.progress import count_of
from phenomae.row_filter import match_rows

_ROW, _STORE, _GROUP, _LABELS = "__row", "__store", "__group", "__labels"
_PLATE = (_STORE, "plate")
_WELL = (*_PLATE, "well")
_PLACES = ("batch", "plate", "well", "site", "path")


def list_pairs(data: Data, settings: Any) -> PairSampler:
    """Return the sampler of pairs of training wells.

    Raises ValueError if there is no such column of text, if all wells of a plate have one label, if
    fewer labels than a step needs have two wells, if pairs would be within plates of many, or if
    the stores differ in channels or pixel type.
    """
    column = settings.pair_by
    if len(np.unique(data.group_of)) > 1:
        raise ValueError("pair_weight must be 0 for stores of different channels or pixel types")
    table = _label_fields(data, column, settings.pair_where)
    _require_several_labels(table, column)
    needed = settings.crops_per_step // (2 * settings.pair_crops)
    for keys in (("batch",), _PLATE, _WELL):
        grouped = _number_groups(table, keys)
        if len(usable := _usable(grouped, column)) >= needed:
            break
    else:
        raise ValueError(
            f"pair_weight needs replicates: a step has {count_of(needed, 'pair')} of wells, each "
            f"of another {column}, but only {len(usable)} of {table[column].n_unique()} have two "
            "training wells; lower crops_per_step, raise pair_crops, or set pair_weight to 0"
        )
    if keys == _WELL and table.select(*_PLATE).n_unique() > 1:
        raise ValueError(
            f"too few values of {column} have wells on two plates, so that pairs would teach the "
            "network to know plates: train on one plate (where), or set pair_weight to 0"
        )
    group_of: Int64[np.ndarray, " f"] = np.full(len(data.fields), -1)
    group_of[grouped[_ROW].to_numpy()] = grouped[_GROUP].to_numpy()
    return PairSampler([_group_wells(part) for part in usable], settings.pair_crops, group_of)


def _label_fields(data: Data, column: str, where: str | None) -> pl.DataFrame:
    """Return the training fields with a label that meet `where`, sorted by label."""
    fields = data.fields[data.training]
    rule = "a column of fields.parquet with the names of what was done to wells"
    is_label = column in fields.columns and fields[column].dtype == pl.String
    require(is_label and column not in _PLACES, "pair_by", rule, column)
    kept = ~pl.col("control") & pl.col(column).is_not_null() & (pl.col(column) != "")
    if where is not None:
        try:
            kept &= pl.lit(pl.Series(match_rows(fields, where, "the training fields")))
        except ValueError as error:
            raise ValueError(f"pair_{error}") from None
    rows = {_ROW: pl.Series(data.training), _STORE: pl.Series(data.reader.store_of[data.training])}
    return fields.with_columns(**rows).filter(kept).sort(column, _ROW)


def _require_several_labels(table: pl.DataFrame, column: str) -> None:
    """Raise ValueError if a plate has one label: what its wells share would be the plate."""
    counts = table.group_by(*_PLATE).agg(pl.col(column).n_unique().alias(_LABELS)).sort("plate")
    alone = counts.filter(pl.col(_LABELS) == 1)["plate"].unique(maintain_order=True)
    if len(alone):
        # All of them, as they are to be listed in pair_where.
        plates = f"plate {alone[0]}" if len(alone) == 1 else f"each of plates {', '.join(alone)}"
        raise ValueError(
            f"all wells of {plates} have the same {column}, so that pairs would teach the network "
            "to know plates: leave them out (pair_where), or set pair_weight to 0"
        )


def _number_groups(table: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return the fields whose `keys` are known, with the number of their group."""
    known = table.drop_nulls(list(keys))
    return known.with_columns(pl.struct(*keys).rank("dense").cast(pl.Int64).alias(_GROUP))


def _usable(table: pl.DataFrame, column: str) -> list[pl.DataFrame]:
    """Return the fields of each label that has two groups or more."""
    several = table.filter(pl.col(_GROUP).n_unique().over(column) > 1)
    return several.partition_by(column, maintain_order=True)


def _group_wells(fields: pl.DataFrame) -> Sequence[Wells]:
    """Return the fields of each well of one label, by group."""
    return [
        [well[_ROW].to_numpy() for well in group.partition_by(*_WELL, maintain_order=True)]
        for group in fields.sort(_GROUP, _ROW).partition_by(_GROUP, maintain_order=True)
    ]
