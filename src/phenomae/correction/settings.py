"""The settings of `correct`, and the part of them that an artefact records."""

import re
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from phenomae import checks
from phenomae.correction.principal_axes import ALL
from phenomae.correction.steps import Step, parse_step
from phenomae.paths import PathLike

METHOD = "tvn"  # the default method
ARM_GENES = 20
AFTERWARDS = ("arm_genes", "diagnose")
"""Keys of `record` that do not influence the fitted corrections."""
_OWN_KEYS = ("ridge", "components", "epsilon")
_BESIDE_SAVED = ("features", "few_controls", "counts", "arms", "arm_genes", "diagnose")

FewControls = Literal["error", "pool", "drop"]


@Parameter(name="*")
@dataclass(frozen=True)
class CorrectSettings:
    """Which corrections are applied, in which order, and which batches they use."""

    # Text and not a Literal, because parameters and a column can be part of it.
    method: str | None = None
    """center-scale: standardise features by mean and standard deviation of the controls;
    pca-center-scale: rotate to the controls' principal axes, then center-scale; tvn: typical
    variation normalisation, as in the EFAAR package of August 2024, which leaves shifts between
    batches; tvn-2024: as in the EFAAR repository since November 2024, which removes shifts;
    sphering: whitening by the controls' correlations (ZCA-cor); harmony: moves similar wells of
    different batches onto each other. Settings of a method follow in parentheses:
    "tvn(ridge=0.5, components=all)", "pca-center-scale(components=128)", "sphering(epsilon=1e-6)".
    components are the principal axes kept: by default 64, or two thirds of the controls. position:
    and count: subtract what the position on the plate, or the counts of --counts, explain of the
    controls of all plates; they belong after a correction by plate (--then). Default: tvn."""
    batch: str | None = None
    """Column whose values are the batches, such as plate or batch. Default: all wells are one
    batch."""
    then: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ()
    """Further methods, each applied to the output of the previous method. METHOD uses the column of
    --batch, METHOD:COLUMN uses COLUMN, and METHOD: (ending with a colon) uses no batches. On
    simulated screens center-scale by plate and then tvn: has the recall of tvn by plate, and a
    lower kNN plate accuracy. The verdict in the last line is that of the whole chain."""
    few_controls: FewControls = "error"
    """What to do with a batch of fewer than 2 controls: error stops the command; pool corrects its
    wells by the controls of all batches; drop leaves its wells out."""
    counts: PathLike | None = None
    """Wells folder whose features are counts per well, such as log cell count, matched by plate and
    well. Used by the method count, and by --diagnose."""
    arms: PathLike | None = None
    """CSV or Parquet file with the columns gene and arm (chromosome arm). After all methods, the
    mean of each arm's genes is subtracted from their wells, to remove proximity bias."""
    arm_genes: int | None = None
    """Minimum number of genes on an arm; the mean of a smaller arm is not subtracted. Default:
    20."""
    diagnose: bool = True
    """Measure batch mixing, replicate agreement, and what position (and count, with --counts)
    explain of the controls on unseen plates, before and after the correction; write the results to
    diagnosis.csv, and print them with a verdict in one line."""
    features: str | None = None
    """START:STOP: only these features are used, counted from 0 without STOP. 0:128 are the means in
    256 features of embed --pool mean-std. Default: all features."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown method or a setting outside its range."""
        checks.whole_numbers(self)
        checks.one_of("few_controls", self.few_controls, ("error", "pool", "drop"))
        checks.at_least("arm_genes", self.arm_genes, 1)
        if self.arm_genes is not None and self.arms is None:
            raise ValueError("arm_genes is only used with arms: leave arm_genes out, or give both")
        read_range(self.features)
        require_counts(self, read_steps(self))


def read_range(features: str | None) -> tuple[int, int] | None:
    """Return the first and the last feature (excluded) of START:STOP; None stays None.

    Raises ValueError for any other text.
    """
    if features is None:
        return None
    found = re.fullmatch(r"(\d+):(\d+)", features)
    start, stop = (int(found[1]), int(found[2])) if found else (0, 0)
    checks.require(start < stop, "features", "START:STOP, such as 0:128", features)
    return start, stop


def read_steps(settings: CorrectSettings) -> list[Step]:
    """Return the requested methods with their parameters, in the order in which they are applied.

    Raises ValueError if a method does not exist, if a method that needs a batch column has none, or
    if a parameter is unknown or outside its range.
    """
    method = settings.method or METHOD
    named = f"method {method}" if ":" in method or not settings.batch else f"batch {settings.batch}"
    steps = [parse_step(method, settings.batch, named)]
    return steps + [parse_step(word, settings.batch, f"then {word}") for word in settings.then]


def require_counts(settings: CorrectSettings, steps: list[Step]) -> None:
    """Raise ValueError if a step needs counts and the settings name none."""
    needing = [step for step in steps if step.correction.needs_counts]
    if needing and settings.counts is None:
        raise ValueError(
            f"{needing[0].requested}: {needing[0].name} needs counts WELLS, a wells folder whose "
            "features are counts of the same wells"
        )


def record(settings: CorrectSettings, steps: list[Step]) -> dict[str, Any]:
    """Return what determines the output, as JSON values: all steps and the settings after them."""
    chain = [f"{step.name}:{step.batch or ''}" for step in steps]
    parameters = [_parameters(step) for step in steps]
    values = {name: value for each in parameters for name, value in each.items()}
    recorded = {
        "method": steps[0].name,
        "batch": steps[0].batch,
        "then": chain[1:],
        **{name: values.get(name) for name in _OWN_KEYS},
        "few_controls": settings.few_controls,
        "arm_genes": (settings.arm_genes or ARM_GENES) if settings.arms else None,
        "diagnose": settings.diagnose,
    }
    if settings.features is not None:  # earlier versions had no such key
        recorded["features"] = settings.features
    # Earlier versions had one ridge, components and epsilon for all steps. These three keys stay,
    # so that artefacts of earlier versions are still recognised as the same work; `parameters` is
    # added only if the three keys cannot describe the steps.
    shared = {name: recorded[name] for name in _OWN_KEYS}
    complete = all(each.items() <= shared.items() for each in parameters)
    return recorded if complete else {**recorded, "parameters": parameters}


def _parameters(step: Step) -> dict[str, Any]:
    """Return the parameters of a step as they are recorded."""
    # All axes were the default once, recorded as None: such an artefact is still the same work.
    return {
        name: None if name == "components" and value == ALL else value
        for name, value in step.correction.get_params().items()
    }


def refuse_beside_saved(settings: CorrectSettings) -> None:
    """Raise ValueError if a setting is given that the saved correction already determines."""
    given = [
        item.name
        for item in fields(settings)
        if item.name not in _BESIDE_SAVED and getattr(settings, item.name) != item.default
    ]
    if given:
        raise ValueError(f"apply takes the methods from its file: leave out {', '.join(given)}")
