"""The settings of `correct`, and what of them an artefact records."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from phenomae import checks
from phenomae.correction.steps import Step, parse_step
from phenomae.paths import PathLike

METHOD = "tvn"  # if none is given
ARM_GENES = 20
AFTERWARDS = ("arm_genes", "diagnose")
"""What `record` returns that does not influence the fitted steps."""
_OWN_KEYS = ("ridge", "components", "epsilon")
_BESIDE_SAVED = ("few_controls", "arms", "arm_genes", "diagnose")

FewControls = Literal["error", "pool", "drop"]


@Parameter(name="*")
@dataclass(frozen=True)
class CorrectSettings:
    """Which corrections are applied, by which batches."""

    # Text and not a Literal, because parameters and a column can be part of it.
    method: str | None = None
    """center-scale: in units of the controls' standard deviation; pca-center-scale: the same along
    the controls' principal axes; tvn: typical variation normalisation, as in the public EFAAR
    benchmark; sphering: controls made to vary equally in all directions (ZCA-cor); harmony: wells
    of different batches that look alike moved onto each other. Settings follow in parentheses:
    "tvn(ridge=0.5, components=64)", "pca-center-scale(components=64)", "sphering(epsilon=1e-6)".
    Not given: tvn."""
    batch: str | None = None
    """Column that says which wells are corrected together, like plate or batch. Not given: all
    wells are one batch."""
    then: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ()
    """Methods that are applied one after the other to the output of the one before: METHOD uses the
    column of --batch, METHOD:COLUMN its own column, METHOD: none."""
    few_controls: FewControls = "error"
    """What happens to a batch with fewer than 2 controls: error stops; pool corrects its wells by
    the controls of all batches; drop leaves its wells out."""
    arms: PathLike | None = None
    """CSV or Parquet file with the columns gene and arm: the mean of each chromosome arm's genes is
    subtracted at the end, to remove proximity bias."""
    arm_genes: int | None = None
    """Minimum number of genes of an arm for its mean to be subtracted. Not given: 20."""
    diagnose: bool = False
    """Measure, before and after, how well batches mix and replicates agree: writes diagnosis.csv
    and prints it."""

    def __post_init__(self) -> None:
        """Raise ValueError for a method that does not exist or a setting out of its range."""
        checks.one_of("few_controls", self.few_controls, ("error", "pool", "drop"))
        checks.at_least("arm_genes", self.arm_genes, 1)
        if self.arm_genes is not None and self.arms is None:
            raise ValueError("arm_genes is only used with arms: leave it out, or give both")
        read_steps(self)


def read_steps(settings: CorrectSettings) -> list[Step]:
    """Return the requested methods, in order, with their parameters.

    Raises ValueError if a method does not exist, needs a batch column and has none, or has a
    parameter that is unknown or out of its range.
    """
    method = settings.method or METHOD
    named = f"method {method}" if ":" in method or not settings.batch else f"batch {settings.batch}"
    steps = [parse_step(method, settings.batch, named)]
    return steps + [parse_step(word, settings.batch, f"then {word}") for word in settings.then]


def record(settings: CorrectSettings, steps: list[Step]) -> dict[str, Any]:
    """Return what determines the output, as JSON values: the steps in full, and what follows."""
    chain = [f"{step.name}:{step.batch or ''}" for step in steps]
    parameters = [step.correction.get_params() for step in steps]
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
    # Until each step had settings of its own, three keys held those of all steps. They stay, so
    # that artefacts of that time are recognised as the same work; what they cannot hold is added.
    shared = {name: recorded[name] for name in _OWN_KEYS}
    complete = all(each.items() <= shared.items() for each in parameters)
    return recorded if complete else {**recorded, "parameters": parameters}


def refuse_beside_saved(settings: CorrectSettings) -> None:
    """Raise ValueError if a setting is given that the saved correction determines."""
    given = [
        item.name
        for item in fields(settings)
        if item.name not in _BESIDE_SAVED and getattr(settings, item.name) != item.default
    ]
    if given:
        raise ValueError(f"apply takes the methods from its file: leave out {', '.join(given)}")
