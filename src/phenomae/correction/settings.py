"""The settings of `correct`, and which of them the methods use."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from phenomae.correction.methods import METHODS
from phenomae.correction.sphering import EPSILON
from phenomae.correction.tvn import RIDGE

METHOD = "tvn"  # where none is given
ARM_GENES = 20
AFTERWARDS = ("arm_genes", "diagnose")
"""What `record` tells that decides nothing of the fitted steps."""

FewControls = Literal["error", "pool", "drop"]


@Parameter(name="*")
@dataclass(frozen=True)
class CorrectSettings:
    """How the batch is taken out."""

    method: Literal["center-scale", "pca-center-scale", "tvn", "sphering", "harmony"] | None = None
    """center-scale: in units of the controls' spread; pca-center-scale: the same along the
    controls' principal axes; tvn: typical variation normalisation, as the public benchmark does;
    sphering: controls made to vary alike in all directions (ZCA-cor); harmony: wells that look
    alike in different batches moved onto each other. Not given: tvn."""
    batch: str | None = None
    """Column that says which wells are corrected together, like plate or batch; all wells as one
    where it is not given."""
    then: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ()
    """Methods that are applied one after the other to what came out before: METHOD goes by --batch,
    METHOD:COLUMN by a column of its own, METHOD: by none."""
    ridge: float | None = None
    """tvn: what is added to the diagonal of a batch's covariance. Not given: 0.5."""
    components: int | None = None
    """pca-center-scale and tvn: principal axes that are kept, the widest. Not given: all."""
    epsilon: float | None = None
    """sphering: what is added to the controls' singular values. Not given: 1e-6."""
    few_controls: FewControls = "error"
    """What becomes of a batch with fewer than 2 controls: error stops; pool corrects its wells by
    the controls of all batches; drop leaves its wells out."""
    arms: Path | None = None
    """CSV or Parquet with the columns gene and arm: the mean of each chromosome arm's genes is
    subtracted at the end (proximity bias)."""
    arm_genes: int | None = None
    """Fewest genes of an arm whose mean is subtracted; other arms stay as they are. Not given:
    20."""
    diagnose: bool = False
    """Measure, before and after, how well batches mix and replicates agree: diagnosis.csv in OUT,
    and a table."""


@dataclass(frozen=True)
class Step:
    """One method of a chain."""

    method: str
    batch: str | None
    """The column of its batches."""
    settings: dict[str, Any]
    """What its class is made with."""
    asked: str
    """How it was asked for, to name it in a sentence."""


def read_steps(settings: CorrectSettings) -> list[Step]:
    """Return the methods asked for, in order, with their settings.

    Raises ValueError where a method is not known or lacks a batch column, or a setting is out of
    its range or used by none of the methods.
    """
    _check_ranges(settings)
    method = settings.method or METHOD
    named = f"--batch {settings.batch}" if settings.batch else f"--method {method}"
    steps = [_make_step(method, settings.batch, settings, named)]
    for word in settings.then:
        name, colon, column = word.partition(":")
        batch = (column or None) if colon else settings.batch
        steps.append(_make_step(name, batch, settings, f"--then {word}"))
    used = {name for step in steps for name in METHODS[step.method].settings}
    for name in ("ridge", "components", "epsilon"):
        if getattr(settings, name) is not None and name not in used:
            users = [method for method, made in METHODS.items() if name in made.settings]
            raise ValueError(
                f"--{name} is not used by {', '.join(step.method for step in steps)}: leave it out "
                f"(used by {' and '.join(users)})"
            )
    return steps


def record(settings: CorrectSettings, steps: list[Step]) -> dict[str, Any]:
    """Return what decides the output, as JSON values: the steps in full, and what comes after."""
    chain = [f"{step.method}:{step.batch or ''}" for step in steps]
    values = {name: value for step in steps for name, value in step.settings.items()}
    return {
        "method": steps[0].method,
        "batch": steps[0].batch,
        "then": chain[1:],
        **{name: values.get(name) for name in ("ridge", "components", "epsilon")},
        "few_controls": settings.few_controls,
        "arm_genes": (settings.arm_genes or ARM_GENES) if settings.arms else None,
        "diagnose": settings.diagnose,
    }


def refuse_beside_saved(settings: CorrectSettings, save: Path | None) -> None:
    """Raise ValueError where a setting is given that comes from the saved correction."""
    if save is not None:
        raise ValueError(f"--save {save} and --apply exclude each other: leave one out")
    allowed = ("few_controls", "arms", "arm_genes", "diagnose")
    given = [
        f"--{item.name}"
        for item in fields(settings)
        if item.name not in allowed and getattr(settings, item.name) != item.default
    ]
    if given:
        raise ValueError(f"--apply takes the methods from its file: leave out {', '.join(given)}")
    _check_ranges(settings)


def _make_step(method: str, batch: str | None, settings: CorrectSettings, asked: str) -> Step:
    if method not in METHODS:
        raise ValueError(f"{asked}: there is no such method; use one of {', '.join(METHODS)}")
    made = METHODS[method]
    if batch is None and not made.spares_batches:
        raise ValueError(
            f"{asked}: {method} moves batches onto each other, so it needs their column: "
            f"--batch COLUMN, or {method}:COLUMN after --then"
        )
    usual = {"ridge": RIDGE, "components": None, "epsilon": EPSILON}
    given = {name: getattr(settings, name) for name in made.settings}
    values = {name: usual[name] if value is None else value for name, value in given.items()}
    return Step(method, batch, values, asked)


def _check_ranges(settings: CorrectSettings) -> None:
    for name in ("ridge", "epsilon"):
        value = getattr(settings, name)
        # Only what is above 0 keeps directions finite in which no control varies.
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"--{name} {value}: expected a number above 0")
    if settings.components is not None and settings.components < 1:
        raise ValueError(f"--components {settings.components}: expected 1 or more")
    if settings.arm_genes is not None and settings.arms is None:
        raise ValueError("--arm-genes is only used with --arms TABLE: leave it out, or give both")
    if settings.arm_genes is not None and settings.arm_genes < 1:
        raise ValueError(f"--arm-genes {settings.arm_genes}: expected 1 or more")
