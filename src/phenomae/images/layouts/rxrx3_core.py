"""RxRx3-core: JPEG 2000 images in Parquet files, with one row per channel of a field.

The images are read in place: a `Place` names the file and the row.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from phenomae.images.fields import Listing, Place, Problem, RawFile
from phenomae.images.layouts.index_files import find_indices
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.rxrx3_wells import name_plate, read_wells
from phenomae.images.pixels.open_image import PARQUET_COLUMN
from phenomae.images.settings import LayoutSettings
from phenomae.records import check_name, normalize_well

_KEY = "__key__"
_METADATA = re.compile(r"metadata.*\.(csv|csv\.gz|parquet)")
# gene-001/Plate1/AA15_s1: experiment, plate, well and site; the channel follows in the key.
_FIELD = re.compile(r"([^/]+)/Plate0*([0-9]{1,6})/([A-Z]{1,2}[0-9]{1,2})_s([0-9]{1,6})", re.ASCII)
_CHANNEL = re.compile(r"([0-9]{1,3})(?:\.jp2)?", re.ASCII)

_Field = tuple[str, str, int]


def find_rxrx3_core(raw: Path) -> list[Path]:
    """Return the metadata table, if there is one, and the Parquet files with images below `raw`.

    The table is `metadata*.csv` (or `.csv.gz`, `.parquet`) in `raw`, or `metadata_rxrx3*` in the
    folder above.
    """
    home = raw.parent if raw.is_file() else raw
    start = home if _is_metadata(raw) else raw
    paths = find_indices(start, lambda name: name.endswith(".parquet"))
    # The published folder also has Parquet files of embeddings; only the schema tells.
    states = {path: _holds_images(path) for path in paths if not _is_metadata(path)}
    folders = {path.parent for path, state in states.items() if state}
    # A truncated file has no schema. Beside files with images it is taken for one of them, so that
    # `list_rxrx3_core` reports it instead of losing its fields in silence.
    shards = [
        path for path, state in states.items() if state is not False and path.parent in folders
    ]
    if not shards:
        return []
    beside = [path for path in sorted(home.iterdir()) if _is_metadata(path)]
    # Only by the data set's own name: the folder above may hold anybody's metadata.csv.
    above = sorted(filter(_is_metadata, home.absolute().parent.glob("metadata_rxrx3*")))
    return [*(beside or above)[:1], *shards]


def list_rxrx3_core(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images by their `__key__`: `gene-001/Plate1/AA15_s1_3` is channel 3 of site 1.

    Plates are named EXPERIMENT_Plate1 and channels 1 to 6. The batch of a well is its experiment.
    The perturbation of a CRISPR well is the guide, that of other wells compound and concentration,
    `Dequalinium_0.25`. Wells with the treatment `EMPTY_control` are controls. An image with another
    kind of key becomes a problem.

    Raises ValueError if the metadata lack a column or have a row that cannot be understood.
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
        ignored={"wells of the metadata without images here": elsewhere} if elsewhere else {},
        problems=problems,
    )


def _is_metadata(path: Path) -> bool:
    return _METADATA.fullmatch(path.name.lower()) is not None


def _holds_images(path: Path) -> bool | None:
    """Return whether a Parquet file has keys and images; None if it cannot be read."""
    try:
        return {_KEY, PARQUET_COLUMN} <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return None


def _list_shard(shard: Path) -> tuple[list[RawFile], list[Problem]]:
    try:
        with pq.ParquetFile(shard) as opened:
            table = opened.read(columns=[_KEY])
        # Arrow does not check while reading that text is UTF-8.
        table.validate(full=True)
        keys = table[_KEY].cast(pa.string()).to_pylist()
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        return [], [Problem(f"{shard} is not a readable Parquet file: {reason}")]
    files: list[RawFile] = []
    problems: list[Problem] = []
    fields: dict[str, _Field] = {}  # parsed once for all channels of a field
    for row, key in enumerate(keys):
        start, _, channel = (key or "").rpartition("_")
        try:
            if start not in fields:
                fields[start] = _read_field(start)
            match = _CHANNEL.fullmatch(channel)
            if match is None:
                raise ValueError(f"expected the number of a channel, not {channel!r}")
        except ValueError as error:
            problems.append(
                Problem(f"{shard}, row {row}: {_KEY} {key!r} cannot be understood: {error}")
            )
            continue
        place = Place(str(shard), row)
        files.append(RawFile(*fields[start], match[1], place, acquisition=str(shard.parent)))
    return sorted(files, key=lambda file: (len(file.channel), file.channel)), problems


def _read_field(text: str) -> _Field:
    """Return plate, well and site from a key without its channel."""
    match = _FIELD.fullmatch(text)
    if match is None:
        raise ValueError("expected EXPERIMENT/Plate1/AA15_s1_3")
    plate = check_name(name_plate(match[1], match[2]), "plate")
    return plate, normalize_well(match[3]), int(match[4])


LAYOUT = Layout("rxrx3-core", "Parquet files with __key__", find_rxrx3_core, list_rxrx3_core)
