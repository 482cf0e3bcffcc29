"""Column names that other tools expect, for wells and maps.

pycytominer recognises features and metadata by the beginnings of their names, and the functions of
the EFAAR benchmark use fixed names.
"""

from collections import Counter

import polars as pl

PYCYTOMINER_FEATURE = "Cells_feature_{:04d}"  # pycytominer takes columns that begin so for features
EFAAR_FEATURE = "feature_{}"
CONTROL = "control"  # of all control wells: EFAAR's functions take a single label for them


def pycytominer_columns(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table's columns with `Metadata_` in front, as pycytominer and JUMP name them.

    If there is a column `control` of bools, `Metadata_control_type` (`negcon` or empty) and
    `Metadata_pert_type` (`control` or `trt`) hold the same in the words of JUMP. Raises ValueError
    if two columns would have the same name.
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
    return renamed.with_columns(
        **{name: value for name, value in added.items() if name not in renamed.columns}
    )


def efaar_well_columns(table: pl.DataFrame) -> pl.DataFrame:
    """Return a wells table with `perturbation` as the public EFAAR benchmark expects it.

    It is the gene, or else the compound, or else our `perturbation`, and `control` for every
    control. Our `perturbation` becomes `treatment`; the concentration in micromolar becomes
    `concentration`.
    """
    named = pl.coalesce(
        pl.col(name).replace("", None) for name in ("gene", "compound", "perturbation")
    )
    control = pl.col("control").fill_null(False)
    perturbation = pl.when(control).then(pl.lit(CONTROL)).otherwise(named)
    rest = table.rename({"perturbation": "treatment", "concentration_um": "concentration"})
    return rest.insert_column(0, table.select(perturbation=perturbation).to_series())


def efaar_map_columns(table: pl.DataFrame, by: str) -> pl.DataFrame:
    """Return the rows of a map with `perturbation` first; for a map by dose it is the compound.

    `table` has the names of the rows in the column `by`. Raises ValueError if two columns would
    have the same name.
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
