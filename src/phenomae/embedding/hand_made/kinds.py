"""The kinds of hand-made features by name; a new kind is one module and one line here."""

from collections.abc import Mapping
from importlib import import_module

from phenomae.embedding.hand_made.kind import Kind

KINDS: Mapping[str, str] = {
    "spectra": "phenomae.embedding.hand_made.spectra:KIND",
    "random-layer": "phenomae.embedding.hand_made.random_layer:KIND",
    "intensity": "phenomae.embedding.hand_made.intensity:KIND",
    "count": "phenomae.embedding.hand_made.count:KIND",
    "cellprofiler": "phenomae.embedding.hand_made.cellprofiler:KIND",
    "position": "phenomae.embedding.hand_made.position:KIND",
}
"""Kind: where it is defined, as "module:name"."""


def find_kind(name: str) -> Kind:
    """Return the kind of a name in `KINDS`."""
    module, _, attribute = KINDS[name].partition(":")
    return getattr(import_module(module), attribute)
