"""The registry of corrections: one line per method, by the name that the command takes.

Classes are named by text, so that a method is imported when it is first used: its module may need
packages that other methods do not.
"""

from importlib import import_module

from phenomae.correction.correction import ControlCorrection, JointCorrection

METHODS: dict[str, str] = {
    "center-scale": "phenomae.correction.center_scale:CenterScale",
    "pca-center-scale": "phenomae.correction.pca_center_scale:PcaCenterScale",
    "tvn": "phenomae.correction.tvn:TVN",
    "sphering": "phenomae.correction.sphering:Sphering",
    "harmony": "phenomae.correction.harmony:Harmony",
}
"""Name -> "module:Class"; the class is a ControlCorrection or a JointCorrection."""


def load_method(name: str) -> type[ControlCorrection] | type[JointCorrection]:
    """Return the class of a method; raises ValueError if there is no method of that name."""
    if name not in METHODS:
        raise ValueError(f"there is no such method; use one of {', '.join(METHODS)}")
    module, _, class_name = METHODS[name].partition(":")
    found = getattr(import_module(module), class_name)
    assert found.name == name, f"{METHODS[name]} is called {found.name}, not {name}"
    return found
