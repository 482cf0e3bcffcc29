"""Measures all fields of a store: what `ingest` measured, and what needs the pixels again.

A stopped call continues at the first plate that is not measured.
"""

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from phenomae.cores import available_cores
from phenomae.images.read import map_in_threads
from phenomae.progress import Advance, track
from phenomae.quality.pixels import brightest_object, power_slope
from phenomae.store.read import Store, read_field
from phenomae.whole_files import write_bytes

MEASURES: dict[str, pl.DataType] = {
    "plate": pl.String(),
    "well": pl.String(),
    "site": pl.Int32(),
    "channel": pl.String(),
    "focus": pl.Float64(),
    "power_slope": pl.Float64(),
    "saturation": pl.Float64(),
    "foreground": pl.Float64(),
    "background": pl.Float64(),
    "mean_intensity": pl.Float64(),
    "highest": pl.Float64(),
    "brightest_object": pl.Float64(),
}
"""One row per field and channel. Intensities are stored pixel values; `background` is the first
percentile of the pixels, `highest` the highest pixel."""


def measure_fields(store: Store, folder: Path, object_size: int) -> pl.DataFrame:
    """Return the measures of all fields of a store, the columns of `MEASURES`.

    Those of each plate are kept in `folder` until all plates are measured.
    """
    rows = store.fields.with_row_index("index")
    with track("measuring", len(rows), "fields") as advance:
        tables = [
            _measure_plate(store, part, folder / f"{plate}.parquet", object_size, advance)
            for (plate,), part in rows.partition_by(
                "plate", as_dict=True, maintain_order=True
            ).items()
        ]
    return pl.concat(tables)


def _measure_plate(
    store: Store, rows: pl.DataFrame, path: Path, object_size: int, advance: Advance
) -> pl.DataFrame:
    if path.exists():
        advance(len(rows))
        return pl.read_parquet(path.read_bytes())
    measured: list[dict[str, Any]] = []
    # Threads, because decompression, transforms and filters release the GIL.
    measure = partial(_measure_field, store, object_size)
    for channels in map_in_threads(measure, rows["index"].to_list(), available_cores()):
        measured += channels
        advance()
    table = pl.DataFrame(measured, MEASURES)
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, buffer.getvalue())
    return table


def _measure_field(store: Store, object_size: int, index: int) -> list[dict[str, Any]]:
    """Return one row per channel of a field."""
    (row,) = store.fields[index].iter_rows(named=True)
    pixels = read_field(store, index)
    return [
        {
            **{name: row[name] for name in ("plate", "well", "site")},
            "channel": name,
            "focus": row["channel_focus"][channel],
            "power_slope": power_slope(pixels[channel]),
            "saturation": row["channel_saturation"][channel],
            "foreground": row["channel_foreground"][channel],
            "background": row["percentile_1"][channel],
            "mean_intensity": float(pixels[channel].mean(dtype=np.float64)),
            "highest": float(pixels[channel].max()),
            "brightest_object": float(brightest_object(pixels[channel], object_size)),
        }
        for channel, name in enumerate(store.channels)
    ]
