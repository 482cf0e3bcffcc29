"""The files of the page that are not Python: HTML, style sheets and scripts."""

from importlib.resources import files


def read_asset(name: str) -> str:
    """Return a file of this package."""
    return (files("phenomae.explorer") / name).read_text(encoding="utf-8")
