"""Several corrections one after the other, each fitted on what the one before makes of controls."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from phenomae.correction.batches import Batches, each_batch
from phenomae.correction.center_scale import center_and_spread
from phenomae.correction.correction import Correction
from phenomae.correction.harmony import Harmony
from phenomae.correction.methods import METHODS
from phenomae.correction.plate_reader import Screen, hold_in_memory
from phenomae.correction.settings import Step
from phenomae.progress import info


@dataclass(frozen=True)
class Chain:
    """Fitted corrections, in order."""

    steps: list[Step]
    corrections: list[Correction]
    width: int
    """How many features the first of them takes."""

    def transform(
        self, features: Float64[np.ndarray, "n d"], batches: list[Batches]
    ) -> Float64[np.ndarray, "n k"]:
        """Return the features corrected by one after the other, each by its own batches."""
        for correction, own in zip(self.corrections, batches, strict=True):
            features = correction.transform(features, own)
        return features

    def extend(self, controls: Float64[np.ndarray, "n d"], batches: list[Batches]) -> None:
        """Learn the batches that are new from their controls, one correction after the other."""
        for correction, own in zip(self.corrections, batches, strict=True):
            correction.extend(controls, own)
            controls = correction.transform(controls, own)


def fit_chain(
    screen: Screen, steps: list[Step], controls: Float64[np.ndarray, "m d"]
) -> tuple[Screen, Chain]:
    """Return the fitted chain and the screen that it is to be applied to.

    That is the screen given; where a step is harmony, which needs all wells at once, it is what
    the steps up to the last harmony make of it, held in memory, and the chain holds the others.
    """
    for position, step in enumerate(steps):
        if METHODS[step.method] is Harmony:
            _, before = fit_chain(screen, steps[:position], controls)
            screen = _harmonise(screen, before, position)
            return fit_chain(screen, steps[position + 1 :], _held_controls(screen))
    width, corrections = controls.shape[1], []
    for step, own in zip(steps, screen.control_batches(), strict=False):
        correction = METHODS[step.method](**step.settings).fit(controls, own)
        corrected = correction.transform(controls, own)
        _tell_undefined(step, controls, corrected, own)
        corrections.append(correction)
        controls = corrected
    return screen, Chain(steps, corrections, width)


def _harmonise(screen: Screen, before: Chain, position: int) -> Screen:
    """Return the screen after the steps before harmony, and harmony."""
    parts, batches = [], []
    for part in screen.parts("harmony reads"):
        parts.append(before.transform(part.features, part.batches[:position]))
        batches.append(part.batches[position])
    features = Harmony().fit_transform(np.concatenate(parts), np.concatenate(batches))
    return hold_in_memory(screen, features, position + 1)


def _held_controls(screen: Screen) -> Float64[np.ndarray, "m d"]:
    parts = [screen.part(plate) for plate in screen.rows_of]
    return np.concatenate([part.features[screen.control[part.rows]] for part in parts])


def _tell_undefined(
    step: Step,
    controls: Float64[np.ndarray, "m d"],
    corrected: Float64[np.ndarray, "m k"],
    batches: Batches,
) -> None:
    """Say which features and directions have no scale, as the controls do not vary in them."""
    turns = "components" in METHODS[step.method].settings
    constant = {
        batch: int((center_and_spread(controls[rows])[1] == 0).sum())
        for batch, rows in each_batch(None if turns else batches, len(controls))
    }
    if worst := max(constant.values()):
        batch = next(batch for batch, count in constant.items() if count == worst)
        info(
            f"{step.method}: {worst} of {controls.shape[1]} features do not vary among the "
            f"controls of {batch} and count as 0 there"
        )
    wanted = min(controls.shape[1], step.settings.get("components") or controls.shape[1])
    after = int(corrected.any(axis=0).sum())
    if after < wanted and turns:
        info(
            f"{step.method}: the {len(controls)} controls vary along {after} directions only, of "
            f"{controls.shape[1]} features; the others have no scale and are left out"
        )
