"""Several corrections in sequence, each fitted on the controls as the one before left them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from phenomae.correction.batches import Batches, each_batch
from phenomae.correction.center_scale import center_and_spread
from phenomae.correction.correction import ControlCorrection, JointCorrection
from phenomae.correction.plate_reader import PlateReader, replace_features
from phenomae.correction.steps import Step
from phenomae.progress import info


@dataclass(frozen=True)
class Chain:
    """Fitted corrections, in order."""

    steps: list[Step]
    corrections: list[ControlCorrection]
    width: int
    """Number of features that the first of them takes."""

    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: list[Batches]
    ) -> Float64[np.ndarray, "n k"]:
        """Return wells corrected by one after the other; `batches` holds those of each step."""
        for correction, own in zip(self.corrections, batches, strict=True):
            features = correction.apply(features, own)
        return features

    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: list[Batches]) -> None:
        """Learn the batches that are new from their controls, one correction after the other."""
        for correction, own in zip(self.corrections, batches, strict=True):
            # Each step must see the controls of new batches as the steps before it correct them.
            correction.learn_new(controls, own)
            controls = correction.apply(controls, own)


def fit_chain(
    plates: PlateReader, steps: list[Step], controls: Float64[np.ndarray, "m d"]
) -> tuple[PlateReader, Chain]:
    """Return the fitted chain and the wells that it is to be applied to.

    These are `plates` as given. But if a step needs all wells at once (harmony), they are the
    wells as the last such step left them, held in memory, and the chain holds the steps after it.
    """
    for position, step in enumerate(steps):
        if isinstance(step.correction, JointCorrection):
            _, before = fit_chain(plates, steps[:position], controls)
            plates = _correct_jointly(plates, before, step.correction)
            return fit_chain(plates, steps[position + 1 :], _control_features(plates))
    width, corrections = controls.shape[1], []
    # Not strict: these may be the first steps only, before a correction of all wells.
    for step, own in zip(steps, plates.control_batches(), strict=False):
        assert isinstance(step.correction, ControlCorrection)
        correction = step.correction.learn(controls, own)
        corrected = correction.apply(controls, own)
        _report_undefined(correction, controls, corrected, own)
        corrections.append(correction)
        controls = corrected
    return plates, Chain(steps, corrections, width)


def _correct_jointly(
    plates: PlateReader, before: Chain, correction: JointCorrection
) -> PlateReader:
    """Return the wells after the chain `before` and a correction of all wells at once."""
    position = len(before.steps)
    parts, batches = [], []
    for part in plates.parts(f"{correction.name} reads"):
        parts.append(before.apply(part.features, part.batches[:position]))
        batches.append(part.batches[position])
    own = None if batches[0] is None else np.concatenate(batches)
    features = correction.correct_jointly(np.concatenate(parts), own)
    return replace_features(plates, features, position + 1)


def _control_features(plates: PlateReader) -> Float64[np.ndarray, "m d"]:
    parts = [plates.part(plate) for plate in plates.rows_of]
    return np.concatenate([part.features[plates.control[part.rows]] for part in parts])


def _report_undefined(
    correction: ControlCorrection,
    controls: Float64[np.ndarray, "m d"],
    corrected: Float64[np.ndarray, "m k"],
    batches: Batches,
) -> None:
    """Log how many features and directions have no scale because the controls do not vary."""
    own = batches if correction.keeps_features else None  # axes come from all controls together
    constant = {
        batch: int((center_and_spread(controls[rows])[1] == 0).sum())
        for batch, rows in each_batch(own, len(controls))
    }
    if worst := max(constant.values()):
        batch = next(batch for batch, count in constant.items() if count == worst)
        info(
            f"{correction.name}: {worst} of {controls.shape[1]} features do not vary among the "
            f"controls of {batch} and count as 0 there"
        )
    components = correction.get_params().get("components") or controls.shape[1]
    expected = min(controls.shape[1], components)
    after = int(corrected.any(axis=0).sum())
    if after < expected and not correction.keeps_features:
        info(
            f"{correction.name}: the {len(controls)} controls vary along {after} directions only, "
            f"of {controls.shape[1]} features; the others have no scale and are left out"
        )
