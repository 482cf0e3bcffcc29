"""The metadata of RxRx3 and RxRx3-core as a plate map: which guide or compound each well received.

CRISPR and compound wells share the columns of one table, with different meanings.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from phenomae.images.fields import raise_problems
from phenomae.records import PLATE_MAP_COLUMNS, normalize_well
from phenomae.text_tables import read_table

COLUMNS = (
    "experiment_name",
    "plate",
    "address",
    "gene",
    "treatment",
    "concentration",
    "perturbation_type",
)


def name_plate(experiment: str, number: str) -> str:
    """Return the name of a plate: each experiment numbers its own from 1."""
    return f"{experiment}_Plate{int(number)}"


def read_wells(path: Path) -> pl.DataFrame:
    """Return the metadata as a plate map, with the columns `PLATE_MAP_COLUMNS`.

    The perturbation of a CRISPR well is the guide, that of other wells compound and concentration,
    `Dequalinium_0.25`. Wells with the treatment `EMPTY_control` are controls. Raises ValueError if
    a column is missing, a row cannot be understood or two rows of a well differ.
    """
    return parse_wells(path, read_table(path))


def parse_wells(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    """Do as `read_wells` for a table of text that was read already."""
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise ValueError(f"{path} is not the metadata of RxRx3-core: it has no column {missing[0]}")
    rows: dict[tuple[str, str], dict[str, object]] = {}
    problems: list[str] = []
    for line, row in enumerate(table.select(COLUMNS).iter_rows(named=True), start=2):
        try:
            well = _read_row(row)
        except ValueError as error:
            problems.append(f"line {line}: {error}")
            continue
        key = str(well["plate"]), str(well["well"])
        # An identical second row is harmless: the table may be joined from several downloads.
        if rows.setdefault(key, well) != well:
            problems.append(f"line {line}: plate {key[0]}, well {key[1]} is listed twice")
    if problems:
        raise_problems(path, problems)
    return pl.DataFrame(list(rows.values()), schema=PLATE_MAP_COLUMNS)


def _read_row(row: Mapping[str, str | None]) -> dict[str, object]:
    """Return a well's row of the plate map."""
    experiment, number = row["experiment_name"], row["plate"] or ""
    if experiment is None or re.fullmatch("[0-9]{1,6}", number) is None:
        raise ValueError(f"experiment {experiment!r} and plate {number!r} do not name a plate")
    labels = read_labels(row)
    return {
        "plate": name_plate(experiment, number),
        "well": normalize_well(row["address"] or ""),
        "batch": experiment,
        **labels,
    }


def read_labels(row: Mapping[str, str | None]) -> dict[str, object]:
    """Return what was done to a well: columns of `records.LABEL_COLUMNS`.

    The perturbation of a CRISPR well is the guide, that of other wells compound and concentration.
    Wells with the treatment `EMPTY_control` are controls. Raises ValueError if the row is invalid.
    """
    treatment, kind = row["treatment"], row["perturbation_type"]
    if treatment is None or kind not in ("CRISPR", "COMPOUND"):
        raise ValueError(
            f"perturbation_type {kind!r}, treatment {treatment!r}: expected CRISPR or COMPOUND, "
            "and the name of a guide or compound"
        )
    # EMPTY_control and, on compound plates, CRISPR_control are neither a gene nor a compound.
    is_treated = not treatment.endswith("_control")
    amount = read_amount(row["concentration"])
    is_compound = is_treated and kind == "COMPOUND"
    return {
        "perturbation": name_dose(treatment, amount) if is_compound else treatment,
        "gene": row["gene"] if is_treated and kind == "CRISPR" else None,
        "guide": treatment if is_treated and kind == "CRISPR" else None,
        "compound": treatment if is_compound else None,
        "concentration_um": amount,
        "control": treatment == "EMPTY_control",
    }


def name_dose(compound: str, amount: float | None) -> str:
    """Return the perturbation of a compound at a concentration: two doses are two of them."""
    return compound if amount is None else f"{compound}_{amount:g}"


def read_amount(text: str | None) -> float | None:
    """Return a concentration; raises ValueError if it is not a number from 0."""
    try:
        amount = None if text is None else float(text)
    except ValueError:
        amount = float("nan")
    if amount is not None and not 0 <= amount < float("inf"):
        raise ValueError(f"the concentration {text!r} is not a number")
    return amount
