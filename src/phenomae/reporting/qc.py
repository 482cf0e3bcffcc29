"""The command `qc`: quality control of a store, as tables, pictures and a condition for `--where`.

The measures and rules are in `quality`; this module is here because it draws pictures.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl

from phenomae.artefacts import artefact_folder
from phenomae.outputs import TablesOutput
from phenomae.paths import PathLike
from phenomae.print_table import read_written, show
from phenomae.progress import info
from phenomae.quality.condition import leave_out
from phenomae.quality.edges import compare_edges
from phenomae.quality.flags import flag_fields
from phenomae.quality.measure import measure_fields
from phenomae.quality.plates import (
    list_blurred_plates,
    list_dark_channels,
    list_suspicious,
    summarize_plates,
)
from phenomae.quality.settings import QcSettings
from phenomae.row_filter import MAX_LENGTH, match_rows
from phenomae.signatures import Origin, read_verified, settings_dict
from phenomae.store.read import Store, open_store
from phenomae.urls import Location, locate
from phenomae.whole_files import write_bytes

KIND = "quality"
# Not .txt: readers refuse files with the suffix of one that is listed, such as a person's notes.
CONDITION = "where.sql"
_MEASURED = "measured"  # folder of an unfinished output with the measures of finished plates
_SHOWN = 500  # characters of a condition that are printed


class QualityControl(TablesOutput):
    """A folder of quality control, as `qc` writes it: tables, pictures and a condition."""

    @property
    def where(self) -> str:
        """The condition that leaves the flagged fields out, for `where` of other commands."""
        read_verified(self.path, KIND, (CONDITION,))
        return (self.path / CONDITION).read_text(encoding="utf-8").strip()


def qc(
    store: Location,
    out: PathLike,
    /,
    *,
    settings: QcSettings = QcSettings(),
    overwrite: bool = False,
) -> QualityControl:
    """Find blurred, saturated and empty fields, debris, and edge effects of plates.

    Writes fields.csv (measures and flags of each field and channel), plates.csv (the numbers of
    flagged fields, which is printed), edges.csv (tests of edge effects), where.sql (the condition
    that leaves the flagged fields out of embed and pretrain), and a picture of each plate in the
    folder figures. An interrupted call resumes with the plates that are not measured.

    Parameters
    ----------
    store
        Store written by `phenomae ingest`: a folder or an s3:// address.
    out
        Folder to write.
    settings
        The rules by which fields and plates are flagged.
    overwrite
        Replace `out` if it was made with other settings.

    Raises
    ------
    ValueError
        If the store has no field or is damaged, or `where` is not valid or matches no field.
    """
    path = Path(out)
    opened = _keep_fields(open_store(locate(store)), settings.where)
    origin = Origin(KIND, settings_dict(settings), opened.sources)
    with artefact_folder(path, origin, overwrite) as folder:
        if folder is not None:
            _write(folder, opened, settings)
    show(read_written(path / "plates.csv"))
    result = QualityControl(path)
    _report_condition(result)
    return result


def _keep_fields(store: Store, where: str | None) -> Store:
    if store.fields.is_empty():
        raise ValueError(f"{store.path} has no field to measure: ingest plates with images")
    if where is None:
        return store
    return replace(
        store, fields=store.fields.filter(match_rows(store.fields, where, str(store.path)))
    )


def _write(folder: Path, store: Store, settings: QcSettings) -> None:
    measured = folder / _MEASURED
    fields = flag_fields(measure_fields(store, measured, settings.object_size), settings)
    wells = store.fields.select("plate", "well", "control").unique(maintain_order=True)
    edges = compare_edges(fields, wells, settings)
    plates = summarize_plates(fields, edges)
    tables = {"fields": fields, "edges": edges, "plates": plates}
    for name, table in tables.items():
        write_bytes(folder / f"{name}.csv", table.write_csv().encode())
    bad = fields.filter("left_out").select("plate", "well", "site").unique(maintain_order=True)
    condition = leave_out(bad, store.fields, settings.where)
    write_bytes(folder / CONDITION, f"{condition}\n".encode())
    for line in (
        *list_dark_channels(fields, settings.min_foreground),
        *list_blurred_plates(plates),
        *list_suspicious(bad, store.fields),
    ):
        info(line)
    _draw(folder, fields, wells)
    for path in measured.iterdir():
        path.unlink()
    measured.rmdir()


def _draw(folder: Path, fields: pl.DataFrame, wells: pl.DataFrame) -> None:
    # Imported here, because importing matplotlib takes .4 s, which `qc --help` should not.
    from phenomae.reporting.figures.plate_grids import draw_plate
    from phenomae.reporting.figures.style import house_style, save

    with house_style():
        for (plate,), part in fields.partition_by("plate", as_dict=True).items():
            save(draw_plate(plate, part), folder / "figures", str(plate))


def _report_condition(result: QualityControl) -> None:
    condition, place = result.where, result.path / CONDITION
    if len(condition) > MAX_LENGTH:
        info(
            f"{place} has {len(condition)} characters, more than the {MAX_LENGTH} of a condition: "
            "leave out fields of some plates at a time with where, or flag fewer with a higher z"
        )
    elif condition == "TRUE":
        info("no field is left out")
    else:
        info(f'to leave the flagged fields out: --where "$(cat {place})"')
        if len(condition) <= _SHOWN:
            print(f"where: {condition}")
