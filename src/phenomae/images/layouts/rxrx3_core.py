"""RxRx3-core: JPEG 2000 images in Parquet files, one row a channel."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from phenomae.images.fields import Listing, Place, Problem, RawFile
from phenomae.images.layouts.index_files import find_indices
from phenomae.images.layouts.rxrx3_wells import name_plate, read_wells
from phenomae.images.pixels.open_image import PARQUET_COLUMN
from phenomae.images.settings import LayoutSettings
from phenomae.records import check_name, normalize_well

_KEY = "__key__"
_METADATA = re.compile(r"metadata.*\.(csv|csv\.gz|parquet)")
# gene-001/Plate1/AA15_s1: experiment, plate, well, site; the channel follows.
_FIELD = re.compile(r"([^/]+)/Plate0*([0-9]{1,6})/([A-Z]{1,2}[0-9]{1,2})_s([0-9]{1,6})", re.ASCII)
_CHANNEL = re.compile(r"([0-9]{1,3})(?:\.jp2)?", re.ASCII)

_Field = tuple[str, str, int]


def find_rxrx3_core(raw: Path) -> list[Path]:
    """Return the Parquet files of images at or below `raw`, behind the table of the wells.

    The table is `metadata*.csv` (or `.csv.gz`, `.parquet`) in `raw`, or `metadata_rxrx3*` in the
    folder above, and need not be there.
    """
    home = raw.parent if raw.is_file() else raw
    start = home if _is_metadata(raw) else raw
    paths = find_indices(start, lambda name: name.endswith(".parquet"))
    states = {path: _holds_images(path) for path in paths if not _is_metadata(path)}
    folders = {path.parent for path, state in states.items() if state}
    # A file that is cut short cannot be told: beside others it is one of them, and named later.
    shards = [
        path for path, state in states.items() if state is not False and path.parent in folders
    ]
    if not shards:
        return []
    beside = [path for path in sorted(home.iterdir()) if _is_metadata(path)]
    above = sorted(filter(_is_metadata, home.absolute().parent.glob("metadata_rxrx3*")))
    return [*(beside or above)[:1], *shards]


def list_rxrx3_core(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images whose `__key__` is `gene-001/Plate1/AA15_s1_3`: channel 3 of the site 1.

    Plates are called EXPERIMENT_Plate1, for the plates of every experiment are numbered from 1. The
    wells' batch is the experiment. Of CRISPR wells the perturbation is the guide; of others it is
    compound and concentration, `Dequalinium_0.25`. Controls are the wells of `EMPTY_control`.

    Raises ValueError where the table of the wells lacks a column, or has a row that cannot be
    understood; images that have no such key are problems of the listing.
    """
    files: list[RawFile] = []
    problems: list[Problem] = []
    for shard in indices:
        if not _is_metadata(shard):
            found, wrong = _list_shard(shard)
            files += found
            problems += wrong
    tables = [path for path in indices if _is_metadata(path)]
    if not tables:
        return Listing(files, problems=problems)
    imaged = {(file.plate, file.well) for file in files}
    wells = read_wells(tables[0])
    here = wells.filter(pl.Series([key in imaged for key in wells.select("plate", "well").rows()]))
    elsewhere = len(wells) - len(here)
    return Listing(
        files,
        wells=here,
        passed_over={"wells of the metadata without images here": elsewhere} if elsewhere else {},
        problems=problems,
    )


def _is_metadata(path: Path) -> bool:
    return _METADATA.fullmatch(path.name.lower()) is not None


def _holds_images(path: Path) -> bool | None:
    """Say whether a file is Parquet with keys and images; None where it cannot be read."""
    try:
        return {_KEY, PARQUET_COLUMN} <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return None


def _list_shard(shard: Path) -> tuple[list[RawFile], list[Problem]]:
    try:
        with pq.ParquetFile(shard) as opened:
            table = opened.read(columns=[_KEY])
        table.validate(full=True)
        keys = table[_KEY].cast(pa.string()).to_pylist()
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        return [], [Problem(f"{shard} is not a Parquet file that can be read: {reason}")]
    files: list[RawFile] = []
    problems: list[Problem] = []
    fields: dict[str, _Field] = {}  # a field's channels share all but the last number
    for row, key in enumerate(keys):
        start, _, channel = (key or "").rpartition("_")
        try:
            if start not in fields:
                fields[start] = _read_field(start)
            match = _CHANNEL.fullmatch(channel)
            if match is None:
                raise ValueError(f"expected a channel's number, not {channel!r}")
        except ValueError as error:
            problems.append(
                Problem(f"{shard}, row {row}: {_KEY} {key!r} is not understood: {error}")
            )
            continue
        place = Place(str(shard), row)
        files.append(RawFile(*fields[start], match[1], place, acquisition=str(shard.parent)))
    return sorted(files, key=lambda file: (len(file.channel), file.channel)), problems


def _read_field(text: str) -> _Field:
    """Return plate, well and site from the beginning of a key."""
    match = _FIELD.fullmatch(text)
    if match is None:
        raise ValueError("expected EXPERIMENT/Plate1/AA15_s1_3")
    plate = check_name(name_plate(match[1], match[2]), "plate")
    return plate, normalize_well(match[3]), int(match[4])
