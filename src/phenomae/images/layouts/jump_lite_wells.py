"""The table of perturbations of JUMP-Lite as a plate map: what each well received."""

from pathlib import Path

import polars as pl

from phenomae.control_words import parse_controls
from phenomae.images.platemap.columns import read_wells as read_well_names
from phenomae.progress import info
from phenomae.records import PLATE_MAP_COLUMNS
from phenomae.text_tables import read_lines

_TABLE = "*perturbation_metadata.parquet"
_KEY = ("Metadata_Source", "Metadata_Batch", "Metadata_Plate", "Metadata_Well")
_COLUMNS = {
    "Metadata_JCP2022": "perturbation",
    "Metadata_Symbol": "gene",
    "Metadata_pert_type": "control",
    "Metadata_Perturbation_Type": "kind",
}
_KINDS = ("compound", "crispr", "orf")


def find_perturbations(index: Path) -> list[Path]:
    """Return the table of perturbations beside the site index, if there is one."""
    return sorted(index.parent.glob(_TABLE))[:1]


def read_wells(path: Path | None, sites: pl.DataFrame) -> pl.DataFrame:
    """Return the plate map of the wells in `sites`, with the columns `PLATE_MAP_COLUMNS`.

    The perturbation is the JCP2022 identifier, also of guides and ORFs; it is the compound, too, of
    wells treated with one. The gene is the symbol. Negative controls, by JUMP's label negcon, have
    neither gene nor compound. Wells that the table lacks have no row. Without a table (`path` is
    None) wells have their batch only, and no well is a control.

    Raises ValueError if the table lacks a column, has a word of another meaning, or lists a well
    twice with different values.
    """
    imaged = sites.select("batch", "plate", "well").unique(maintain_order=True)
    if path is None:
        info("no *perturbation_metadata.parquet beside the index: wells have no perturbation")
        empty = [pl.lit(None, kind).alias(name) for name, kind in PLATE_MAP_COLUMNS.items()]
        wells = imaged.with_columns(item for item in empty if item.meta.output_name() not in imaged)
        return wells.with_columns(control=pl.lit(False)).select(list(PLATE_MAP_COLUMNS))
    table, lines = read_lines(path)
    if missing := [name for name in (*_KEY, *_COLUMNS) if name not in table.columns]:
        raise ValueError(f"{path} has no column {missing[0]}; it has {', '.join(table.columns)}")
    source, batch, plate, well = _KEY
    origins = [f"line {line}" for line in lines]
    named = table.select(
        pl.concat_str(source, batch, separator="__").alias("batch"),
        pl.col(plate).alias("plate"),
        read_well_names(path, table, [well], origins, None).alias("well"),
        *(pl.col(name).alias(ours) for name, ours in _COLUMNS.items()),
    )
    named = named.join(imaged, on=["batch", "plate", "well"], how="semi").unique(
        maintain_order=True
    )
    return _label(path, named)


def _label(path: Path, wells: pl.DataFrame) -> pl.DataFrame:
    keys = wells.select("plate", "well")
    if len(twice := keys.filter(keys.is_duplicated())):
        plate, well = twice.row(0)
        raise ValueError(
            f"{path}: plate {plate}, well {well} is listed twice, with different values"
        )
    if len(other := wells.filter(~pl.col("kind").is_in(_KINDS))["kind"]):
        raise ValueError(
            f"{path}: Metadata_Perturbation_Type is {other[0]!r}: expected {', '.join(_KINDS)}"
        )
    try:
        controls = parse_controls(wells["control"])
    except ValueError as error:
        raise ValueError(f"{path}: Metadata_pert_type has {error}") from None
    is_treated, is_compound = ~controls, wells["kind"] == "compound"
    return wells.with_columns(
        gene=pl.when(is_treated & ~is_compound).then(pl.col("gene")),
        compound=pl.when(is_treated & is_compound).then(pl.col("perturbation")),
        guide=pl.lit(None, pl.String),
        concentration_um=pl.lit(None, pl.Float64),
        control=controls,
    ).select(list(PLATE_MAP_COLUMNS))
