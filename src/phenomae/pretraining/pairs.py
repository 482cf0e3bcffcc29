"""Lists the wells that the pair objective compares: wells of one label, as far apart as there are.

The wells of a label are grouped by batch if the label has wells in several batches, else by plate,
else each well is a group. Controls have no label.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from phenomae.checks import require
from phenomae.crops.pairs import PairSampler, Wells
from phenomae.pretraining.data import Data
from phenomae.row_filter import match_rows

_ROW, _STORE = "__row", "__store"
_APART = (("batch",), (_STORE, "plate"), (_STORE, "plate", "well"))
"""What pairs of wells differ in, the best first."""


def list_pairs(data: Data, settings: Any) -> PairSampler:
    """Return the sampler of pairs of training wells.

    Raises ValueError if there is no such column, if all wells of a plate have one label, if fewer
    labels than a step needs have two wells, or if the stores differ in channels or pixel type.
    """
    column = settings.pair_by
    require(column in data.fields.columns, "pair_by", "a column of fields.parquet", column)
    if len(np.unique(data.group_of)) > 1:
        raise ValueError("pair_weight must be 0 for stores of different channels or pixel types")
    table = _label_fields(data, column)
    _require_several_labels(table, column)
    if settings.pair_where is not None:
        table = table.filter(match_rows(table, settings.pair_where, "the training fields"))
    labels = [_group_wells(part) for part in table.partition_by(column, maintain_order=True)]
    usable = [groups for groups in labels if len(groups) > 1]
    needed = settings.crops_per_step // (2 * settings.pair_crops)
    if len(usable) < needed:
        raise ValueError(
            f"pair_weight needs replicates: a step has {needed} pairs of wells, each of another "
            f"{column}, but only {len(usable)} of {len(labels)} have two training wells; lower "
            "crops_per_step, raise pair_crops, or set pair_weight to 0"
        )
    return PairSampler(usable, settings.pair_crops)


def _label_fields(data: Data, column: str) -> pl.DataFrame:
    """Return the training fields with a label, sorted by label."""
    columns = {_ROW: pl.int_range(pl.len()), _STORE: pl.Series(data.reader.store_of)}
    table = data.fields.with_columns(**columns)[data.training]
    return table.filter(~pl.col("control") & pl.col(column).is_not_null()).sort(column, _ROW)


def _require_several_labels(table: pl.DataFrame, column: str) -> None:
    """Raise ValueError if a plate has one label: what its wells share would be the plate."""
    counts = table.group_by(_STORE, "plate").agg(pl.col(column).n_unique()).sort("plate")
    alone = counts.filter(pl.col(column) == 1)
    if len(alone):
        raise ValueError(
            f"all wells of plate {alone['plate'][0]} have the same {column}, so that pairs would "
            "teach the network to know plates: set pair_weight to 0, or leave out the plate (where)"
        )


def _group_wells(fields: pl.DataFrame) -> Sequence[Wells]:
    """Return the wells of one label in the groups that are the farthest apart."""
    for keys in _APART:
        groups = fields.partition_by(*keys, maintain_order=True)
        if len(groups) > 1:
            break
    else:
        return []
    return [
        [
            well[_ROW].to_numpy()
            for well in group.partition_by(_STORE, "plate", "well", maintain_order=True)
        ]
        for group in groups
    ]
