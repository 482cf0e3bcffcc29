"""JUMP-Lite: a Zarr store with one array per site, and a Parquet table that lists the sites.

The sites come from the index and never from a listing of the store, which has 655,101 folders and
may be on S3. A site's key, such as `source_2__20210607_Batch_2__1053600674__A01__1`, is its
folder in the store.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from phenomae.images.fields import Listing, Place, Problem, RawFile, parse_site
from phenomae.images.layouts.jump_lite_release import (
    CHANNELS,
    PIXEL_SIZES_UM,
    TABLE_FOLDERS,
    describe_release,
)
from phenomae.images.layouts.jump_lite_store import find_store, find_stores, is_store
from phenomae.images.layouts.jump_lite_wells import find_perturbations, read_wells
from phenomae.images.layouts.layout import Layout
from phenomae.images.settings import LayoutSettings
from phenomae.progress import info
from phenomae.records import check_name, normalize_well
from phenomae.row_filter import match_rows
from phenomae.urls import below

_KEY = "Metadata_Site_Key"
_INDEX = "*site_index.parquet"
_COLUMNS = {
    "key": pl.String(),
    "source": pl.String(),
    "batch": pl.String(),
    "plate": pl.String(),
    "well": pl.String(),
    "site": pl.Int64(),
}
"""Columns of a table of sites; a batch has its source in front, and so is that of one source."""


def find_jump_lite(raw: Path) -> list[Path]:
    """Return the site index (`raw` itself, or in it) and the table of perturbations beside it.

    In a folder like the published `source_all`, both are where that has them. Without an index,
    returns the store that is there, so that `list_jump_lite` can say what is missing.
    """
    if raw.is_file():
        return [raw, *find_perturbations(raw)] if _has_keys(raw) else []
    for folder in TABLE_FOLDERS:
        for index in sorted((raw / folder).glob(_INDEX)):
            if _has_keys(index):
                return [index, *find_perturbations(index)]
    stores = [raw] if is_store(raw) else find_stores(raw)
    return [store for store in stores if _has_sites(store)][:1]


def list_jump_lite(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the five channels of the sites in the index that `settings.where` selects.

    The store is `settings.images`, or the only one in `raw` or beside the index. The pixel size is
    that of the source. A key that is no name of a site becomes a problem.

    Raises ValueError without an index or a store, if a table cannot be read, or if a plate is in
    two batches.
    """
    index, *tables = indices
    if index.is_dir():
        raise ValueError(
            f"{index} is a store of JUMP-Lite without its index: put "
            "jump_lite_site_index.parquet beside it"
        )
    keys = _read_keys(index)
    info(f"{index}: {describe_release([key for key in keys if key is not None])}")
    sites, problems = _split_keys(index, keys)
    if settings.where is not None:
        sites = sites.filter(match_rows(sites.drop("key"), settings.where, str(index)))
    _check_plates(index, sites)
    store, chunk = find_store(raw, index, settings.images)
    files = [
        file
        for key, _, batch, plate, well, site in sites.iter_rows()
        for file in _list_site(str(below(store, f"{key}/{chunk}")), batch, plate, well, site)
    ]
    sources = sites.select("plate", "source").unique().iter_rows()
    return Listing(
        files,
        pixel_sizes_um={
            plate: PIXEL_SIZES_UM[source] for plate, source in sources if source in PIXEL_SIZES_UM
        },
        wells=read_wells(tables[0] if tables else None, sites),
        problems=problems,
        is_selected=True,
    )


def _has_keys(path: Path) -> bool:
    """Return whether a file is a table with the keys of sites."""
    if path.suffix.lower() != ".parquet":
        return False
    try:
        return _KEY in pq.read_schema(path).names
    except (pa.ArrowException, OSError, ValueError):
        # A damaged file with the name of the index is taken for it, and reported when it is read.
        return path.match(_INDEX)


def _has_sites(store: Path) -> bool:
    """Return whether a store has a folder named by the key of a site, without listing all."""
    return next((True for entry in store.iterdir() if len(entry.name.split("__")) == 5), False)


def _read_keys(index: Path) -> list[str | None]:
    try:
        with pq.ParquetFile(index) as opened:
            table = opened.read(columns=[_KEY])  # the URLs of the original TIFFs are not needed
        # Arrow does not check while reading that text is UTF-8.
        table.validate(full=True)
        keys = table[_KEY].cast(pa.string()).to_pylist()
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{index} is not a readable Parquet file: {reason}") from None
    if not keys:
        raise ValueError(f"{index} has no rows")
    return list(dict.fromkeys(keys))  # the table of images has a row per channel


def _split_keys(index: Path, keys: Sequence[str | None]) -> tuple[pl.DataFrame, list[Problem]]:
    """Return the table of sites, and a problem per key that cannot be understood."""
    rows: list[tuple[str, str, str, str, str, int]] = []
    problems: list[Problem] = []
    for key in keys:
        try:
            rows.append(_split_key(key or ""))
        except ValueError as error:
            problems.append(Problem(f"{index}: {_KEY} {key!r} cannot be understood: {error}"))
    return pl.DataFrame(rows, _COLUMNS, orient="row"), problems


def _split_key(key: str) -> tuple[str, str, str, str, str, int]:
    parts = key.split("__")
    if len(parts) != 5:
        raise ValueError(f"it has {len(parts)} parts, expected 5: source__batch__plate__well__site")
    source, batch, plate, well, site = parts
    _check_start(source, batch, plate)
    return key, source, f"{source}__{batch}", plate, _read_well(well), parse_site(site)


@lru_cache(maxsize=4096)  # few are different, of 655,101 keys
def _check_start(source: str, batch: str, plate: str) -> None:
    # They become names of folders, of the store that is written and of the one that is read.
    for part, noun in ((source, "source"), (batch, "batch"), (plate, "plate")):
        check_name(part, noun)


@lru_cache(maxsize=4096)
def _read_well(text: str) -> str:
    return normalize_well(text)


def _check_plates(index: Path, sites: pl.DataFrame) -> None:
    """Raise ValueError if a plate is in two batches: its name would stand for two plates."""
    batches = sites.select("plate", "batch").unique(maintain_order=True)
    if len(twice := batches.filter(pl.col("plate").is_duplicated())):
        plate = twice["plate"][0]
        one, other = twice.filter(pl.col("plate") == plate)["batch"][:2]
        raise ValueError(
            f"{index}: plate {plate} is in the batches {one} and {other}: select one with where, "
            f"batch = '{one}'"
        )


def _list_site(url: str, batch: str, plate: str, well: str, site: int) -> list[RawFile]:
    count = len(CHANNELS)
    return [
        RawFile(plate, well, site, name, Place(url, channel=(number, count)), acquisition=batch)
        for number, name in enumerate(CHANNELS)
    ]


LAYOUT = Layout(
    "jump-lite", "jump_lite_site_index.parquet", find_jump_lite, list_jump_lite, takes_address=True
)
