"""Writes the reference pages before a build: one per command, one per room of the public API.

The commands are described by cyclopts from the same functions as `--help`, and the API by autodoc
from the names in `__init__.pyi`. The pages are in docs/_generated, which git ignores.
"""

import dataclasses
import importlib
from collections import defaultdict
from pathlib import Path

from cyclopts.docs.rst import generate_rst_docs
from signatures import document_fields
from sphinx.application import Sphinx

import phenomae
from phenomae.command_parser import app as program
from phenomae.commands import COMMANDS, FOOTER, GROUPS

Pages = dict[str, str]
"""Text of each page by its path below docs/_generated."""


def command_pages() -> Pages:
    """Return a page per command, one per group, and their index."""
    pages = {f"commands/{name}.rst": describe((name,)) for name in COMMANDS}
    for group in GROUPS:
        words = [(group, name) for name in GROUPS[group].table]
        pages |= {f"commands/{'-'.join(pair)}.rst": describe(pair) for pair in words}
    names = [*COMMANDS, *(f"{group}-{name}" for group in GROUPS for name in GROUPS[group].table)]
    index = [*title("Commands"), *list_commands(), FOOTER, "", *toctree(names)]
    return pages | {"commands/index.rst": "\n".join(index)}


def describe(words: tuple[str, ...]) -> str:
    """Return the page of a command."""
    command = program
    for word in words:
        command = command[word]
    name = f"phenomae {' '.join(words)}"
    # Within the stack the command has the defaults of the program: no flags like --no-overwrite.
    with program.app_stack(list(words)):
        text = generate_rst_docs(
            command, no_root_title=True, generate_toc=False, usage_name=name
        )
    return "\n".join([*title(name), text, FOOTER, ""])


def list_commands() -> list[str]:
    """Return definition lists of all commands with a line of help each."""
    lines = []
    for name, (_, help) in COMMANDS.items():
        lines += [f":doc:`phenomae {name} <{name}>`", f"    {help.partition(chr(10))[0]}", ""]
    for group, parts in GROUPS.items():
        lines += [*title(f"phenomae {group} ...", "-"), parts.help, ""]
        for name, (_, help) in parts.table.items():
            link = f":doc:`phenomae {group} {name} <{group}-{name}>`"
            lines += [link, f"    {help.partition(chr(10))[0]}", ""]
    return lines


def api_pages() -> Pages:
    """Return a page per room with its public names in the order of the pipeline, and an index."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for name, module in phenomae._read_public().items():
        rooms[".".join(module.split(".")[:2])].append(name)
    pages, index = {}, [*title("Python API"), "All names are attributes of ``phenomae``.", ""]
    for room, names in rooms.items():
        short = room.partition(".")[2]
        about = (importlib.import_module(room).__doc__ or "").partition("\n")[0].rstrip(".")
        directives = [directive(name) for name in names]
        pages[f"api/{short}.rst"] = "\n".join([*title(short), f"{about}.", "", *directives])
        index += [*title(short, "-"), f"{about} (:doc:`{short}`).", ""]
        index += [".. autosummary::", "", *(f"    phenomae.{name}" for name in names), ""]
    index += toctree([room.partition(".")[2] for room in rooms])
    return pages | {"api/index.rst": "\n".join(index)}


def directive(name: str) -> str:
    """Return the directive that documents a public name."""
    kind = getattr(phenomae, name)
    if not isinstance(kind, type):
        return f".. autofunction:: phenomae.{name}\n"
    fields = document_fields(kind)
    lines = [f".. autoclass:: phenomae.{name}", "    :members:", "    :inherited-members:"]
    if fields:
        own = [field.name for field in dataclasses.fields(kind)]
        lines.append(f"    :exclude-members: {', '.join(own)}")
    return "\n".join([*lines, "", *(f"    {line}".rstrip() for line in fields), ""])


def title(text: str, line: str = "=") -> list[str]:
    return [text, line * len(text), ""]


def toctree(names: list[str]) -> list[str]:
    return [".. toctree::", "    :hidden:", "", *(f"    {name}" for name in names), ""]


def write_pages(app: Sphinx) -> None:
    """Write the pages that changed, so that a second build reads only those."""
    home = Path(app.srcdir) / "_generated"
    pages = command_pages() | api_pages()
    for folder in ("commands", "api"):
        for old in (home / folder).glob("*.rst"):
            if f"{folder}/{old.name}" not in pages:
                old.unlink()
    for name, text in pages.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
