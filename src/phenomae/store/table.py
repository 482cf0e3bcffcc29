"""fields.parquet: one row a field, what its well is, where it lies and how it became what it is."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.artefacts import write_bytes
from phenomae.images.fields import RawScreen
from phenomae.images.platemap import MAP_COLUMNS
from phenomae.images.read import FieldHeader
from phenomae.records import FIELD_COLUMNS, split_well


def field_table(
    screen: RawScreen, headers: Sequence[FieldHeader], plate_map: pl.DataFrame | None
) -> pl.DataFrame:
    """Return the table as far as it is known before a pixel is read, fields in their order.

    Wells that the plate map lacks have empty columns and are no controls.
    """
    counts: dict[tuple[str, str], int] = {}
    rows = []
    for field, header in zip(screen.fields, headers, strict=True):
        row, column = split_well(field.well)
        index = counts.get((field.plate, field.well), 0)
        counts[field.plate, field.well] = index + 1
        path = f"{field.plate}.zarr/{row}/{column}/{index}"
        rows.append((field.plate, field.well, field.site, path, header.height, header.width))
    names = ("plate", "well", "site", "path", "height", "width")
    table = pl.DataFrame(rows, {name: FIELD_COLUMNS[name] for name in names}, orient="row")
    if plate_map is None:
        plate_map = pl.DataFrame(schema=MAP_COLUMNS)
    joined = table.join(plate_map, on=["plate", "well"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("control").fill_null(False))


def write_table(
    path: Path,
    table: pl.DataFrame,
    windows: dict[str, Float64[np.ndarray, "c 2"]],
    checksums: Sequence[str],
) -> None:
    """Write the finished table; `windows` are per plate those of the pixels as they are stored."""
    lows, highs = ([windows[plate][:, end].tolist() for plate in table["plate"]] for end in (0, 1))
    columns = {"window_low": lows, "window_high": highs, "checksum": list(checksums)}
    whole = table.with_columns(
        pl.Series(name, values, dtype=FIELD_COLUMNS[name]) for name, values in columns.items()
    )
    buffer = io.BytesIO()
    whole.select(list(FIELD_COLUMNS)).write_parquet(buffer)
    write_bytes(path, buffer.getvalue())


def print_plan(
    screen: RawScreen, headers: Sequence[FieldHeader], table: pl.DataFrame, plate_map: Path | None
) -> None:
    """Print what an ingest would read, one line a plate, on standard output."""
    kinds = [f"{header.height}x{header.width} {header.dtype}" for header in headers]
    sizes = [sum(header.bytes) for header in headers]
    plates = (
        table.with_columns(pl.Series("kind", kinds), pl.Series("bytes", sizes))
        .group_by("plate", maintain_order=True)
        .agg(
            wells=pl.col("well").n_unique(),
            fields=pl.len(),
            sites=pl.col("site").n_unique(),
            controls=pl.col("well").filter(pl.col("control")).n_unique(),
            perturbations=pl.col("perturbation").drop_nulls().n_unique(),
            size=pl.col("kind").unique(maintain_order=True).str.join(", "),
            mb=(pl.col("bytes").sum() / 1e6).round(1),
        )
    )
    print(f"channels: {', '.join(screen.channels)}")
    print(f"plate map: {plate_map or 'none'}")
    lines = [plates.columns, *([str(value) for value in row] for row in plates.iter_rows())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip())
    fields = len(screen.fields)
    print(f"in all: {len(plates)} plates, {fields} fields, {fields * len(screen.channels)} files")
