"""Gives the index its tables of contents, from the links that stand on it.

Each heading of `index.md` becomes a caption of the sidebar, and the links below it become its
entries, so that the page stays plain Markdown. Pages that it does not link to are listed last.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

GENERATED = {
    "Reference": ["_generated/commands/index", "_generated/api/index"],
    "Tutorials": ["_generated/readme"],
    "Project": ["_generated/changelog", "_generated/contributing"],
}
"""Pages without a file in the repository, by the heading of the index that they belong to."""


def read_sections(index: str) -> dict[str, list[str]]:
    """Return the pages that each section of the index links to, without their suffix."""
    sections = {}
    for part in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        caption, _, text = part.partition("\n")
        links = re.findall(r"\]\(([\w/-]+)\.(?:md|ipynb)\)", text)
        sections[caption] = list(dict.fromkeys(links))
    return sections


def complete_sections(sections: dict[str, list[str]], pages: list[str]) -> dict[str, list[str]]:
    """Add the generated pages, and the pages that no section links to."""
    complete = {
        caption: [*links, *GENERATED.get(caption, [])] for caption, links in sections.items()
    }
    linked = {link for links in complete.values() for link in links}
    if rest := [page for page in pages if page not in linked and page != "index"]:
        complete["More"] = rest
    return complete


def write_toctree(caption: str, entries: list[str]) -> str:
    lines = ["```{toctree}", ":hidden:", ":maxdepth: 1", f":caption: {caption}", "", *entries]
    return "\n".join([*lines, "```", ""])


def add_toctrees(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the tables of contents to the text of the index."""
    if docname != "index":
        return
    home = Path(app.srcdir)
    files = [*home.glob("*.md"), *home.glob("notebooks/*.ipynb")]
    pages = sorted(str(file.relative_to(home).with_suffix("")) for file in files)
    sections = complete_sections(read_sections(source[0]), pages)
    source[0] += "\n" + "\n".join(write_toctree(*item) for item in sections.items())


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", add_toctrees)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
