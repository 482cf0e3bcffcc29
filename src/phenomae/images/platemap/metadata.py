"""Joins a table of perturbations, such as JUMP's `external_metadata`, to a plate map.

A plate map of JUMP names a sample for each well (`broad_sample`); genes, compounds and controls of
the samples are in another table, which all plate maps share.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from phenomae.images.fields import raise_problems
from phenomae.progress import count_of, info

_SHOWN = 4  # names without a row that are printed


def join_metadata(
    path: Path, table: pl.DataFrame, beside: Path, metadata: pl.DataFrame, column: str | None
) -> pl.DataFrame:
    """Return the plate map `table` with the columns of `metadata`, which has one row per sample.

    The tables are of the files `path` and `beside`. `column` names the shared column that is
    matched; None for the only one whose values are unique in `metadata`. Names are compared without
    regard to case and to a prefix `Metadata_`. A cell that both tables have must agree. Samples
    without a row, and rows without a well, are printed.

    Raises ValueError if the column is missing or ambiguous, if a sample has two rows, or if the
    tables contradict each other.
    """
    metadata = metadata.unique(maintain_order=True)
    names = {_plain(name): name for name in table.columns}
    _require_one_name(beside, metadata.columns)
    metadata = metadata.rename({name: names.get(_plain(name), name) for name in metadata.columns})
    key = _find_key(path, table, beside, metadata, column)
    _require_unique(beside, metadata, key)
    # Empty cells match, too: JUMP describes the wells without a sample in a row without one.
    joined = table.join(
        metadata, on=key, how="left", nulls_equal=True, maintain_order="left", suffix=" beside"
    )
    shared = [name for name in metadata.columns if name in table.columns and name != key]
    for name in shared:
        _require_agreement(path, joined, beside, name, key)
    _report_unmatched(path, table, beside, metadata, key)
    filled = joined.with_columns(pl.coalesce(name, f"{name} beside").alias(name) for name in shared)
    return filled.drop(f"{name} beside" for name in shared)


def _plain(name: str) -> str:
    return name.lower().removeprefix("metadata_")


def _require_one_name(beside: Path, columns: Sequence[str]) -> None:
    """Raise ValueError if two columns differ only in case or in the prefix `Metadata_`."""
    found: dict[str, str] = {}
    for name in columns:
        other = found.setdefault(_plain(name), name)
        if other != name:
            raise ValueError(f"{beside} has the columns {other!r} and {name!r}: remove one of them")


def _find_key(
    path: Path, table: pl.DataFrame, beside: Path, metadata: pl.DataFrame, column: str | None
) -> str:
    """Return the column by which the tables are joined."""
    shared = [name for name in metadata.columns if name in table.columns]
    if column is not None:
        named = [name for name in shared if _plain(name) == _plain(column)]
        if not named:
            raise ValueError(
                f"{path} and {beside} do not share a column {column!r} (setting metadata_column): "
                f"{_list_shared(shared)}"
            )
        return named[0]
    unique = [name for name in shared if not metadata[name].is_duplicated().any()]
    keys = unique or shared
    if len(keys) != 1:
        raise ValueError(
            f"{beside} is joined to {path} by a shared column, but {_list_shared(keys)}: name the "
            "column with the setting metadata_column"
        )
    info(f"{beside}: joined to {path} by {keys[0]}")
    return keys[0]


def _list_shared(names: Sequence[str]) -> str:
    return f"they share {', '.join(names)}" if names else "they share none"


def _require_unique(beside: Path, metadata: pl.DataFrame, key: str) -> None:
    twice = metadata.filter(pl.col(key).is_duplicated())[key].unique(maintain_order=True)
    if len(twice):
        problems = [f"two different rows have the {key} {name or ''!r}" for name in twice]
        raise_problems(beside, problems, " (keep one row of each)")


def _require_agreement(path: Path, joined: pl.DataFrame, beside: Path, name: str, key: str) -> None:
    other = f"{name} beside"
    differing = joined.filter((pl.col(name) != pl.col(other)).fill_null(False))
    if len(differing):
        row = differing.row(0, named=True)
        raise ValueError(
            f"{path} has {name} {row[name]!r} for the {key} {row[key]!r}, but {beside} has "
            f"{row[other]!r}: take the column out of one of them"
        )


def _report_unmatched(
    path: Path, table: pl.DataFrame, beside: Path, metadata: pl.DataFrame, key: str
) -> None:
    known, used = set(metadata[key]), set(table[key])
    missing = table.filter(pl.Series([name not in known for name in table[key]]))
    if len(missing):
        names = list(dict.fromkeys(name or "an empty cell" for name in missing[key]))
        more = ", ..." if len(names) > _SHOWN else ""
        rows = f"{len(missing)} of {count_of(len(table), 'row')}"
        info(f"{path}: no {key} of {beside} in {rows}: {', '.join(names[:_SHOWN])}{more}")
    if unused := len(known - used):
        info(f"{beside}: {unused} of {count_of(len(known), 'row')} are of no well of {path}")
