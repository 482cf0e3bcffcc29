"""Wells before and after their last correction: by plate, and how alike replicates are.

The same wells are compared as by `correct --diagnose`: all of a small screen, else a sample that is
always the same. Features are centered on the mean of all control wells, and profiles have length 1,
so that distances follow the cosines that batches and replicates are measured with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int

from phenomae.correction.batch_mixing import unit_or_zero
from phenomae.correction.design_warnings import perturbation_name
from phenomae.correction.settings import read_range
from phenomae.correction.subsample import sample_batches, sample_replicates
from phenomae.wells import PlateFiles, open_wells

BINS = np.linspace(-1, 1, 41)
"""Edges of the bins of cosines."""
_WELL = ["plate", "well"]


@dataclass(frozen=True)
class State:
    """Wells before or after the correction."""

    places: Float64[np.ndarray, "m 2"]
    """Scores of each well on the first two principal components of the profiles."""
    explained: tuple[float, float]
    """Share of the variance of the profiles on each component."""
    replicates: Float64[np.ndarray, " bins"] | None
    """Share of the pairs of replicates on different plates with a cosine in each bin; None without
    such pairs."""
    others: Float64[np.ndarray, " bins"] | None
    """The same of pairs of other perturbations on different plates."""


@dataclass(frozen=True)
class BeforeAfter:
    """The same wells before and after a correction."""

    plates: list[str]
    """Plate of each well in `places`."""
    before: State
    after: State


def compare_states(before: Path, after: Path, record: Mapping[str, Any]) -> BeforeAfter | None:
    """Return wells before and after a correction; None if fewer than three wells are in both.

    `record` is the signature of the wells after it. Raises ValueError if the wells are damaged.
    """
    files = [open_wells(before), open_wells(after)]
    used = read_range(record["settings"].get("features"))
    if used is not None:
        files[0] = files[0].only(*used)
    # A correction may leave wells out, or have other labels, so wells are found by their place.
    rows = [_number(own.table.select(_WELL)) for own in files]
    both = rows[0].join(rows[1], on=_WELL, suffix="_after", maintain_order="right")
    table = files[1].table[both["row_after"].to_numpy()]
    if len(table) < 3:
        return None
    control = table["control"].fill_null(False).to_numpy()
    shown = sample_batches(table["plate"].to_numpy().astype(np.str_))
    names = _number(table).filter(pl.Series(~control))
    names = names.select("row", "plate", name=perturbation_name()).drop_nulls()
    names = names[sample_replicates(names)]
    # Controls as well, whose mean is the origin.
    every = np.unique(np.concatenate([shown, names["row"].to_numpy(), np.flatnonzero(control)]))
    states = [
        _describe(
            _gather(own, both[column].to_numpy()[every]),
            control[every],
            np.searchsorted(every, shown),
            names.with_columns(pl.Series("row", np.searchsorted(every, names["row"].to_numpy()))),
        )
        for own, column in zip(files, ("row", "row_after"), strict=True)
    ]
    return BeforeAfter(table["plate"][shown].to_list(), *states)


def _number(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))


def _gather(files: PlateFiles, rows: Int[np.ndarray, " m"]) -> Float64[np.ndarray, "m d"]:
    """Return the features of some wells, read plate by plate."""
    features = np.empty((len(rows), files.width))
    plates = files.table["plate"].to_numpy()
    for plate in dict.fromkeys(plates[rows]):
        own = np.flatnonzero(plates == plate)
        here = np.flatnonzero(plates[rows] == plate)
        features[here] = files.read(str(plate))[np.searchsorted(own, rows[here])]
    return features


def _describe(
    features: Float64[np.ndarray, "m d"],
    control: Bool[np.ndarray, " m"],
    shown: Int[np.ndarray, " s"],
    names: pl.DataFrame,
) -> State:
    centered = features - features[control if control.any() else slice(None)].mean(axis=0)
    unit = unit_or_zero(centered)
    places, explained = _first_components(unit[shown])
    replicates, others = _count_cosines(unit[names["row"].to_numpy()], names)
    return State(places, explained, replicates, others)


def _first_components(
    unit: Float64[np.ndarray, "s d"],
) -> tuple[Float64[np.ndarray, "s 2"], tuple[float, float]]:
    """Return scores on the first two principal components, and the variance that they explain."""
    centered = unit - unit.mean(axis=0)
    left, lengths, right = np.linalg.svd(centered, full_matrices=False)
    # Either sign is right; the largest loading of a component is made positive.
    signs = np.sign(np.take_along_axis(right, np.abs(right).argmax(axis=1)[:, None], axis=1)).T
    scores = np.zeros((len(unit), 2))
    width = min(2, len(lengths))
    scores[:, :width] = (left * lengths * signs)[:, :width]
    shares = np.zeros(2)
    if total := float((lengths**2).sum()):
        shares[:width] = lengths[:width] ** 2 / total
    return scores, (float(shares[0]), float(shares[1]))


def _count_cosines(
    unit: Float64[np.ndarray, "k d"], names: pl.DataFrame
) -> tuple[Float64[np.ndarray, " bins"] | None, Float64[np.ndarray, " bins"] | None]:
    """Return the shares of cosines by bin, of replicates and of others on different plates."""
    codes, plates = (names[column].rank("dense").to_numpy() for column in ("name", "plate"))
    counts = np.zeros((2, len(BINS) - 1))
    for row in range(len(unit) - 1):
        cosines = (unit[row + 1 :] @ unit[row]).clip(-1, 1)
        elsewhere = plates[row + 1 :] != plates[row]
        same = codes[row + 1 :] == codes[row]
        for kind, pairs in enumerate((elsewhere & same, elsewhere & ~same)):
            counts[kind] += np.histogram(cosines[pairs], BINS)[0]
    shares = [each / each.sum() if each.any() else None for each in counts]
    return shares[0], shares[1]
