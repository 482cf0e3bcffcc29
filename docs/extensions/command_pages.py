"""Writes a page per command before a build, from the same functions as `phenomae COMMAND --help`.

The pages are in docs/_generated/commands, which git ignores.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts.docs.rst import generate_rst_docs
from generated_pages import title, toctree, write_folder

from phenomae.command_parser import app as program
from phenomae.commands import COMMANDS, FOOTER, GROUPS

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def command_pages() -> dict[str, str]:
    """Return the text of a page per command by its name, and of their index."""
    words = [(name,) for name in COMMANDS]
    words += [(group, name) for group in GROUPS for name in GROUPS[group].table]
    pages = {"-".join(command): describe(command) for command in words}
    index = [*title("Commands"), *list_commands(), *FOOTER_LINES, *toctree([*pages])]
    return pages | {"index": "\n".join(index)}


FOOTER_LINES = [
    FOOTER.replace("--config FILE.toml", "``--config FILE.toml``").replace(
        "--quiet", "``--quiet``"
    ),
    "",
]  # as code, for Sphinx makes one dash of two


def describe(words: tuple[str, ...]) -> str:
    """Return the page of a command."""
    command = program
    for word in words:
        command = command[word]
    name = f"phenomae {' '.join(words)}"
    # Within the stack a command has the defaults of the program: no flags like --no-overwrite.
    with program.app_stack(list(words)):
        text = generate_rst_docs(command, no_root_title=True, generate_toc=False, usage_name=name)
    return "\n".join([*title(name), text, *FOOTER_LINES])


def list_commands() -> list[str]:
    """Return all commands with a line of help each, those of two words below their group."""
    lines = []
    for name, (_, help) in COMMANDS.items():
        lines += entry((name,), help)
    for group, parts in GROUPS.items():
        lines += [*title(f"phenomae {group} ...", "-"), parts.help, ""]
        for name, (_, help) in parts.table.items():
            lines += entry((group, name), help)
    return lines


def entry(words: tuple[str, ...], help: str) -> list[str]:
    first_line = help.partition("\n")[0]
    return [f":doc:`phenomae {' '.join(words)} <{'-'.join(words)}>`", f"    {first_line}", ""]


def write_command_pages(app: "Sphinx") -> None:
    write_folder(Path(app.srcdir) / "_generated/commands", command_pages())


def setup(app: "Sphinx") -> dict[str, bool]:
    app.connect("builder-inited", write_command_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
