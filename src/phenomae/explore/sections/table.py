"""Registers the sections of the report in the order of the page, one line per section."""

from importlib import import_module

from phenomae.explore.sections.section import Section

SECTIONS = [
    "phenomae.explore.sections.baselines:SECTION",
    "phenomae.explore.sections.recall:SECTION",
    "phenomae.explore.sections.percentiles:SECTION",
    "phenomae.explore.sections.precision:SECTION",
    "phenomae.explore.sections.similarity:SECTION",
    "phenomae.explore.sections.reconstructions:SECTION",
    "phenomae.explore.sections.loss:SECTION",
]
""""module:name" of each section, so that a new section needs no import here."""


def load_sections() -> list[Section]:
    """Import and return all sections."""
    found = []
    for path in SECTIONS:
        module, _, name = path.partition(":")
        found.append(getattr(import_module(module), name))
    return found
