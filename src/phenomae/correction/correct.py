"""The command `correct`: wells in, the same wells out with the batch taken out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from phenomae.artefacts import Origin, artefact_folder, hash_file, hash_json
from phenomae.correction.batches import Batches, require_controls
from phenomae.correction.chain import Chain, fit_chain
from phenomae.correction.correction import Correction
from phenomae.correction.diagnose import print_diagnosis, write_diagnosis
from phenomae.correction.few_controls import settle_batches
from phenomae.correction.harmony import Harmony
from phenomae.correction.methods import METHODS
from phenomae.correction.plate_reader import Screen, read_controls
from phenomae.correction.proximity_bias import Vectors, measure_shifts, read_arms, subtract_shifts
from phenomae.correction.saved import KIND as SAVED_KIND
from phenomae.correction.saved import read_chain, read_saved_identity, write_chain
from phenomae.correction.settings import (
    AFTERWARDS,
    ARM_GENES,
    CorrectSettings,
    Step,
    read_steps,
    record,
    refuse_beside_saved,
)
from phenomae.progress import info, tracked
from phenomae.wells import KIND, PlateFiles, Profiles, open_wells, plate_path, write_plate

__all__ = ["CorrectSettings", "correct", "fit_controls"]


@dataclass(frozen=True)
class Request:
    """What is to be done: to which wells, by which steps, and what these are where saved."""

    files: PlateFiles
    settings: CorrectSettings
    steps: list[Step]
    saved: Chain | None
    arms: dict[str, str]
    origin: Origin
    """Of the wells that are written."""
    fitted_identity: str
    """Hash of what makes the fitted steps."""


def correct(
    wells: Path,
    out: Path,
    /,
    *,
    settings: CorrectSettings = CorrectSettings(),  # noqa: B008 (frozen)
    save: Path | None = None,
    apply: Path | None = None,
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
    save
        File to write the fitted correction to, an .npz, for plates that come later.
    apply
        File that --save wrote: batches it was fitted on are corrected as they were there, others by
        their own controls along the same axes.
    overwrite
        Replace `out`, and the file saved, where they were made with other settings.

    Raises ValueError where a feature is NaN or infinite, a batch has too few controls, the column
    of the batch is missing or empty somewhere, settings do not go together, or one output would lie
    in another's place.
    """
    _check_places(wells, out, save)
    request = _read_request(wells, settings, save, apply)
    unsaved = save is not None and not _is_saved(save, request.fitted_identity, overwrite)
    done = out.exists() and not overwrite
    if done:
        with artefact_folder(out, request.origin):
            pass  # says that the same work is done, or raises
    if unsaved or not done:
        screen, chain = _fit(_open(request), request, wells)
        if save is not None and unsaved:
            write_chain(save, chain, request.fitted_identity)
        if not done:
            with artefact_folder(out, request.origin, overwrite) as folder:
                assert folder is not None
                _write(folder, screen, chain, request)
    if settings.diagnose:
        print_diagnosis(out)


def fit_controls(screen: Profiles, batches: Batches, method: str) -> Correction:
    """Return the correction that the screen's controls give.

    Raises ValueError where a batch has fewer than 2 controls, or its controls do not differ.
    """
    control = screen.table["control"].fill_null(False).to_numpy()
    require_controls(batches, control)
    controls = screen.features[control].astype(np.float64)
    return METHODS[method]().fit(controls, None if batches is None else batches[control])


def _check_places(wells: Path, out: Path, save: Path | None) -> None:
    """Raise ValueError where what is written would take the place of what is read, or lie in it."""
    whole = out.resolve()
    if whole in (wells.resolve(), *wells.resolve().parents):
        raise ValueError(
            f"{out} holds the wells that are to be corrected, which it would replace: give another "
            "folder to write"
        )
    if save is None:
        return
    if save.suffix != ".npz":
        raise ValueError(f"--save {save}: give it a name that ends with .npz")
    if whole in (save.resolve(), *save.resolve().parents):
        raise ValueError(
            f"--save {save} lies in {out}, which holds plates and nothing else: save it beside"
        )


def _read_request(
    wells: Path, settings: CorrectSettings, save: Path | None, apply: Path | None
) -> Request:
    """Return what is to be done; raises ValueError where settings do not go together."""
    files = open_wells(wells)
    sources, saved = {"wells": files.identity}, None
    if apply is None:
        steps = read_steps(settings)
    else:
        refuse_beside_saved(settings, save)
        saved = read_chain(apply)
        steps, sources["correction"] = saved.steps, hash_file(apply)
        if saved.width != files.width:
            raise ValueError(
                f"{wells} has {files.width} features, but {apply} was fitted on {saved.width}: "
                "both must come from the same network or measurements"
            )
    if save is not None and any(METHODS[step.method] is Harmony for step in steps):
        raise ValueError(
            f"--save {save}: harmony looks at all wells at once, so it cannot be saved for new "
            "plates; leave out --save, or choose another method"
        )
    arms = {} if settings.arms is None else read_arms(settings.arms)
    if settings.arms is not None:
        sources["arms"] = hash_json(arms)  # where the table lies does not matter
    decisive = record(settings, steps)
    fitted = {key: value for key, value in decisive.items() if key not in AFTERWARDS}
    fitted_origin = Origin(SAVED_KIND, fitted, {"wells": files.identity})
    origin = Origin(KIND, decisive, sources)
    return Request(files, settings, steps, saved, arms, origin, fitted_origin.identity)


def _is_saved(path: Path, identity: str, overwrite: bool) -> bool:
    """Say whether the same correction is saved; raises ValueError where something else is."""
    if not path.exists():
        return False
    if read_saved_identity(path) != identity:
        if overwrite:
            return False
        raise ValueError(
            f"--save {path} is already there, made with other settings or wells; choose another "
            "name, or --overwrite to replace it"
        )
    info(f"{path} is already there, made with the same settings")
    return True


def _open(request: Request) -> Screen:
    """Return the wells that are to be corrected, and their batches."""
    table, policy = request.files.table, request.settings.few_controls
    saved = request.saved.corrections if request.saved else []
    known = [each.known for each in saved] or [frozenset[str]()] * len(request.steps)
    kept, batches = settle_batches(table, request.steps, known, policy)
    return Screen(table, request.files.read, kept, batches)


def _fit(screen: Screen, request: Request, wells: Path) -> tuple[Screen, Chain]:
    """Return the chain, fitted on the controls, and the screen that it is to be applied to."""
    controls = read_controls(screen, wells)
    if request.saved is None:
        return fit_chain(screen, request.steps, controls)
    request.saved.extend(controls, screen.control_batches())
    return screen, request.saved


def _write(folder: Path, screen: Screen, chain: Chain, request: Request) -> None:
    """Write the corrected wells of every plate that is not there yet, and what they are worth."""
    settings = request.settings
    shifts: Vectors = {}
    if settings.arms is not None:
        least = settings.arm_genes or ARM_GENES
        shifts = measure_shifts(screen, chain, request.arms, settings.arms, least)
    left = [plate for plate in screen.rows_of if not plate_path(folder, plate).exists()]
    for plate in tracked(left, "correct", len(left), "plates"):
        part = screen.part(plate)
        table = screen.table[part.rows]
        corrected = chain.transform(part.features, part.batches)
        if shifts:
            corrected = subtract_shifts(corrected, table, shifts)
        write_plate(folder, table, corrected.astype(np.float32))
    if settings.diagnose:
        write_diagnosis(folder, request.files, screen, request.steps)
