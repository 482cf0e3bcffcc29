"""The files of a wells folder: one table per plate, and the names of the features.

Features are columns `feature_0000`, `feature_0001`, ..., so that wells of all sources have the same
columns; `features.csv` has their names, if they have any.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32

from phenomae.records import (
    METADATA,
    WELL_COLUMNS,
    cast_columns,
    check_name,
    drop_nan,
    feature_names,
)
from phenomae.whole_files import whole_file, write_bytes

FEATURE_NAMES = "features.csv"


def plate_path(folder: Path, plate: str) -> Path:
    """Return the file of a plate: `FOLDER/PLATE.parquet`."""
    return folder / f"{check_name(plate, 'plate')}.parquet"


def write_plate(folder: Path, table: pl.DataFrame, features: Float32[np.ndarray, "n d"]) -> None:
    """Write the wells of one plate.

    `table` holds the columns of `WELL_COLUMNS` and any of `Metadata_...`, in any order.
    """
    assert len(table) == len(features) > 0
    assert table["plate"].n_unique() == 1
    vectors = pl.from_numpy(
        np.asarray(features, dtype=np.float32),
        schema=feature_names(features.shape[1]),
        orient="row",  # polars guesses, and wrongly if there are as many wells as features
    )
    # Encoded in memory and then written by `write_bytes`, because libraries report a full disk in
    # different ways, or not at all.
    buffer = io.BytesIO()
    pl.concat([_order_columns(table), vectors], how="horizontal").write_parquet(buffer)
    write_bytes(plate_path(folder, table["plate"][0]), buffer.getvalue())


def write_plates(path: Path, table: pl.DataFrame, features: Float32[np.ndarray, "n d"]) -> None:
    """Write the wells of several plates into one file, features without compression.

    Each column of each file costs about 20 microseconds, more than its numbers if they are few, and
    measured numbers hardly compress. pyarrow takes a third of the time of polars for it, and raises
    what a file of Python raises.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert len(table) == len(features) > 0
    records = _order_columns(table).to_arrow()
    names = feature_names(features.shape[1])
    # Not pa.array, which imports pandas. Columns that are contiguous are not copied.
    columns = (np.ascontiguousarray(column, dtype=np.float32) for column in features.T)
    vectors = [
        pa.Array.from_buffers(pa.float32(), len(table), [None, pa.py_buffer(column)])
        for column in columns
    ]
    whole = pa.table([*records.columns, *vectors], names=[*records.column_names, *names])
    # Its stubs know one compression for all columns only.
    options: Any = dict.fromkeys(records.column_names, "zstd") | dict.fromkeys(names, "none")
    with whole_file(path) as partial, open(partial, "wb", buffering=0) as file:
        pq.write_table(
            whole,
            file,
            compression=options,
            use_dictionary=records.column_names,
            write_statistics=records.column_names,
        )


def _order_columns(table: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of wells without the features, in the order of the files."""
    return table.select(
        *(pl.col(name).cast(kind) for name, kind in WELL_COLUMNS.items()),
        *extra_columns(table.columns),
    )


def extra_columns(names: Iterable[str]) -> list[str]:
    """Return the columns that wells keep beside `WELL_COLUMNS`: those called `Metadata_...`."""
    return [name for name in names if name.startswith(METADATA)]


def write_feature_names(folder: Path, names: Sequence[str]) -> None:
    """Write what the columns `feature_0000` ... hold to `features.csv`: columns feature, name."""
    table = pl.DataFrame({"feature": feature_names(len(names)), "name": list(names)})
    write_bytes(folder / FEATURE_NAMES, table.write_csv().encode())


def read_feature_names(folder: Path, width: int) -> list[str] | None:
    """Return the names of the features of a wells folder; None if they are only numbered.

    Raises ValueError if `features.csv` does not name `width` features, each once.
    """
    path = folder / FEATURE_NAMES
    if not path.exists():
        return None
    try:
        table = pl.read_csv(path, infer_schema=False, glob=False)
        names = table["name"].to_list()
        whole = table["feature"].to_list() == feature_names(width)
    except (pl.exceptions.PolarsError, OSError):
        names, whole = [], False
    if not whole or None in names or len(set(names)) < width:
        raise ValueError(f"{path} does not name each of the {width} features of the wells once")
    return names


def read_plate(path: Path) -> pl.DataFrame:
    """Return the wells in one file of a wells folder; raises ValueError if it is no such file."""
    with _parquet_errors(path):
        # A plate may be called P[1]. Naming hundreds of columns takes as long as reading them.
        table = pl.read_parquet(path, glob=False)
    return drop_nan(cast_columns(table, list_columns(path, table.schema), str(path)))


def features_of(plate: pl.DataFrame) -> Float32[np.ndarray, "m d"]:
    """Return the features in a table of `read_plate`."""
    return plate.select(pl.exclude(*WELL_COLUMNS, *extra_columns(plate.columns))).to_numpy()


def read_records(path: Path) -> tuple[pl.DataFrame, dict[str, pl.DataType]]:
    """Do as `read_plate` without the features; also return all columns with their types."""
    with _parquet_errors(path):
        with open(path, "rb") as file:  # a name that is given could be a wild card
            kinds = list_columns(path, pl.read_parquet_schema(file))
        kept = [name for name in kinds if not name.startswith("feature_")]
        table = pl.read_parquet(path, columns=kept, glob=False)
    return drop_nan(cast_columns(table, {name: kinds[name] for name in kept}, str(path))), kinds


def list_columns(path: Path, found: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Return the columns of a file of wells with their types, in order; `found` are those it has.

    Raises ValueError if it has other columns than a file of wells.
    """
    extra = {name: found[name] for name in extra_columns(found)}
    width = len({*found} - {*WELL_COLUMNS, *extra})
    expected = {**WELL_COLUMNS, **extra, **dict.fromkeys(feature_names(width), pl.Float32())}
    if wrong := sorted({*expected} ^ {*found}):
        raise ValueError(f"{path} is not a wells file: columns missing or unknown: {wrong}")
    return expected


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    """Raise ValueError for what polars raises if a file cannot be read."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path} is not a Parquet file that can be read: {error}") from None


def read_features(path: Path, plate: str, is_shared: bool) -> Float32[np.ndarray, "m d"]:
    """Return the features of a plate's wells in a file, which other plates may share."""
    if is_shared:
        found = path.stat()
        table = _read_shared(path, (found.st_mtime_ns, found.st_size))
    else:
        table = read_plate(path)
    of_plate = table["plate"] == plate
    return features_of(table if of_plate.all() else table.filter(of_plate))


@lru_cache(maxsize=1)
def _read_shared(path: Path, stamp: tuple[int, int]) -> pl.DataFrame:
    """Do as `read_plate`, once for all plates of a file, which are mostly read in turn."""
    return read_plate(path)
