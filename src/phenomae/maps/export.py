"""The command `export`: writes wells or a map as one wide table for other tools.

An export contains no signature, because other tools would read a signature as data. `export`
recognises its own files by the record beside them, or by numbered features.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float32

from phenomae import checks
from phenomae.artefacts import refuse_inside
from phenomae.maps.export_columns import (
    COMPARTMENTS,
    EFAAR_FEATURE,
    PYCYTOMINER_FEATURE,
    efaar_map_columns,
    efaar_well_columns,
    pycytominer_columns,
)
from phenomae.maps.read import read_map
from phenomae.outputs import TableOutput
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.records import feature_names
from phenomae.signatures import Origin, record_beside, record_of, settings_dict
from phenomae.wells import read_wells
from phenomae.whole_files import remove_abandoned, sha256_of, write_bytes, write_json

KIND = "export"
FORMS = ("pycytominer", "efaar")
SUFFIXES = (".parquet", ".csv")
# The column of row names, for a map of other software, which does not record what its rows are.
FOREIGN = "name"


class Table(TableOutput):
    """A wide table that `export` wrote, CSV or Parquet."""

    def to_polars(self) -> pl.DataFrame:
        """Return the table as read from the file."""
        read = pl.read_csv if self.path.suffix == ".csv" else pl.read_parquet
        return read(self.path, glob=False)


@Parameter(name="*")
@dataclass(frozen=True)
class ExportSettings:
    """The tool whose column names are used."""

    form: Literal["pycytominer", "efaar"] = "pycytominer"
    """pycytominer: columns Metadata_Plate, Metadata_Well, ..., then the features by name, or
    Cells_feature_0000, ... if they have no names; also for copairs. efaar: columns perturbation,
    concentration, ..., then feature_0, ..., for the public EFAAR benchmark."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown form."""
        checks.one_of("form", self.form, FORMS)


def export(
    source: PathLike,
    out: PathLike,
    /,
    *,
    settings: ExportSettings = ExportSettings(),
    overwrite: bool = False,
) -> Table:
    """Write wells or a map as one wide table for other tools, with one row per well or map row.

    Parameters
    ----------
    source
        Folder of wells, or an .h5ad map.
    out
        File to write; its name ends with .parquet or .csv. What it was made from and its checksum
        are written beside it, to `OUT.artefact.json`.
    overwrite
        Replace `out` if it holds another export.

    Raises ValueError if `source` is neither wells nor a map, `out` has another suffix, or `out`
    holds something else.
    """
    source, out = Path(source), Path(out)
    if out.suffix not in SUFFIXES:
        raise ValueError(
            f"{out} cannot be the table: give it a name that ends with {' or '.join(SUFFIXES)}"
        )
    refuse_inside(out)
    columns, profiles, identity = _read(source, settings.form)
    content = _encode(pl.concat([columns, profiles], how="horizontal"), out.suffix)
    if not _is_done(out, content, overwrite):
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(out)
        write_bytes(out, content)
    # A table has no place for what it was made from and for its checksum.
    origin = Origin(KIND, settings_dict(settings), {"source": identity})
    write_json(record_beside(out), record_of(origin, sha256_of(out)))
    return Table(out)


def _read(source: Path, form: str) -> tuple[pl.DataFrame, pl.DataFrame, str]:
    """Return metadata and features with the names of their columns in `form`, and the identity."""
    if source.is_dir():
        wells = read_wells(source)
        named = pycytominer_columns if form == "pycytominer" else efaar_well_columns
        return named(wells.table), _name(wells.features, wells.names, form), wells.identity
    if source.suffix != ".h5ad":
        raise ValueError(f"{source} is neither a folder of wells nor an .h5ad map: give one")
    rows = read_map(source)
    by = str((rows.signature or {}).get("settings", {}).get("by", FOREIGN))
    # Maps from other software may have categories; text is the type that CSV and other tools read.
    table = rows.obs.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    if by in table.columns:
        raise ValueError(
            f"{source} has a column {by!r} in obs, the name of the column of row names: rename it"
        )
    table = table.insert_column(0, pl.Series(by, rows.names))
    named = pycytominer_columns(table) if form == "pycytominer" else efaar_map_columns(table, by)
    # Maps of other software have all kinds of names, which pycytominer would not take for features.
    is_named = rows.signature and rows.variables != feature_names(rows.features.shape[1])
    return named, _name(rows.features, rows.variables if is_named else None, form), rows.identity


def _name(
    features: Float32[np.ndarray, "rows d"], names: Sequence[str] | None, form: str
) -> pl.DataFrame:
    """Return features with the names of their columns in `form`; `names` are their own, if any.

    EFAAR's functions find features by their numbered names, so that form has no others.
    """
    if names is None or form == "efaar":
        name = PYCYTOMINER_FEATURE if form == "pycytominer" else EFAAR_FEATURE
        names = [name.format(index) for index in range(features.shape[1])]
    elif not any(name.startswith(COMPARTMENTS) for name in names):
        info(
            f"features keep their names, such as {names[0]!r}; pycytominer finds by itself only "
            f"those that begin with {', '.join(COMPARTMENTS)}: pass it features=[...]"
        )
    return pl.from_numpy(features, schema=list(names), orient="row")


def _encode(table: pl.DataFrame, suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".csv":
        table.write_csv(buffer)
    else:
        table.write_parquet(buffer)
    return buffer.getvalue()


def _is_done(out: Path, content: bytes, overwrite: bool) -> bool:
    """Return whether `out` has the same content already.

    Raises ValueError if `out` is not an export, or another export and `overwrite` is False.
    """
    if not out.exists():
        return False
    # An export has no signature with settings and sources, so the bytes are compared.
    if out.is_file() and out.read_bytes() == content:
        info(f"{out} is already there, with the same content")
        return True
    if not _is_export(out):
        raise ValueError(f"{out} was not made by export: choose another name")
    if not overwrite:
        raise ValueError(f"{out} holds another export: choose another name, or overwrite it")
    return False


def _is_export(out: Path) -> bool:
    """Return whether a table has the record of an export, or its numbered features."""
    try:
        if json.loads(record_beside(out).read_bytes())["kind"] == KIND:
            return True
    except (OSError, ValueError, KeyError, TypeError):
        pass  # moved without its record, or made by an old version
    try:
        if out.suffix == ".csv":
            names = pl.read_csv(out, n_rows=0, glob=False).columns
        else:
            with open(out, "rb") as file:  # a name that is given could be a wild card
                names = list(pl.read_parquet_schema(file))
    except (pl.exceptions.PolarsError, OSError):
        return False
    return PYCYTOMINER_FEATURE.format(0) in names or EFAAR_FEATURE.format(0) in names
