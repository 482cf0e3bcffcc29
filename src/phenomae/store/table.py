"""A store's tables: `fields.parquet`, one row per field, and `ingest-report.csv`.

`fields.parquet` has the columns `records.FIELD_COLUMNS`: the treatment of the field's well, the
field's path and size, its intensity windows, checksum and quality measures.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from phenomae.images.fields import Problem, RawPlates
from phenomae.images.read import FieldHeader
from phenomae.progress import count_of
from phenomae.records import FIELD_COLUMNS, PLATE_MAP_COLUMNS, split_well
from phenomae.signatures import verify_content
from phenomae.store.files import read_file, write_file
from phenomae.store.read import REPORT
from phenomae.urls import below

if TYPE_CHECKING:
    from phenomae.store.inventory import Inventory

_REPORT_COLUMNS = {name: FIELD_COLUMNS[name] for name in ("plate", "well", "site")}
_REPORT_COLUMNS |= {"problem": pl.String()}


def field_table(
    raw: RawPlates, headers: Sequence[FieldHeader], plate_map: pl.DataFrame | None
) -> pl.DataFrame:
    """Return the columns of `fields.parquet` that need no pixels, in the order of `raw.fields`.

    Wells that are not in the plate map have no treatment (null) and are no controls.
    """
    counts: dict[tuple[str, str], int] = {}
    rows = []
    for field, header in zip(raw.fields, headers, strict=True):
        row, column = split_well(field.well)
        index = counts.get((field.plate, field.well), 0)
        counts[field.plate, field.well] = index + 1
        path = f"{field.plate}.zarr/{row}/{column}/{index}"
        rows.append((field.plate, field.well, field.site, path, header.height, header.width))
    names = ("plate", "well", "site", "path", "height", "width")
    table = pl.DataFrame(rows, {name: FIELD_COLUMNS[name] for name in names}, orient="row")
    if plate_map is None:
        plate_map = pl.DataFrame(schema=PLATE_MAP_COLUMNS)
    joined = table.join(plate_map, on=["plate", "well"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("control").fill_null(False))


def write_table(location: Path | str, table: pl.DataFrame) -> None:
    """Write a table as Parquet, completely or not at all."""
    write_file(location, encode_table(table))


def encode_table(table: pl.DataFrame) -> bytes:
    """Return the bytes of a table as Parquet."""
    # Encoded in memory: when polars writes to a full disk, its error says "Invalid thrift".
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()


def report_problems(problems: Sequence[Problem]) -> bytes:
    """Return the content of ingest-report.csv, one row per problem of a field that is left out."""
    rows = [(item.plate, item.well, item.site, item.what) for item in problems]
    return pl.DataFrame(rows, _REPORT_COLUMNS, orient="row").write_csv().encode()


def parse_problems(report: bytes) -> list[Problem]:
    """Return the problems listed in an ingest-report.csv."""
    rows = pl.read_csv(io.BytesIO(report), schema=_REPORT_COLUMNS)
    return [Problem(what, plate, well, site) for plate, well, site, what in rows.iter_rows()]


def read_problems(location: Path | str, signature: dict[str, Any]) -> list[Problem]:
    """Return the problems listed in the ingest-report.csv of a store.

    Raises ValueError if the report is missing or has changed since it was written.
    """
    path = below(location, REPORT)
    try:
        content = read_file(path)
        verify_content(content, REPORT, location, signature)
        return parse_problems(content)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: the store is damaged") from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a table: {reason}") from None


def print_inventory(inventory: "Inventory") -> None:
    """Print the plates that an ingest would read, one line per plate, and their problems."""
    raw, headers, size_um = inventory.raw, inventory.headers, inventory.pixel_size_um
    kinds = [f"{header.height}x{header.width} {header.dtype}" for header in headers]
    sizes = [sum(header.bytes) for header in headers]
    plates = (
        inventory.table.with_columns(pl.Series("kind", kinds), pl.Series("bytes", sizes))
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
    print(f"channels: {', '.join(raw.channels)}")
    wells = "the layout's own" if raw.wells is not None else "none"
    print(f"plate map: {inventory.plate_map or wells}")
    print(f"pixel size: {size_um or 'not known'}{' micrometres' * bool(size_um)}")
    lines = [plates.columns, *([str(value) for value in row] for row in plates.iter_rows())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip())
    fields = len(raw.fields)
    counts = {"plate": len(plates), "field": fields, "image": fields * len(raw.channels)}
    print(f"in all: {', '.join(count_of(count, noun) for noun, count in counts.items())}")
    # With on_bad = error they are listed by the error that follows.
    for problem in inventory.problems if inventory.settings.on_bad == "skip" else ():
        print(f"wrong: {problem}")
