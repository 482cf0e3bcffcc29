"""Gives the index its tables of contents, from the links that stand on it.

Each heading of `index.md` becomes a caption of the sidebar, and the links below it become its
entries with their own words, so that the page stays plain Markdown. Pages that it does not link to
are listed last.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

Entries = dict[str, str]
"""Title in the sidebar by page, without suffix; an empty title is the page's own."""

GENERATED: dict[str, Entries] = {
    "Tutorials": {"_generated/readme": "Overview"},
    "Reference": {"_generated/commands/index": "Commands", "_generated/api/index": "Python API"},
    "Project": {"_generated/changelog": "Changes", "_generated/contributing": "Contributing"},
}
"""Pages without a file in the repository, by the heading of the index that they belong to."""


def read_sections(index: str) -> dict[str, Entries]:
    """Return the pages that each section of the index links to."""
    sections = {}
    for part in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        caption, _, text = part.partition("\n")
        entries: Entries = {}
        for title, page in re.findall(r"\[([^\]]+)\]\(([\w/-]+)\.(?:md|ipynb)\)", text):
            entries.setdefault(page, title[0].upper() + title[1:])
        sections[caption] = entries
    return sections


def complete_sections(sections: dict[str, Entries], pages: list[str]) -> dict[str, Entries]:
    """Add the generated pages, and list every page once; those without a link come last."""
    complete: dict[str, Entries] = {}
    listed = {"index"}
    for caption, entries in sections.items():
        entries = GENERATED.get(caption, {}) | entries
        complete[caption] = {page: title for page, title in entries.items() if page not in listed}
        listed |= {*entries}
    if rest := {page: "" for page in pages if page not in listed}:
        complete["More"] = rest
    return complete


def write_toctree(caption: str, entries: Entries) -> str:
    lines = [f"{title} <{page}>" if title else page for page, title in entries.items()]
    head = ["```{toctree}", ":hidden:", ":maxdepth: 1", f":caption: {caption}", ""]
    return "\n".join([*head, *lines, "```", ""])


def add_toctrees(app: "Sphinx", docname: str, source: list[str]) -> None:
    """Append the tables of contents to the text of the index."""
    if docname != "index":
        return
    home = Path(app.srcdir)
    files = [*home.glob("*.md"), *home.glob("notebooks/*.ipynb")]
    pages = sorted(str(file.relative_to(home).with_suffix("")) for file in files)
    sections = complete_sections(read_sections(source[0]), pages)
    source[0] += "\n" + "\n".join(write_toctree(*item) for item in sections.items())


def setup(app: "Sphinx") -> dict[str, bool]:
    app.connect("source-read", add_toctrees)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
