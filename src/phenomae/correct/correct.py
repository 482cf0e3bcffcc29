"""The command `correct`: wells in, the same wells out with the batch taken out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from cyclopts import Parameter
from jaxtyping import Bool, Float64

from phenomae.artefacts import Origin, artefact_folder, settings_dict
from phenomae.correct.batches import Batches, read_batches, require_controls
from phenomae.correct.center_scale import CenterScale
from phenomae.correct.pca_center_scale import PcaCenterScale
from phenomae.correct.tvn import TVN
from phenomae.progress import say, tracked
from phenomae.wells import KIND, Wells, plate_path, read_wells, require_finite, write_plate


@Parameter(name="*")
@dataclass(frozen=True)
class CorrectSettings:
    """How the batch is taken out."""

    method: Literal["center-scale", "pca-center-scale", "tvn"] = "tvn"
    """center-scale: in units of the controls' spread; pca-center-scale: the same along the
    controls' principal axes; tvn: typical variation normalisation, as the public benchmark does."""
    batch: str | None = None
    """Column that says which wells are corrected together, like plate or batch; all wells as one
    where it is not given."""


METHODS = {"center-scale": CenterScale, "pca-center-scale": PcaCenterScale, "tvn": TVN}


def correct(
    wells: Path,
    out: Path,
    /,
    *,
    settings: CorrectSettings = CorrectSettings(),
    overwrite: bool = False,
) -> None:
    """Take the batch out of the wells, fitted on their controls.

    Writes a wells folder of the same wells, one Parquet file a plate. Where the controls do not
    vary along as many directions as there are features, the methods with PCA give fewer features.

    Parameters
    ----------
    wells
        Folder of wells, as `embed`, `intensity` or `correct` wrote it.
    out
        Folder to write.
    overwrite
        Replace `out` where it was made with other settings.

    Raises ValueError where a feature is NaN or infinite, a batch has fewer than 2 controls, or
    the column of the batch is missing or empty somewhere.
    """
    screen = read_wells(wells)
    require_finite(screen, wells)
    batches = read_batches(screen.table, settings.batch)
    correction = fit_controls(screen, batches, settings.method)
    _tell_undefined(correction, screen, batches)
    origin = Origin(KIND, settings_dict(settings), {"wells": screen.identity})
    with artefact_folder(out, origin, overwrite) as folder:
        if folder is None:
            return
        plates = screen.table["plate"].to_numpy()
        names = sorted(set(plates))
        for plate in tracked(names, "correct", len(names), "plates"):
            if plate_path(folder, plate).exists():
                continue
            rows = np.flatnonzero(plates == plate)
            corrected = correction.transform(
                screen.features[rows].astype(np.float64), None if batches is None else batches[rows]
            )
            write_plate(folder, screen.table[rows], corrected.astype(np.float32))


def fit_controls(
    screen: Wells, batches: Batches, method: str
) -> CenterScale | PcaCenterScale | TVN:
    """Return the correction that the screen's controls give.

    Raises ValueError where a batch has fewer than 2 controls, or its controls do not differ.
    """
    require_controls(batches, _is_control(screen))
    return METHODS[method]().fit(*_choose_controls(screen, batches))


def _tell_undefined(
    correction: CenterScale | PcaCenterScale | TVN, screen: Wells, batches: Batches
) -> None:
    """Say where the controls do not vary along as many directions as there are features."""
    controls, batches = _choose_controls(screen, batches)
    corrected = correction.transform(controls, batches)
    before, after = controls.shape[1], int(corrected.any(axis=0).sum())
    if after < before:
        say(
            f"the {len(controls)} controls vary along {after} directions only, of {before} "
            "features; the others have no scale and become 0 or are left out"
        )


def _is_control(screen: Wells) -> Bool[np.ndarray, " n"]:
    return screen.table["control"].fill_null(False).to_numpy()


def _choose_controls(screen: Wells, batches: Batches) -> tuple[Float64[np.ndarray, "m d"], Batches]:
    """Return features and batches of the controls."""
    control = _is_control(screen)
    controls = screen.features[control].astype(np.float64)
    return controls, None if batches is None else batches[control]
