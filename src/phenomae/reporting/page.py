"""Renders report.html from its template; figures are embedded, so that the page is one file."""

import re
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.evidence.provenance import trace
from phenomae.reporting.search import make_search
from phenomae.reporting.sections.baselines import differences_line, learned_line
from phenomae.reporting.sections.section import Part
from phenomae.signatures import Origin

_FLAG = re.compile(r"--[a-z][a-z-]*")


def render(
    title: str, origin: Origin, evidence: Evidence, parts: list[Part], has_search: bool = True
) -> str:
    """Return the HTML of the page, which loads no other file and needs no network.

    With `has_search` it has a box that finds names of the map.
    """
    # StrictUndefined: a name that the template misspells raises an error instead of being empty.
    # trim_blocks and lstrip_blocks: the tags of the template leave no blank lines in the page.
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"name": _name, "prose": _prose}
    template = environment.from_string(
        (files("phenomae.reporting") / "report.html").read_text(encoding="utf-8")
    )
    return template.render(
        title=title,
        learned=learned_line(evidence),
        differences=differences_line(evidence),
        tiles=[tile for part in parts for tile in part.tiles],
        parts=parts,
        search=make_search(evidence.on_map, evidence.noun) if has_search else None,
        making=trace(evidence, origin),
    )


def _prose(text: str) -> Markup:
    """Return the HTML of a text in which flags (--baseline) are code and are not broken."""
    return Markup(_FLAG.sub(r'<code class="thin">\g<0></code>', str(escape(text))))


def _name(name: str) -> Markup:
    """Return the HTML of a name, in which browsers may break the line after an underscore.

    Names of annotation sources are often long and have no spaces; without line breaks they would
    make a table wider than the screen of a phone.
    """
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))
