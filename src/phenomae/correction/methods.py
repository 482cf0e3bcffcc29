"""The registry of corrections: one line per method, keyed by the name on the command line.

The registry names classes as text, so that a method's module is imported only when the method is
used.
"""

from difflib import get_close_matches
from importlib import import_module

from phenomae.correction.correction import Correction

METHODS: dict[str, str] = {
    "center-scale": "phenomae.correction.center_scale:CenterScale",
    "pca-center-scale": "phenomae.correction.pca_center_scale:PcaCenterScale",
    "tvn": "phenomae.correction.tvn:TVN",
    "tvn-2024": "phenomae.correction.tvn_2024:TVN2024",
    "sphering": "phenomae.correction.sphering:Sphering",
    "mad-robust": "phenomae.correction.mad_robust:MadRobust",
    "feature-select": "phenomae.correction.feature_select:FeatureSelect",
    "harmony": "phenomae.correction.harmony:Harmony",
    "position": "phenomae.correction.position:Position",
    "count": "phenomae.correction.count:Count",
}
"""Maps the name of a method to "module:Class"; correction.py has the base classes."""


def load_method(name: str) -> type[Correction]:
    """Return the class of the method `name`; raises ValueError if there is no such method."""
    if name not in METHODS:
        near = get_close_matches(name, METHODS, n=1)
        meant = f"did you mean {near[0]}? use" if near else "use"
        raise ValueError(f"there is no method {name!r}: {meant} one of {', '.join(METHODS)}")
    module, _, class_name = METHODS[name].partition(":")
    found = getattr(import_module(module), class_name)
    assert found.name == name, f"{METHODS[name]} is called {found.name}, not {name}"
    return found
