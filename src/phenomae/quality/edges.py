"""Edge effects of plates: wells in the border rows and columns against the inner wells.

Wells at the border of a plate dry and cool first, so that their cells may be fewer or stain
otherwise (Lundholt et al. 2003).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.quality.settings import QcSettings
from phenomae.records import plate_shape, well_place

MEASURES = ("mean_intensity", "foreground", "focus")
MIN_WELLS = 5  # on each side; the smallest two-sided p-value of 5 and 5 wells is .008
EDGES: dict[str, pl.DataType] = {
    "plate": pl.String(),
    "channel": pl.String(),
    "measure": pl.String(),
    "border": pl.String(),
    "wells": pl.String(),
    "border_wells": pl.Int64(),
    "inner_wells": pl.Int64(),
    "border_median": pl.Float64(),
    "inner_median": pl.Float64(),
    "effect": pl.Float64(),
    "p": pl.Float64(),
    "p_adjusted": pl.Float64(),
    "edge_effect": pl.Boolean(),
}


def compare_edges(fields: pl.DataFrame, wells: pl.DataFrame, settings: QcSettings) -> pl.DataFrame:
    """Compare border and inner wells of each plate and channel: the rows of edges.csv.

    Parameters
    ----------
    fields
        The table of `flag_fields`. Fields that are left out do not count.
    wells
        plate, well and control of every well.

    Returns
    -------
    One row per plate, channel, measure and border (rows, columns) with `MIN_WELLS` wells on either
    side. Control wells are compared if there are enough, else treated wells, but never one kind
    with the other: controls often fill the border columns. `effect` is the difference of the
    medians in robust standard deviations of the inner wells, `p` that of the two-sided Mann-Whitney
    U test, `p_adjusted` over all rows (Benjamini & Hochberg 1995).
    """
    from scipy.stats import false_discovery_control  # imported here: .6 s would delay --help

    of_wells = (
        fields.filter(~pl.col("left_out"))
        .group_by("plate", "channel", "well", maintain_order=True)
        .agg(pl.col(MEASURES).mean())
        .join(wells, on=["plate", "well"], how="left", maintain_order="left")
    )
    shapes = {plate: _shape(part) for (plate,), part in _split(wells, "plate")}
    rows = [
        row
        for (plate, channel), part in _split(of_wells, "plate", "channel")
        for row in _compare(part, plate, channel, shapes[plate])
    ]
    table = pl.DataFrame(rows, EDGES)
    if table.is_empty():
        return table
    adjusted = false_discovery_control(table["p"].to_numpy())
    found = (pl.col("p_adjusted") <= settings.level) & (
        pl.col("effect").abs() >= settings.min_effect
    )
    table = table.with_columns(p_adjusted=pl.Series(adjusted))
    return table.with_columns(edge_effect=found.fill_null(False))


def _split(table: pl.DataFrame, *keys: str) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    yield from table.partition_by(keys, as_dict=True, maintain_order=True).items()


def _shape(wells: pl.DataFrame) -> tuple[int, int]:
    """Return the rows and columns of the smallest usual plate that has all of these wells."""
    rows, columns = zip(*map(well_place, wells["well"]), strict=True)
    return plate_shape(max(rows) + 1, max(columns) + 1)


def _compare(
    wells: pl.DataFrame, plate: str, channel: str, shape: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one plate and channel, without what needs the other rows."""
    places = np.array([well_place(name) for name in wells["well"]])
    on_border = (places == 0) | (places == np.array(shape) - 1)
    inner = ~on_border.any(axis=1)
    control = wells["control"].fill_null(False).to_numpy()
    for axis, border in enumerate(("rows", "columns")):
        chosen = _choose(on_border[:, axis], inner, control)
        if chosen is None:
            continue
        kind, of_kind = chosen
        for measure in MEASURES:
            values = wells[measure].to_numpy()
            outside, inside = values[on_border[:, axis] & of_kind], values[inner & of_kind]
            yield {
                "plate": plate,
                "channel": channel,
                "measure": measure,
                "border": border,
                "wells": kind,
                **_test(outside, inside),
            }


def _choose(
    border: Bool[np.ndarray, " n"], inner: Bool[np.ndarray, " n"], control: Bool[np.ndarray, " n"]
) -> tuple[str, Bool[np.ndarray, " n"]] | None:
    """Return the kind of wells to compare, and which these are; None if there are too few."""
    for kind, of_kind in (("control", control), ("treated", ~control)):
        if min((border & of_kind).sum(), (inner & of_kind).sum()) >= MIN_WELLS:
            return kind, of_kind
    return None


def _test(outside: Float64[np.ndarray, " m"], inside: Float64[np.ndarray, " k"]) -> dict[str, Any]:
    from scipy.stats import mannwhitneyu

    outer, middle = float(np.median(outside)), float(np.median(inside))
    spread = 1.4826 * float(np.median(np.abs(inside - middle)))
    return {
        "border_wells": len(outside),
        "inner_wells": len(inside),
        "border_median": outer,
        "inner_median": middle,
        "effect": (outer - middle) / spread if spread else None,
        "p": float(mannwhitneyu(outside, inside).pvalue),
    }
