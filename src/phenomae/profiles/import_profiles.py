"""The command `import`: turns profile tables of other software into wells.

Feature names and metadata columns are kept. Memory holds the features of all wells once, as
float32, and a block of columns of the tables.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int

from phenomae.artefacts import artefact_folder
from phenomae.cores import available_cores
from phenomae.images.platemap.labels import changed_settings
from phenomae.images.platemap.plate_map import find_metadata
from phenomae.images.platemap.settings import LABELS, PlateMapSettings
from phenomae.images.threads import map_in_threads
from phenomae.missing_features import Complete, choose_complete
from phenomae.paths import PathLike
from phenomae.profiles.columns import are_numbered
from phenomae.profiles.open_tables import open_tables
from phenomae.profiles.settings import ImportSettings
from phenomae.profiles.source import Grouping, Source
from phenomae.profiles.units import count_rows, count_sites, find_twice, find_unit, sum_cells
from phenomae.profiles.well_columns import LabelledWells, label_wells, named_columns
from phenomae.profiles.well_numbers import CELLS
from phenomae.progress import tracked
from phenomae.signatures import Origin, settings_dict
from phenomae.well_files import write_plates
from phenomae.wells import KIND, Wells, write_feature_names, write_plate
from phenomae.whole_files import hash_json, sha256_of, write_bytes

__all__ = ["ImportSettings", "import_command", "import_profiles"]

FILE_PER_PLATE = 4096
"""Wells beyond which plates share files, which takes a quarter of the time."""
WELLS_PER_FILE, _VALUES_PER_FILE = 16384, 2**24
"""Wells of a file that plates share; fewer if they have many features: a file holds 64 MB."""
LEFT_OUT_FEATURES, LEFT_OUT_WELLS = "left_out_features.csv", "left_out_wells.csv"


def import_command(
    table: PathLike,
    wells: PathLike,
    /,
    *more: PathLike,
    settings: ImportSettings = ImportSettings(),  # noqa: B008 (frozen)
    labels: Annotated[PlateMapSettings, LABELS] = PlateMapSettings(),
    overwrite: bool = False,
) -> Wells:
    """Turn profile tables of other software into wells: phenomae import TABLE... WELLS.

    Reads Parquet, CSV and .h5ad files with one row per well, site or cell, as pycytominer,
    CellProfiler (joined by CytoTable), EFAAR and `export` have them, embeddings of RxRx3-core,
    DeepProfiler's .npz files and JUMP-Lite's long tables. A folder stands for all tables in it.

    Parameters
    ----------
    table
        A table of profiles, or a folder of tables; several may be given.
    wells
        Folder to write; the last path.
    more
        More tables before `wells`.
    labels
        How the columns of plate, well, perturbation and control are called in the tables; or a
        plate map that has the labels.
    overwrite
        Replace `wells` if it was made with other settings.
    """
    *tables, out = (table, wells, *more)
    return import_profiles(tables, out, settings=settings, labels=labels, overwrite=overwrite)


def import_profiles(
    tables: PathLike | Sequence[PathLike],
    wells: PathLike,
    /,
    settings: ImportSettings = ImportSettings(),  # noqa: B008 (frozen)
    *,
    labels: PlateMapSettings = PlateMapSettings(),
    overwrite: bool = False,
) -> Wells:
    """Turn profile tables of other software into a wells folder, and return it.

    `tables` are files or folders, `wells` is the folder to write. `labels` names the columns of
    plate, well, perturbation and control, or a plate map. Features and wells that are left out
    because features are missing are listed in two CSV files in the folder.

    Raises ValueError if a table cannot be read, plate or well are not found, tables are of several
    kinds, have different features or contradict each other, or no feature or well is left.
    """
    given = [tables] if isinstance(tables, str) or not isinstance(tables, Sequence) else tables
    source = open_tables(given, settings, named_columns(labels))
    pool = ThreadPoolExecutor(available_cores())
    try:
        hashes = pool.map(sha256_of, source.paths)  # while the labels are read
        named = label_wells(source.paths[0], source.metadata, labels)
        if not len(named.table):
            raise ValueError(f"{source.paths[0]}: no well is left")
        origin = _origin(source, list(hashes), settings, labels, named)
    finally:
        pool.shutdown(cancel_futures=True)
    with artefact_folder(Path(wells), origin, overwrite, resume=False) as folder:
        if folder is not None:
            _write(folder, source, named, settings)
    return Wells(Path(wells))


def _origin(
    source: Source,
    hashes: list[str],
    settings: ImportSettings,
    labels: PlateMapSettings,
    named: LabelledWells,
) -> Origin:
    """Return the settings and sources that determine the wells; `hashes` are of the tables."""
    # Not the paths, except for formats that have plate and well there.
    places = source.metadata.rows() if source.unit else []
    sources = {"tables": hash_json([hashes, places])}
    if named.labels is not None:
        return Origin(KIND, settings_dict(settings), {**sources, **named.labels.sources})
    if labels.metadata is not None:
        sources["metadata"] = sha256_of(find_metadata(source.paths[0], labels.metadata))
    return Origin(KIND, settings_dict(settings) | changed_settings(labels), sources)


def _write(folder: Path, source: Source, named: LabelledWells, settings: ImportSettings) -> None:
    table, rows = named.table, named.well
    names = table.select(pl.format("plate {}, well {}", "plate", "well")).to_series().to_list()
    unit = source.unit or find_unit(source.paths[0], source.metadata, rows, settings.rows)
    # A file of one site has all its cells.
    if twice := find_twice(source.metadata, rows, "sites" if source.unit else unit):
        well, places = names[int(rows[twice[0]])], [source.origin(row) for row in twice]
        raise ValueError(
            f"{well}: the same {'cell' if unit == 'cells' and not source.unit else 'site'} is in "
            f"{places[0]} and in {places[1]}: leave one of them out"
        )
    grouping = Grouping(rows, len(table), names, unit, settings.statistic)
    profiles, cells = source.aggregate(grouping, folder)
    table = _count(table, source, grouping, cells)
    chosen = _choose(table, profiles, source.names, settings.max_missing)
    if chosen is not None:
        _write_left_out(folder, table, chosen)
    kept = source.names if chosen is None else chosen.features
    columns = None if kept == source.names else np.flatnonzero(np.isin(source.names, kept))
    _write_plates(folder, table, profiles, columns, None if chosen is None else chosen.wells)
    if not are_numbered(kept):  # without a feature, the numbers of the others have a gap
        write_feature_names(folder, kept)


def _count(table: pl.DataFrame, source: Source, rows: Grouping, cells: Any) -> pl.DataFrame:
    """Return the wells with their numbers of sites and cells, as far as rows tell them."""
    counted = count_rows(rows.well, rows.count)
    sites = None
    if rows.unit == "sites" or source.unit is not None:
        sites = counted
        if source.unit is None:
            cells = sum_cells(source.metadata, rows.well, rows.count)
    elif rows.unit == "cells":
        cells, sites = counted, count_sites(source.metadata, rows.well, rows.count)
    added = {"sites": sites, CELLS: cells}
    return table.with_columns(
        pl.Series(name, values, dtype=pl.Int32)
        for name, values in added.items()
        if values is not None
    )


def _choose(
    table: pl.DataFrame,
    profiles: Float32[np.ndarray, "w d"],
    names: Sequence[str],
    max_missing: float,
) -> Complete | None:
    """Return which features and wells are kept; None if nothing is missing."""
    finite: Bool[np.ndarray, "w d"] = np.isfinite(profiles)
    return None if finite.all() else choose_complete(table, finite, names, max_missing)


def _write_left_out(folder: Path, table: pl.DataFrame, chosen: Complete) -> None:
    features = pl.DataFrame(
        {"feature": list(chosen.left_out), "wells_missing": list(chosen.left_out.values())},
        schema={"feature": pl.String, "wells_missing": pl.Int64},
    )
    wells = table.filter(~chosen.wells).select("plate", "well")
    for name, left_out in ((LEFT_OUT_FEATURES, features), (LEFT_OUT_WELLS, wells)):
        write_bytes(folder / name, left_out.write_csv().encode())


def _write_plates(
    folder: Path,
    table: pl.DataFrame,
    profiles: Float32[np.ndarray, "w d"],
    columns: Int[np.ndarray, " k"] | None,
    wells: Bool[np.ndarray, " w"] | None,
) -> None:
    """Write all features and wells, or those that are kept: a file per plate, or per few plates.

    Wells are sorted by plate, so that the rows of a plate are a slice and not a copy.
    """
    sizes = table.group_by("plate", maintain_order=True).len()["len"].to_list()
    is_large = len(table) > FILE_PER_PLATE
    at_least = min(WELLS_PER_FILE, _VALUES_PER_FILE // profiles.shape[1]) if is_large else 0
    slices = list(_slices(sizes, at_least))

    def write(index: int) -> None:
        rows = slices[index]
        its, by_column = table[rows], profiles.T[:, rows]
        if columns is not None:
            by_column = by_column[columns]
        if wells is not None and not wells[rows].all():
            its, by_column = its.filter(wells[rows]), by_column.compress(wells[rows], axis=1)
        if not len(its):
            return
        if is_large:
            write_plates(folder / f"plates-{index:04d}.parquet", its, by_column.T)
        else:
            write_plate(folder, its, by_column.T)

    # More threads than cores, because they wait for the disk.
    written = map_in_threads(write, range(len(slices)), available_cores() + 2)
    for _ in tracked(written, "write", len(slices), "files"):
        pass


def _slices(sizes: Sequence[int], at_least: int) -> Iterator[slice]:
    """Yield the rows of whole plates, whose numbers of wells are `sizes`."""
    start = end = 0
    for size in sizes:
        end += size
        if end - start >= at_least:
            yield slice(start, end)
            start = end
    if end > start:
        yield slice(start, end)
