"""Flags bad fields by rules that compare a field with the other fields of its plate and channel.

Robust z-scores take median and median absolute deviation for mean and standard deviation (Iglewicz
and Hoaglin 1993), so that bad fields do not hide themselves as long as they are the minority.
"""

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.progress import info
from phenomae.quality.settings import FLAGS, QcSettings

MIN_FIELDS = 8  # with fewer values the median absolute deviation varies by more than a factor of 2
# Measures are compared as logarithms. Their robust standard deviation is at least this, 5 %, so
# that on a very uniform plate a difference that nobody sees is no outlier.
_MIN_DEVIATION = 0.05
_FIELD = ["plate", "well", "site"]
_GROUP = ["plate", "channel"]


def robust_z(values: Float64[np.ndarray, " n"], floor: float = 0.0) -> Float64[np.ndarray, " n"]:
    """Return (value - median) / (1.4826 median absolute deviation); NaN values are left out.

    1.4826 makes the deviation that of a normal distribution. It is at least `floor`; if it is 0,
    and with fewer than `MIN_FIELDS` values, all scores are NaN.
    """
    known = values[~np.isnan(values)]
    if len(known) < MIN_FIELDS:
        return np.full(len(values), np.nan)
    median = np.median(known)
    deviation = max(1.4826 * float(np.median(np.abs(known - median))), floor)
    return (values - median) / deviation if deviation else np.full(len(values), np.nan)


def flag_fields(measures: pl.DataFrame, settings: QcSettings) -> pl.DataFrame:
    """Add scores and flags to the table of `measure_fields`: the rows of fields.csv.

    Columns: plate, well, site, channel, the measures, focus_z, brightest_object_z, then one flag
    per rule, of the channel (blurred, saturated, debris) or of the field (empty), and left_out,
    which is true for all channels of a field that has one of the flags `settings.leave_out`.
    """
    table = measures.with_columns(
        saturation=_saturation(),
        empty=(pl.col("foreground").max() < settings.min_foreground).over(_FIELD),
    )
    # An empty field has no objects whose focus or brightness could be compared.
    comparable = pl.when(~pl.col("empty"))
    background = pl.col("background").median().over(_GROUP)
    table = table.with_columns(
        focus_z=comparable.then(pl.when(pl.col("focus") > 0).then(pl.col("focus").log())),
        brightest_object_z=comparable.then(
            (pl.col("brightest_object") - background).clip(lower_bound=1).log()
        ),
    )
    table = table.with_columns(
        pl.col(name).map_batches(_scores, return_dtype=pl.Float64()).over(_GROUP)
        for name in ("focus_z", "brightest_object_z")
    )
    _report_small_plates(table)
    table = table.with_columns(
        blurred=(pl.col("focus_z") < -settings.z).fill_null(False),
        saturated=pl.col("saturation") > settings.max_saturation,
        debris=(pl.col("brightest_object_z") > settings.z).fill_null(False),
    )
    bad = pl.any_horizontal(settings.leave_out).any().over(_FIELD)
    scores = ["focus_z", "brightest_object_z"]
    return table.select(*measures.columns, *scores, *FLAGS, left_out=bad)


def _saturation() -> pl.Expr:
    """Return the share of pixels at the highest value, or 0 in the darker half of the plate.

    `ingest` takes any highest value that many pixels have for saturation. Where a camera saturates,
    no other field of plate and channel is brighter; the median allows for odd pixels.
    """
    reached = pl.col("highest") >= pl.col("highest").median().over(_GROUP)
    return pl.when(reached).then(pl.col("saturation")).otherwise(0.0)


def _scores(values: pl.Series) -> pl.Series:
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return pl.Series(values.name, robust_z(numbers, _MIN_DEVIATION)).fill_nan(None)


def _report_small_plates(table: pl.DataFrame) -> None:
    known = table.group_by(_GROUP).agg(n=pl.col("focus_z").count())
    plates = table["plate"].n_unique()
    compared = known.filter(pl.col("n") > 0)["plate"].n_unique()
    if compared < plates:
        info(
            f"plates with fewer than {MIN_FIELDS} comparable fields per channel, in which blur and "
            f"debris are not looked for: {plates - compared}"
        )
