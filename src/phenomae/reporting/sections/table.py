"""Registers the sections of the report in the order of the page, one line per section."""

from importlib import import_module

from phenomae.reporting.sections.section import Section

SECTIONS = [
    "phenomae.reporting.sections.data:SECTION",
    "phenomae.reporting.sections.baselines:SECTION",
    "phenomae.reporting.sections.recall:SECTION",
    "phenomae.reporting.sections.percentiles:SECTION",
    "phenomae.reporting.sections.precision:SECTION",
    "phenomae.reporting.sections.similarity:SECTION",
    "phenomae.reporting.sections.layout:SECTION",
    "phenomae.reporting.sections.clusters:SECTION",
    "phenomae.reporting.sections.known_pairs:SECTION",
    "phenomae.reporting.sections.pairs:SECTION",
    "phenomae.reporting.sections.plates:SECTION",
    "phenomae.reporting.sections.correction:SECTION",
    "phenomae.reporting.sections.reconstructions:SECTION",
    "phenomae.reporting.sections.loss:SECTION",
]
""""module:name" of each section, so that a new section needs no import here."""


def load_sections() -> list[Section]:
    """Import and return all sections."""
    found = []
    for path in SECTIONS:
        module, _, name = path.partition(":")
        found.append(getattr(import_module(module), name))
    return found
