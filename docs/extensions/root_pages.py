"""Shows README, CONTRIBUTING and CHANGELOG on the site, and leads links to them there.

Links on pages are written for a code host, where these three stand above the folder of the docs.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT_PAGES = ("README", "CONTRIBUTING", "CHANGELOG")
LINK = re.compile(r"\]\((?!\w+:|#)([^)\s]+)")


def move_link(target: str) -> str:
    """Return a link of a page at the root as it is written on a page in docs/_generated."""
    path, hash, heading = target.partition("#")
    if path.startswith("docs/"):
        return path.replace("docs/", "../", 1) + hash + heading
    name = path.removesuffix(".md")
    return f"{name.lower()}.md{hash}{heading}" if name in ROOT_PAGES else f"../../{target}"


def write_root_pages(app: "Sphinx") -> None:
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    for name in ROOT_PAGES:
        text = (Path(app.srcdir).parent / f"{name}.md").read_text()
        moved = LINK.sub(lambda link: f"]({move_link(link[1])}", text)
        path = folder / f"{name.lower()}.md"
        if not path.exists() or path.read_text() != moved:
            path.write_text(moved)


def lead_links_to_root_pages(app: "Sphinx", docname: str, source: list[str]) -> None:
    """Replace `../README.md` by the page of the site, on the pages in docs/."""
    if "/" not in docname:
        for name in ROOT_PAGES:
            source[0] = source[0].replace(f"](../{name}.md", f"](_generated/{name.lower()}.md")


def setup(app: "Sphinx") -> dict[str, bool]:
    app.connect("builder-inited", write_root_pages)
    app.connect("source-read", lead_links_to_root_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
