"""Names the columns of wells and maps as other tools do."""

from collections import Counter

import polars as pl

PYCYTOMINER_FEATURE = "Cells_feature_{:04d}"  # it takes what begins so for features of its own
EFAAR_FEATURE = "feature_{}"
CONTROL = "control"  # of all control wells: the benchmark's functions take one label for them


def pycytominer_columns(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table's columns with `Metadata_` in front, as pycytominer and JUMP name them.

    Where there is a column `control` of bools, `Metadata_control_type` (`negcon`, or
    empty) and `Metadata_pert_type` (`control` or `trt`) say the same in their words. Raises
    ValueError where two columns would have one name.
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
    said = {
        "Metadata_control_type": pl.when(control).then(pl.lit("negcon")),
        "Metadata_pert_type": pl.when(control).then(pl.lit("control")).otherwise(pl.lit("trt")),
    }
    return renamed.with_columns(
        **{name: value for name, value in said.items() if name not in renamed.columns}
    )


def efaar_well_columns(table: pl.DataFrame) -> pl.DataFrame:
    """Return a wells table with `perturbation` as the public EFAAR benchmark understands it.

    That is the gene, else the compound, else what was done, and `control` for every control; what
    was done is `treatment`, the concentration in micromolar `concentration`.
    """
    named = pl.coalesce(
        pl.col(name).replace("", None) for name in ("gene", "compound", "perturbation")
    )
    control = pl.col("control").fill_null(False)
    perturbation = pl.when(control).then(pl.lit(CONTROL)).otherwise(named)
    rest = table.rename({"perturbation": "treatment", "concentration_um": "concentration"})
    return rest.insert_column(0, table.select(perturbation=perturbation).to_series())


def efaar_map_columns(table: pl.DataFrame, by: str) -> pl.DataFrame:
    """Return the rows of a map with `perturbation` in front; of a map by dose the compound.

    `table` holds the rows' names in the column `by`. Raises ValueError where two columns would have
    one name.
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
