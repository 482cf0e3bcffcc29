"""How the wells of a map were corrected: in words, measured before and after, and what was before.

The outputs that wells were made from are found by their identity (`upstream`).
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.correction.diagnose import COLUMNS, FILE, VERDICT
from phenomae.correction.methods import load_method
from phenomae.reporting.evidence.upstream import Source
from phenomae.signatures import read_verified

UNCORRECTED = "none: the wells are as they were computed"
UNKNOWN = "unknown: the wells that these were made from were not found"
_SCOPES = {
    "controls": ("fitted on all controls", "fitted on the controls of each {batch}"),
    "controls and covariates": ("fitted on the controls of all plates",) * 2,
    "all wells": ("fitted on all wells",) * 2,
}
"""What a method is fitted on, by its `fits_on`: without and with a batch column."""


@dataclass(frozen=True)
class Corrections:
    """The corrections of wells."""

    words: str
    """All corrections in their order, `UNCORRECTED`, or `UNKNOWN`."""
    diagnosis: pl.DataFrame | None
    """The table of `correct` (diagnosis.csv); None if the wells have none."""
    verdict: str | None
    """The line of `correct`; None without a diagnosis."""
    warnings: list[str]
    before: Path | None
    """The wells before the last correction; None if there was none, or they were not found."""
    store: str | None
    """Identity of the store that the wells were computed from; None if it is not known."""


def trace_corrections(
    wells: Path, record: Mapping[str, Any], upstream: Sequence[Source]
) -> Corrections:
    """Return the corrections of wells; `record` is their signature.

    Raises ValueError if the diagnosis of the wells is damaged.
    """
    known = {source.identity: source for source in upstream}
    chain = [record]
    while (source := known.get(chain[0]["sources"].get("wells", ""))) is not None:
        if source.record is None:
            break
        chain.insert(0, source.record)
    corrected = [each for each in chain if "wells" in each["sources"]]
    is_whole = "wells" not in chain[0]["sources"]
    words = ", then ".join(_describe(each) for each in corrected) or UNCORRECTED
    before = known.get(record["sources"].get("wells", ""))
    diagnosis, verdict, warnings = _read_diagnosis(wells)
    return Corrections(
        words if is_whole else f"{UNKNOWN}; last {words}",
        diagnosis,
        verdict,
        warnings,
        None if before is None else before.path,
        chain[0]["sources"].get("store"),
    )


def _describe(record: Mapping[str, Any]) -> str:
    """Return the corrections of one call of `correct` in words."""
    settings = record["settings"]
    steps = [f"{settings['method']}:{settings['batch'] or ''}", *settings["then"]]
    words = ", then ".join(_describe_step(*step.split(":", 1)) for step in steps)
    if "correction" in record["sources"]:
        words += " (a saved correction)"
    if settings.get("arm_genes") is not None:
        words += ", then minus the mean of the genes on each chromosome arm"
    return words


def _describe_step(name: str, batch: str) -> str:
    each, every = _SCOPES[load_method(name).fits_on][::-1]
    if not batch:
        return f"{name} ({every})"
    return f"{name} by {batch} ({each.format(batch=batch)})"


def _read_diagnosis(wells: Path) -> tuple[pl.DataFrame | None, str | None, list[str]]:
    """Return table, line and warnings of the diagnosis that `correct` wrote beside the wells."""
    signature = read_verified(wells, names=(FILE, VERDICT))
    if any(name not in (signature["files"] or {}) for name in (FILE, VERDICT)):
        return None, None, []
    content = (wells / FILE).read_bytes()
    table = pl.read_csv(io.BytesIO(content), schema_overrides=COLUMNS).select(list(COLUMNS))
    verdict = json.loads((wells / VERDICT).read_text(encoding="utf-8"))
    # Earlier versions recorded no warnings.
    return table, verdict["line"], verdict.get("warnings", [])
