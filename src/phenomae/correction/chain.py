"""Several corrections in sequence, each fitted on the output of the previous ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from phenomae.correction.batches import Batches, each_batch
from phenomae.correction.center_scale import center_and_spread
from phenomae.correction.correction import FittedCorrection, JointCorrection
from phenomae.correction.covariates import Covariates, StepInput
from phenomae.correction.design_warnings import warn_of_few_controls
from phenomae.correction.plate_reader import PlateReader, replace_features
from phenomae.correction.principal_axes import AUTO, count_axes
from phenomae.correction.regression import Regression
from phenomae.correction.steps import Step
from phenomae.progress import info


@dataclass(frozen=True)
class Chain:
    """Fitted corrections, in the order in which they are applied."""

    steps: list[Step]
    corrections: list[FittedCorrection[Any]]
    width: int
    """Number of input features of the first correction."""
    warnings: list[str] = field(default_factory=list)
    """Which batches had few controls for what was estimated from them."""
    names: Sequence[str] | None = None
    """Names of the input features; None for a saved chain of an earlier version."""

    def apply(
        self, features: Float64[np.ndarray, "n d"], inputs: list[StepInput]
    ) -> Float64[np.ndarray, "n k"]:
        """Return the wells after all corrections; `inputs` are those of these wells by step."""
        for correction, own in zip(self.corrections, inputs, strict=True):
            features = correction.apply(features, own)
        return features

    def learn_new(self, controls: Float64[np.ndarray, "m d"], inputs: list[StepInput]) -> None:
        """Fit every correction on the controls of new batches."""
        for correction, own in zip(self.corrections, inputs, strict=True):
            # Each step is fitted on the controls of new batches as corrected by the previous steps,
            # as `fit_chain` did for the first batches.
            self.warnings.extend(_warn(correction, own, len(controls), correction.known))
            correction.learn_new(controls, own)
            controls = correction.apply(controls, own)


def fit_chain(
    plates: PlateReader, steps: list[Step], controls: Float64[np.ndarray, "m d"]
) -> tuple[PlateReader, Chain]:
    """Return the wells to correct and the chain of corrections to apply to them.

    If no step needs all wells at once, the wells are `plates`, unchanged, and the chain has all
    steps. Otherwise the wells are held in memory as corrected by the last step that needs all wells
    at once (harmony) and all steps before it, and the chain has only the steps after it.
    """
    for position, step in enumerate(steps):
        if isinstance(step.correction, JointCorrection):
            _, before = fit_chain(plates, steps[:position], controls)
            plates = _correct_jointly(plates, before, step.correction)
            plates, chain = fit_chain(plates, steps[position + 1 :], _control_features(plates))
            return plates, replace(chain, warnings=before.warnings + chain.warnings)
    width, corrections = controls.shape[1], []
    warnings: list[str] = []
    # Not strict: `steps` may be only the steps before a joint correction, while `plates` has the
    # batches for all steps.
    for step, own in zip(steps, plates.control_inputs(), strict=False):
        assert isinstance(step.correction, FittedCorrection)
        correction = step.correction.learn(controls, own)
        corrected = correction.apply(controls, own)
        if not isinstance(own, Covariates):  # a regression does not divide by a spread
            _report_undefined(correction, controls, corrected, own)
        warnings += _warn(correction, own, len(controls))
        corrections.append(correction)
        controls = corrected
    return plates, Chain(steps, corrections, width, warnings)


def report_extrapolation(plates: PlateReader, chain: Chain) -> None:
    """Log how many wells have covariates that the controls of a regression do not cover."""
    for correction, own in zip(chain.corrections, plates.inputs, strict=True):
        if isinstance(correction, Regression):
            assert isinstance(own, Covariates)
            if count := int(correction.outside(own[plates.kept]).sum()):
                info(
                    f"{correction.name}: {count} of {int(plates.kept.sum())} wells have covariates "
                    "outside the range of the controls, where the regression extrapolates"
                )


def _warn(
    correction: FittedCorrection[Any],
    own: StepInput,
    count: int,
    known: frozenset[str] = frozenset(),
) -> list[str]:
    if isinstance(own, Covariates):  # a regression is tested on plates that it has not seen
        return []
    return warn_of_few_controls(correction.name, correction.directions, own, count, known)


def _correct_jointly(
    plates: PlateReader, before: Chain, correction: JointCorrection
) -> PlateReader:
    """Return all wells, in memory, after the chain `before` and then the joint correction."""
    position = len(before.steps)
    parts, batches = [], []
    for part in plates.parts(f"{correction.name} reads"):
        parts.append(before.apply(part.features, part.inputs[:position]))
        own = part.inputs[position]
        assert not isinstance(own, Covariates)
        batches.append(own)
    own = None if batches[0] is None else np.concatenate(batches)
    features = correction.correct_jointly(np.concatenate(parts), own)
    return replace_features(plates, features, position + 1)


def _control_features(plates: PlateReader) -> Float64[np.ndarray, "m d"]:
    parts = [plates.part(plate) for plate in plates.rows_of]
    return np.concatenate([part.features[plates.control[part.rows]] for part in parts])


def _report_undefined(
    correction: FittedCorrection[Any],
    controls: Float64[np.ndarray, "m d"],
    corrected: Float64[np.ndarray, "m k"],
    batches: Batches,
) -> None:
    """Log how many features, and how many directions, do not vary among the controls."""
    # Methods that rotate to principal axes compute the axes from all controls together.
    own = batches if correction.keeps_features else None
    constant = {
        batch: int((center_and_spread(controls[rows])[1] == 0).sum())
        for batch, rows in each_batch(own, len(controls))
    }
    if worst := max(constant.values()):
        batch = next(batch for batch, count in constant.items() if count == worst)
        info(
            f"{correction.name}: {worst} of {controls.shape[1]} features do not vary among the "
            f"controls of {batch} and become 0 in this batch"
        )
    components, width = correction.get_params().get("components"), controls.shape[1]
    expected = count_axes(components, *controls.shape)
    after = int(corrected.any(axis=0).sum())
    if after < expected and not correction.keeps_features:
        info(
            f"{correction.name}: the {len(controls)} controls vary along {after} directions only, "
            f"of {width} features; all other directions are left out"
        )
    elif components == AUTO and expected < width:
        info(f"{correction.name} keeps {after} of {width} axes; components=all keeps all of them")
