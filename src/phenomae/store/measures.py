"""What is measured of a field when it is written, and the table in which an ingest keeps it.

A part of a plate is measured by one process, and the rows of the plate are computed by another.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64

from phenomae.store.quality import Quality

_OF_CHANNELS = pl.List(pl.Float64)
_SCHEMA: dict[str, Any] = {
    "path": pl.String,
    "checksum": pl.String,
    "focus": _OF_CHANNELS,
    "saturation": _OF_CHANNELS,
    "foreground": _OF_CHANNELS,
    "percentiles": pl.List(_OF_CHANNELS),
    "blank": pl.List(pl.Boolean),
    "clipped": pl.List(pl.Int64),
    "levels": pl.List(pl.List(pl.Int64)),
}


@dataclass(frozen=True)
class Measures:
    """Checksum and measures of a field that was written."""

    path: str
    """Path of the field's image group in the store."""
    checksum: str
    quality: Quality
    blank: tuple[bool, ...]
    """Whether all pixels of a channel have the same value."""
    clipped: tuple[int, ...]
    """Number of pixels of each channel that are outside of the setting value_range; empty if an
    earlier call has written the field."""
    levels: Int64[np.ndarray, "c levels"] | None
    """Number of pixels of every grey level. None if the field is not sampled, because the array is
    large (0.5 MB per 16-bit channel) to send between processes."""


def tabulate_measures(measured: Sequence[Measures]) -> pl.DataFrame:
    """Return the measures of a part of a plate as a table.

    The first row has the levels of all fields, added: only their sum is needed.
    """
    levels = [item.levels for item in measured if item.levels is not None]
    total = np.sum(levels, axis=0).tolist() if levels else None
    rows = [
        {
            **asdict(item.quality),
            "path": item.path,
            "checksum": item.checksum,
            "blank": item.blank,
            "clipped": item.clipped,
            "levels": total if number == 0 else None,
        }
        for number, item in enumerate(measured)
    ]
    return pl.DataFrame(rows, _SCHEMA)


def read_measures(table: pl.DataFrame) -> list[Measures]:
    """Return the measures that `tabulate_measures` has put into a table."""
    found = []
    for row in table.select(list(_SCHEMA)).iter_rows(named=True):
        levels = None if row["levels"] is None else np.array(row["levels"], dtype=np.int64)
        of_channels = {name: tuple(row[name]) for name in ("focus", "saturation", "foreground")}
        quality = Quality(**of_channels, percentiles=tuple(map(tuple, row["percentiles"])))
        blank, clipped = tuple(row["blank"]), tuple(row["clipped"])
        found.append(Measures(row["path"], row["checksum"], quality, blank, clipped, levels))
    return found
