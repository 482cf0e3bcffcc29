"""The command `correct`: reads wells and writes the same wells with batch effects removed.

The corrections are fitted on the controls of all plates. The corrected wells are written plate by
plate, so that a rerun after an interruption fits again and then writes only the missing plates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from phenomae.artefacts import artefact_folder
from phenomae.correction.batches import Batches, require_controls
from phenomae.correction.chain import Chain, fit_chain, report_extrapolation
from phenomae.correction.correction import ControlCorrection
from phenomae.correction.covariates import Covariates, StepInput, read_counts
from phenomae.correction.design_warnings import warn_of_single_conditions
from phenomae.correction.diagnose import (
    columns_of_batches,
    print_diagnosis,
    print_warnings,
    write_diagnosis,
)
from phenomae.correction.explained import measure_all
from phenomae.correction.feature_select import FeatureSelect
from phenomae.correction.few_controls import settle_batches
from phenomae.correction.methods import load_method
from phenomae.correction.plate_reader import PlateReader, read_controls
from phenomae.correction.proximity_bias import Vectors, measure_shifts, read_arms, subtract_shifts
from phenomae.correction.regression import Regression, measure_covariates
from phenomae.correction.saved import KIND as SAVED_KIND
from phenomae.correction.saved import read_chain, read_saved_identity, write_chain
from phenomae.correction.settings import (
    AFTERWARDS,
    ARM_GENES,
    CorrectSettings,
    read_range,
    read_steps,
    record,
    refuse_beside_saved,
    require_counts,
)
from phenomae.correction.steps import Step, names_after
from phenomae.images.platemap.labels import read_labels, replace_labels
from phenomae.images.platemap.settings import LABELS, PlateMapSettings
from phenomae.paths import PathLike
from phenomae.progress import info, tracked
from phenomae.records import feature_names
from phenomae.signatures import Origin
from phenomae.wells import (
    KIND,
    PlateFiles,
    Profiles,
    Wells,
    open_wells,
    plate_path,
    write_feature_names,
    write_plate,
)
from phenomae.whole_files import hash_file, hash_json

__all__ = ["CorrectSettings", "correct", "fit_controls"]


@dataclass(frozen=True)
class Request:
    """What one call of `correct` is to do: the wells, the steps, and the saved chain to apply."""

    files: PlateFiles
    settings: CorrectSettings
    steps: list[Step]
    saved: Chain | None
    """The chain of the file given as `apply`; None without such a file."""
    arms: dict[str, str]
    """Chromosome arm of each gene; empty without the setting `arms`."""
    counts: Profiles | None
    """The wells folder of the setting `counts`."""
    origin: Origin
    """Origin of the corrected wells: kind, settings and sources."""
    fitted_identity: str
    """Hash of everything that determines the fitted corrections."""


def correct(
    wells: PathLike,
    out: PathLike,
    /,
    *,
    settings: CorrectSettings = CorrectSettings(),  # noqa: B008 (frozen)
    labels: Annotated[PlateMapSettings, LABELS] = PlateMapSettings(),
    save: PathLike | None = None,
    apply: PathLike | None = None,
    overwrite: bool = False,
) -> Wells:
    """Remove batch effects from wells, estimated from their negative controls.

    Writes the corrected wells as a wells folder, one Parquet file per plate, and returns it.
    Methods with PCA write fewer features if the controls vary along fewer directions.

    Parameters
    ----------
    wells
        Folder of wells, as `embed`, `features` or `correct` wrote it.
    out
        Folder to write.
    labels
        A plate map whose labels replace those of the wells, before the correction is fitted.
    save
        File (.npz) to write the fitted correction to, for use with --apply on later plates.
    apply
        File that --save wrote. Batches that it was fitted on are corrected identically; new batches
        are fitted on their own controls, with the same principal axes.
    overwrite
        Replace `out`, and the file of --save, if they were made with other settings.

    Raises ValueError if a feature is NaN or infinite, a batch has too few controls, the batch
    column is missing or has empty cells, the plate map is wrong, settings contradict each other, or
    an output would replace an input.
    """
    wells, out = Path(wells), Path(out)
    save_path = None if save is None else Path(save)
    _check_places(wells, out, save_path)
    if save is not None and apply is not None:
        raise ValueError(f"save {save} and apply exclude each other: leave one out")
    saved = None if apply is None else Path(apply)
    request = _read_request(wells, settings, labels, save_path, saved)
    _fit_and_write(request, wells, out, save_path, overwrite)
    if settings.diagnose:
        print_diagnosis(out)
    return Wells(out)


def fit_controls(wells: Profiles, batches: Batches, method: str) -> ControlCorrection:
    """Return the correction `method`, with default settings, fitted on the controls of `wells`.

    Raises ValueError if a batch has fewer than 2 controls, or if its controls do not differ.
    """
    control = wells.table["control"].fill_null(False).to_numpy()
    require_controls(batches, control)
    correction = load_method(method)()
    assert isinstance(correction, ControlCorrection)
    controls = wells.features[control].astype(np.float64)
    return correction.learn(controls, None if batches is None else batches[control])


def _fit_and_write(
    request: Request, wells: Path, out: Path, save: Path | None, overwrite: bool
) -> None:
    """Write the corrected wells and the saved correction, unless both exist already."""
    unsaved = save is not None and not _is_saved(save, request.fitted_identity, overwrite)
    # Checked before the fit, because the fit reads the features of all plates.
    done = out.exists() and not overwrite
    if done:
        with artefact_folder(out, request.origin):
            pass  # logs that the same work is done, or raises
    if not unsaved and done:
        return
    plates = _open(request)
    covariates: dict[str, Covariates] = {}
    if request.settings.diagnose:
        # Before the fit, so that counts that lack a well are not noticed at the very end.
        covariates = measure_all(plates.table, plates.kept, request.counts)
    plates, chain = _fit(plates, request, wells)
    if save is not None and unsaved:
        write_chain(save, replace(chain, names=_names(request.files)), request.fitted_identity)
    if not done:
        with artefact_folder(out, request.origin, overwrite) as folder:
            assert folder is not None
            _write(folder, plates, chain, request, covariates)


def _check_places(wells: Path, out: Path, save: Path | None) -> None:
    """Raise ValueError if an output would replace an input or be written inside it."""
    # Paths are resolved, because a link or `..` can give the same folder another name.
    whole = out.resolve()
    if whole in (wells.resolve(), *wells.resolve().parents):
        raise ValueError(
            f"{out} is or contains the folder of the wells to correct and would replace it: give "
            "another folder to write"
        )
    if save is None:
        return
    if save.suffix != ".npz":
        raise ValueError(f"save {save}: give it a name that ends with .npz")
    if whole in (save.resolve(), *save.resolve().parents):
        raise ValueError(
            f"save {save} is inside {out}, which may contain only plates: choose a file outside"
        )


def _read_request(
    wells: Path,
    settings: CorrectSettings,
    labels: PlateMapSettings,
    save: Path | None,
    apply: Path | None,
) -> Request:
    """Read everything but the features; raises ValueError if settings contradict each other."""
    files = _select_features(open_wells(wells), wells, settings)
    files, from_wells = _relabel(files, labels)
    sources, saved = dict(from_wells), None
    if apply is None:
        steps = read_steps(settings)
    else:
        refuse_beside_saved(settings)
        saved = read_chain(apply)
        steps, sources["correction"] = saved.steps, hash_file(apply)
        _require_same_features(wells, files, apply, saved)
    joint = [step.name for step in steps if step.correction.fits_on == "all wells"]
    if save is not None and joint:
        raise ValueError(
            f"save {save}: {joint[0]} uses all wells at once, so it cannot be applied to new "
            "plates; leave out save, or choose another method"
        )
    arms = {} if settings.arms is None else read_arms(Path(settings.arms))
    if settings.arms is not None:
        # The hash is of the content, so that moving the file does not change the identity.
        sources["arms"] = hash_json(arms)
    counts = _read_counts(settings, steps)
    if counts is not None:
        sources["counts"] = counts.identity
    decisive = record(settings, steps)
    # Settings that act only after the fit do not change the saved correction, so its identity does
    # not include them.
    fitted = {key: value for key, value in decisive.items() if key not in AFTERWARDS}
    fitted_sources = dict(from_wells)
    if counts is not None and any(step.correction.needs_counts for step in steps):
        fitted_sources["counts"] = counts.identity
    fitted_origin = Origin(SAVED_KIND, fitted, fitted_sources)
    origin = Origin(KIND, decisive, sources)
    return Request(files, settings, steps, saved, arms, counts, origin, fitted_origin.identity)


def _select_features(files: PlateFiles, wells: Path, settings: CorrectSettings) -> PlateFiles:
    """Return the wells with the features of the setting `features` only."""
    used = read_range(settings.features)
    if used is None:
        return files
    if used[1] > files.width:
        raise ValueError(
            f"features {settings.features}: {wells} has {files.width} features, so the end must be "
            f"at most {files.width}"
        )
    return files.only(*used)


def _relabel(files: PlateFiles, settings: PlateMapSettings) -> tuple[PlateFiles, dict[str, str]]:
    """Return the wells with the labels of a plate map, and what is recorded as their sources."""
    sources = {"wells": files.identity}
    labels = read_labels(settings, files.table["plate"].unique().to_list())
    if labels is None:
        return files, sources
    table, kept = replace_labels(files.table, labels, "features")
    return files.relabel(table, kept), {**sources, **labels.sources}


def _read_counts(settings: CorrectSettings, steps: list[Step]) -> Profiles | None:
    """Return the counts that the settings name; raises ValueError if they go with no step."""
    if settings.counts is None:
        require_counts(settings, steps)
        return None
    if not (settings.diagnose or any(step.correction.needs_counts for step in steps)):
        raise ValueError(
            f"counts {settings.counts} is only used by the method count and by diagnose: leave "
            "counts out, or add one of them"
        )
    return read_counts(Path(settings.counts))


def _require_same_features(wells: Path, files: PlateFiles, apply: Path, saved: Chain) -> None:
    if saved.width != files.width:
        raise ValueError(
            f"{wells} has {files.width} features, but {apply} was fitted on {saved.width}: "
            "both must come from the same network or measurements"
        )
    # Numbers that stand for other features would be corrected without an error.
    found = _names(files)
    for index, (name, expected) in enumerate(zip(found, saved.names or found, strict=True)):
        if name != expected:
            raise ValueError(
                f"{wells} has other features than {apply} was fitted on: feature {index} is "
                f"{name!r} instead of {expected!r}; give wells with the same features in the same "
                "order"
            )


def _names(files: PlateFiles) -> list[str]:
    return list(files.names or feature_names(files.width))


def _is_saved(path: Path, identity: str, overwrite: bool) -> bool:
    """Return whether `path` has the same correction already.

    Raises ValueError if `path` has another correction and `overwrite` is False.
    """
    if not path.exists():
        return False
    if read_saved_identity(path) != identity:
        if overwrite:
            return False
        raise ValueError(
            f"save {path} is already there, made with other settings or wells; choose another "
            "name, or overwrite it"
        )
    info(f"{path} is already there, made with the same settings")
    return True


def _open(request: Request) -> PlateReader:
    """Return a reader of the wells to correct, with their batches or covariates for each step."""
    table, policy = request.files.table, request.settings.few_controls
    saved = request.saved.corrections if request.saved else []
    known = [each.known for each in saved] or [frozenset[str]()] * len(request.steps)
    kept, batches = settle_batches(table, request.steps, known, policy)
    inputs: list[StepInput] = [
        measure_covariates(step.correction, table, kept, request.counts)
        if isinstance(step.correction, Regression)
        else own
        for step, own in zip(request.steps, batches, strict=True)
    ]
    return PlateReader(table, request.files.read, kept, inputs)


def _fit(plates: PlateReader, request: Request, wells: Path) -> tuple[PlateReader, Chain]:
    """Return the wells to correct, and the chain fitted on their controls."""
    _name_features(request.steps, request.files.names)
    controls = read_controls(plates, wells, request.files.names)
    if request.saved is None:
        plates, chain = fit_chain(plates, request.steps, controls)
    else:
        chain = request.saved
        chain.learn_new(controls, plates.control_inputs())
    report_extrapolation(plates, chain)
    return plates, chain


def _name_features(steps: list[Step], names: Sequence[str] | None) -> None:
    """Pass the names of their input features to steps that need them."""
    for step in steps:
        if isinstance(step.correction, FeatureSelect):
            # What a second selection is given is not known before the first.
            step.correction.names, names = names, None
        elif not step.correction.keeps_features:
            names = None


def _write(
    folder: Path,
    plates: PlateReader,
    chain: Chain,
    request: Request,
    covariates: dict[str, Covariates],
) -> None:
    """Write the corrected wells of every plate that is missing in `folder`, and the diagnosis.

    `covariates` are those of the diagnosis.
    """
    settings = request.settings
    shifts: Vectors = {}
    if settings.arms is not None:
        minimum = settings.arm_genes or ARM_GENES
        # Measured on all plates, even if an interrupted run has written some of them, because the
        # mean of an arm includes the wells of every plate.
        shifts = measure_shifts(plates, chain, request.arms, Path(settings.arms), minimum)
    left = [plate for plate in plates.rows_of if not plate_path(folder, plate).exists()]
    for plate in tracked(left, "correct", len(left), "plates"):
        part = plates.part(plate)
        table = plates.table[part.rows]
        corrected = chain.apply(part.features, part.inputs)
        if shifts:
            corrected = subtract_shifts(corrected, table, shifts)
        write_plate(folder, table, corrected.astype(np.float32))
    if (names := names_after(request.steps, request.files.names)) is not None:
        write_feature_names(folder, names)
    warnings = list(chain.warnings)
    for column in columns_of_batches(request.steps):
        warnings += warn_of_single_conditions(plates.table, plates.kept, column)
    if settings.diagnose:
        write_diagnosis(folder, request.files, plates, request.steps, covariates, warnings)
    else:
        print_warnings(warnings)
