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
    """Return one sentence on a folder in which none of these layouts found its index."""
    looked = f"looked for {', '.join(f'{layout.sign} ({layout.name})' for layout in layouts)}"
    state = "has no known layout"
    if len(layouts) == 1:
        looked, state = (
            f"looked for {layouts[0].sign}",
            f"does not have the layout {settings.layout}",
        )
    if is_empty(raw):
        return f"{raw} is empty: {looked}"
    survey = survey_folder(raw)
    if not survey.images:
        return survey.foreign or f"{raw} {state}: {looked}"
    images = count_of(len(survey.images), "image")
    shown = f"it has {images}, such as {show_names(survey.images)}"
    proposal = propose_pattern(raw, survey.images, settings)
    if proposal is None:
        described = "whose names the setting pattern can describe"
        return survey.foreign or f"{raw} {state}: {looked}; {shown}, {described}"
    start = survey.foreign or f"{raw} {state}; {shown}"
    also = f" with {' and '.join(proposal.also)}" if proposal.also else ""
    # Not as repr(), which would double the backslashes.
    return f"{start}: the pattern '{proposal.pattern}'{also} reads {proposal.images:,} of them"


def is_empty(raw: Path) -> bool:
    """Return whether a raw folder has nothing in it."""
    return raw.is_dir() and not any(raw.iterdir())
