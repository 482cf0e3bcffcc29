"""Explains why a folder has no known layout: what it is, or a pattern that would read it."""

from collections.abc import Sequence
from pathlib import Path

from phenomae.images.layouts.foreign import survey_folder
from phenomae.images.layouts.index_files import show_names
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.propose import propose_pattern
from phenomae.images.settings import LayoutSettings
from phenomae.progress import count_of


def explain_unknown(raw: Path, layouts: Sequence[Layout], settings: LayoutSettings) -> str:
    """Return one sentence on a folder in which no layout found its index."""
    signs = ", ".join(f"{layout.sign} ({layout.name})" for layout in layouts)
    if is_empty(raw):
        return f"{raw} is empty: looked for {signs}"
    survey = survey_folder(raw)
    if not survey.images:
        return survey.foreign or f"{raw} has no known layout: looked for {signs}"
    count, shown = count_of(len(survey.images), "image"), show_names(survey.images)
    proposal = propose_pattern(raw, survey.images, settings)
    if proposal is None:
        return survey.foreign or (
            f"{raw} has no known layout: looked for {signs}; it has {count}, such as {shown}, "
            "whose names the setting pattern can describe"
        )
    start = survey.foreign or f"{raw} has no known layout, but {count}, such as {shown}"
    also = f" with {' and '.join(proposal.also)}" if proposal.also else ""
    # Not as repr(), which would double the backslashes.
    return f"{start}: the pattern '{proposal.pattern}'{also} reads {proposal.images:,} of them"


def is_empty(raw: Path) -> bool:
    """Return whether a raw folder has nothing in it."""
    return raw.is_dir() and not any(raw.iterdir())
