"""Writes a page per room of the public API before a build, from the names in `__init__.pyi`.

The pages are in docs/_generated/api, which git ignores; autodoc fills them from the docstrings.
"""

import importlib
from collections import defaultdict
from dataclasses import fields
from pathlib import Path

from generated_pages import title, toctree, write_folder
from signatures import document_fields
from sphinx.application import Sphinx

import phenomae


def api_pages() -> dict[str, str]:
    """Return a page per room with its public names in the order of the pipeline, and an index."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for name, module in phenomae._read_public().items():
        rooms[module.split(".")[1]].append(name)
    pages, index = {}, [*title("Python API"), "All names are attributes of ``phenomae``.", ""]
    for room, names in rooms.items():
        about = importlib.import_module(f"phenomae.{room}").__doc__ or ""
        sentence = f"{about.partition(chr(10))[0].rstrip('.')}"
        pages[room] = "\n".join([*title(room), f"{sentence}.", "", *map(document, names)])
        index += [*title(room, "-"), f"{sentence} (:doc:`{room}`).", ""]
        index += [".. autosummary::", "", *(f"    phenomae.{name}" for name in names), ""]
    return pages | {"index": "\n".join([*index, *toctree([*rooms])])}


def document(name: str) -> str:
    """Return the directive that documents a public name."""
    kind = getattr(phenomae, name)
    if not isinstance(kind, type):
        return f".. autofunction:: phenomae.{name}\n"
    lines = [f".. autoclass:: phenomae.{name}", "    :members:", "    :inherited-members:"]
    if listed := document_fields(kind):
        own = ", ".join(field.name for field in fields(kind))
        lines.append(f"    :exclude-members: {own}")
        lines += ["", *(f"    {line}".rstrip() for line in listed)]
    return "\n".join([*lines, ""])


def write_api_pages(app: Sphinx) -> None:
    write_folder(Path(app.srcdir) / "_generated/api", api_pages())


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write_api_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
