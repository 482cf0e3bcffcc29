"""Renames the columns of wells and maps to the names that other tools expect.

pycytominer recognises feature and metadata columns by their prefixes. The functions of the EFAAR
benchmark use fixed column names.
"""

from collections import Counter

import polars as pl

from phenomae.records import METADATA, WELL_COLUMNS

COMPARTMENTS = ("Cells_", "Nuclei_", "Cytoplasm_")
"""Prefixes by which pycytominer infers features."""
PYCYTOMINER_FEATURE = "Cells_feature_{:04d}"
EFAAR_FEATURE = "feature_{}"
CONTROL = "control"  # EFAAR's functions accept a single label for all control wells


def is_text(column: str) -> bool:
    """Return whether a column of an exported table is text, whatever its values look like."""
    plain = column.removeprefix(METADATA).lower()
    if plain in WELL_COLUMNS:
        return WELL_COLUMNS[plain] == pl.String
    if column == f"{METADATA}cells":
        return False
    return column.startswith(METADATA) or plain in ("treatment", "dose", "name")


def pycytominer_columns(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with the prefix `Metadata_` before column names, as in pycytominer and JUMP.

    If there is a column `control` of bools, JUMP's columns `Metadata_control_type` (`negcon` or
    empty) and `Metadata_pert_type` (`control` or `trt`) are added. Raises ValueError if two columns
    would have the same name.
    """
    known = {"plate": "Plate", "well": "Well", "batch": "Batch"}
    names = {
        name: name if name.startswith("Metadata_") else f"Metadata_{known.get(name, name)}"
        for name in table.columns
    }
    _require_once(list(names.values()))
    renamed = table.rename(names)
    if table.schema.get("control") != pl.Boolean:
        return renamed
    control = pl.col("Metadata_control").fill_null(False)
    added = {
        "Metadata_control_type": pl.when(control).then(pl.lit("negcon")),
        "Metadata_pert_type": pl.when(control).then(pl.lit("control")).otherwise(pl.lit("trt")),
    }
    # Columns that a map of other software already has under these names are kept.
    return renamed.with_columns(
        **{name: value for name, value in added.items() if name not in renamed.columns}
    )


def efaar_well_columns(table: pl.DataFrame) -> pl.DataFrame:
    """Return a wells table with the column names of the public EFAAR benchmark.

    The new column `perturbation` is `control` for control wells and otherwise the gene, else the
    compound, else the old `perturbation`. The old column `perturbation` is renamed to `treatment`,
    and `concentration_um` to `concentration`.
    """
    named = pl.coalesce(
        pl.col(name).replace("", None) for name in ("gene", "compound", "perturbation")
    )
    control = pl.col("control").fill_null(False)
    perturbation = pl.when(control).then(pl.lit(CONTROL)).otherwise(named)
    rest = table.rename({"perturbation": "treatment", "concentration_um": "concentration"})
    return rest.insert_column(0, table.select(perturbation=perturbation).to_series())


def efaar_map_columns(table: pl.DataFrame, by: str) -> pl.DataFrame:
    """Return the table of a map's rows with `perturbation` as the first column.

    `perturbation` is the column `by`, which has the names of the rows; in a map by dose it is the
    compound. Raises ValueError if two columns would have the same name.
    """
    names = {"concentration_um": "concentration"}
    if by == "dose":
        names["compound"] = "perturbation"
    else:
        names[by] = "perturbation"
    renamed = [names.get(name, name) for name in table.columns]
    _require_once(renamed)
    table = table.rename(names, strict=False)
    return table.select("perturbation", pl.exclude("perturbation"))


def _require_once(names: list[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"two columns would be called {twice[0]}: rename one of them in obs")
