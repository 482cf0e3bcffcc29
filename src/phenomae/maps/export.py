"""The command `export`: writes wells or a map as one wide table for other tools.

A table has no place for a signature, and other tools would read one as data: it is written beside
the table.
"""

import io
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import polars as pl
from cyclopts import Parameter

from phenomae import checks
from phenomae.artefacts import refuse_inside
from phenomae.maps.annotated import encode_rows
from phenomae.maps.atlas import AtlasSettings, atlas_table, print_command, require_default
from phenomae.maps.export_columns import (
    COMPARTMENTS,
    EFAAR_FEATURE,
    PYCYTOMINER_FEATURE,
    efaar_map_columns,
    efaar_well_columns,
    is_text,
    pycytominer_columns,
)
from phenomae.maps.export_source import Rows, read_rows
from phenomae.maps.layout_record import hash_points
from phenomae.maps.spreadsheet import encode_csv, encode_xlsx
from phenomae.outputs import TableOutput
from phenomae.paths import PathLike
from phenomae.progress import count_of, info
from phenomae.signatures import Origin, parse_record, record_beside, record_of, settings_dict
from phenomae.whole_files import remove_abandoned, sha256_of, write_bytes, write_json

KIND = "export"
Form = Literal["pycytominer", "efaar", "embedding-atlas", "excel"]
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "pycytominer": (".parquet", ".csv", ".h5ad"),
    "efaar": (".parquet", ".csv"),
    "embedding-atlas": (".parquet",),
    "excel": (".xlsx", ".csv"),
}


class Table(TableOutput):
    """A wide table that `export` wrote: Parquet, CSV, XLSX or AnnData."""

    def to_polars(self) -> pl.DataFrame:
        """Return the table as read from the file.

        Raises ValueError for .h5ad and .xlsx, which `phenomae.to_anndata` and a spreadsheet read.
        """
        suffix = self.path.suffix
        if suffix not in (".csv", ".parquet"):
            raise ValueError(f"{self.path} is read by other software: only .parquet and .csv here")
        if suffix == ".parquet":
            return pl.read_parquet(self.path, glob=False)
        columns = pl.read_csv(self.path, n_rows=0, glob=False).columns
        # Plate 0042 is no number.
        text = {name: pl.String() for name in columns if is_text(name)}
        return pl.read_csv(self.path, schema_overrides=text, infer_schema_length=None, glob=False)


@Parameter(name="*")
@dataclass(frozen=True)
class ExportSettings:
    """The tool that reads the table."""

    form: Annotated[Form, Parameter(name=("--form", "--for"))] = "pycytominer"
    """pycytominer: columns Metadata_Plate, Metadata_Well, ..., then the features by name, or
    Cells_feature_0000, ... if they have no names; also for copairs. efaar: columns perturbation,
    concentration, ..., then feature_0, ..., for the public EFAAR benchmark. embedding-atlas: the
    metadata, points in the plane and the nearest neighbors of each row. excel: the names used
    here, and no cell that a spreadsheet would run as a formula."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown form."""
        checks.one_of("form", self.form, get_args(Form))


def export(
    source: PathLike,
    out: PathLike,
    /,
    *,
    settings: ExportSettings = ExportSettings(),
    atlas: AtlasSettings = AtlasSettings(),  # noqa: B008 (frozen)
    overwrite: bool = False,
) -> Table:
    """Write wells or a map as one wide table for other tools, with one row per well or map row.

    Parameters
    ----------
    source
        Folder of wells, or an .h5ad map.
    out
        File to write; its name ends with .parquet or .csv, or with .h5ad for AnnData; for
        embedding-atlas with .parquet, for excel with .xlsx or .csv. What it was made from and its
        checksum are written beside it, to `OUT.artefact.json`.
    overwrite
        Replace `out` if it holds another export.

    Raises ValueError if `source` is neither wells nor a map, `out` has another suffix, or `out`
    holds something else.
    """
    source, out = Path(source), Path(out)
    suffixes = _SUFFIXES[settings.form]
    if out.suffix not in suffixes:
        raise ValueError(
            f"{out} cannot be the table: give it a name that ends with {' or '.join(suffixes)}"
        )
    if settings.form != "embedding-atlas":
        require_default(atlas)
    refuse_inside(out)
    rows = read_rows(source)
    content, origin = _make(rows, out, settings, atlas)
    if not _is_done(out, content, overwrite):
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(out)
        write_bytes(out, content)
    write_json(record_beside(out), record_of(origin, sha256_of(out)))
    info(
        f"{out}: {count_of(len(rows.features), 'row')}, {count_of(len(rows.variables), 'feature')}"
    )
    if settings.form == "embedding-atlas":
        print_command(out, atlas)
    return Table(out)


def _make(
    rows: Rows, out: Path, settings: ExportSettings, atlas: AtlasSettings
) -> tuple[bytes, Origin]:
    """Return the bytes of the table, and what they were made from."""
    origin = Origin(KIND, settings_dict(settings), {"source": rows.identity})
    if out.suffix == ".h5ad":
        points = {} if rows.layout is None else {"layout": hash_points(rows.layout)}
        return encode_rows(rows), replace(origin, sources=origin.sources | points)
    if settings.form == "excel":
        table = _append(rows.named_table(), rows, rows.variables)
        return encode_csv(table) if out.suffix == ".csv" else encode_xlsx(table, out), origin
    if settings.form == "embedding-atlas":
        table, sources = atlas_table(rows, atlas)
        chosen = asdict(atlas)
        del chosen["store"]  # the table depends on the store, not on its path
        origin = Origin(KIND, origin.settings | chosen, origin.sources | sources)
        return _encode(table, out.suffix), origin
    is_pycytominer = settings.form == "pycytominer"
    columns = pycytominer_columns(rows.named_table()) if is_pycytominer else _efaar_columns(rows)
    return _encode(_append(columns, rows, _name_features(rows, settings.form)), out.suffix), origin


def _name_features(rows: Rows, form: str) -> list[str]:
    """Return the names of the feature columns for pycytominer or EFAAR.

    EFAAR's functions find features by their numbered names, so that form has no others.
    """
    if form == "efaar" or not rows.is_named:
        name = EFAAR_FEATURE if form == "efaar" else PYCYTOMINER_FEATURE
        return [name.format(index) for index in range(rows.features.shape[1])]
    if not any(name.startswith(COMPARTMENTS) for name in rows.variables):
        info(
            f"features keep their names, such as {rows.variables[0]!r}; pycytominer finds by "
            f"itself only those that begin with {', '.join(COMPARTMENTS)}: pass it features=[...]"
        )
    return rows.variables


def _efaar_columns(rows: Rows) -> pl.DataFrame:
    table = rows.named_table()
    return efaar_well_columns(table) if rows.by is None else efaar_map_columns(table, rows.by)


def _append(columns: pl.DataFrame, rows: Rows, names: list[str]) -> pl.DataFrame:
    """Return one table: the metadata columns, then the feature columns.

    Raises ValueError if a feature has the name of another column.
    """
    if twice := {*names} & {*columns.columns}:
        raise ValueError(
            f"{rows.path} has a feature and a column of metadata that are both called "
            f"{min(twice)}: rename one of them"
        )
    vectors = pl.from_numpy(rows.features, schema=names, orient="row")
    return pl.concat([columns, vectors], how="horizontal")


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
    """Return whether a file is an export: as its record says, or by its feature columns."""
    if not out.is_file():
        return False
    beside = record_beside(out)
    if beside.is_file():
        with suppress(ValueError):
            if parse_record(beside.read_bytes(), out, str(beside), KIND)["content"] == sha256_of(
                out
            ):
                return True
    if out.suffix not in (".csv", ".parquet"):
        return False
    # Exports of version 0.1 have no record.
    try:
        if out.suffix == ".csv":
            names = pl.read_csv(out, n_rows=0, glob=False).columns
        else:
            with open(out, "rb") as file:  # a name that is given could be a wild card
                names = list(pl.read_parquet_schema(file))
    except (pl.exceptions.PolarsError, OSError):
        return False
    # Those had numbered features only.
    return PYCYTOMINER_FEATURE.format(0) in names or EFAAR_FEATURE.format(0) in names
