"""Finds the profile tables that were named, and opens them by their kind."""

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from phenomae.paths import PathLike
from phenomae.profiles.settings import ImportSettings
from phenomae.profiles.site_files import DeepProfiler, JumpLite, is_jump_lite
from phenomae.profiles.source import Source
from phenomae.profiles.wide_source import WideSource
from phenomae.profiles.wide_tables import TEXT_SUFFIXES, AnnDataTable, ParquetTable, readable

SUFFIXES = (*ParquetTable.suffixes, *TEXT_SUFFIXES, *AnnDataTable.suffixes, ".npz")


def open_tables(
    tables: Sequence[PathLike], settings: ImportSettings, labels: Collection[str] = ()
) -> Source:
    """Open profile tables; a folder stands for all tables in it and below.

    `labels` are columns that are no features, because a setting names them.

    Raises ValueError if there are none, if one cannot be read, or if they are of several kinds or
    have different features.
    """
    paths = find_tables(tables)
    kinds = {path: _find_kind(path) for path in paths}
    first = kinds[paths[0]]
    if other := next((path for path, kind in kinds.items() if kind is not first), None):
        raise ValueError(
            f"{paths[0]} is of {first.kind} and {other} of {kinds[other].kind}: import one kind at "
            "a time"
        )
    if first is WideSource:
        return WideSource(paths, settings.prefixes, labels)
    if settings.features is not None:
        raise ValueError(f"features chooses columns, but {first.kind} have none: leave it out")
    return JumpLite(paths) if first is JumpLite else DeepProfiler(paths)


def find_tables(tables: Sequence[PathLike]) -> list[Path]:
    """Return the files of tables, each once; raises ValueError if there are none."""
    found: dict[Path, None] = {}
    for name in map(Path, tables):
        if name.is_dir():
            inside = sorted(path for path in name.rglob("*") if _is_table(path))
            if not inside:
                raise ValueError(f"{name} has no tables: expected files of {', '.join(SUFFIXES)}")
            found |= dict.fromkeys(inside)
        elif not name.is_file():
            raise ValueError(f"{name}: there is no such table of profiles")
        elif not _is_table(name):
            raise ValueError(f"{name} is no table of profiles: expected {', '.join(SUFFIXES)}")
        else:
            found[name] = None
    return list(found)


def _is_table(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(SUFFIXES) and path.name[0] not in "._"


def _find_kind(path: Path) -> type[WideSource | JumpLite | DeepProfiler]:
    if path.suffix.lower() == ".npz":
        return DeepProfiler
    if path.name.lower().endswith(ParquetTable.suffixes):
        with readable(path), open(path, "rb") as file:
            if is_jump_lite(pl.read_parquet_schema(file)):
                return JumpLite
    return WideSource
