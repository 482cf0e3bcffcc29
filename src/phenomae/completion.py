"""`phenomae completion SHELL`: the completion of commands, flags and recipes in a shell.

cyclopts writes the script. `--config`, `--threads` and `--quiet` are no flags of its commands
(`cli.py` takes them off the command line first), so the parser for the script gets them as flags of
all.
"""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from phenomae.command_parser import build_parser
from phenomae.commands import NETWORK_PACKAGES, Table
from phenomae.shipped_recipes import recipe_names

Shell = Literal["bash", "zsh", "fish", "powershell"]


def completion(shell: Shell) -> str:
    """Print the script that completes commands, flags and names of recipes in a shell.

    Parameters
    ----------
    shell
        The shell that it is for.

    Returns the script. Without torch it lacks the commands that need it.
    """
    parser = build_parser(_installed)
    _add_common_flags(parser)
    script = parser.generate_completion(shell=shell)
    if shell == "bash":  # complete names of files where the script has no other words
        script = script.replace("complete -F ", "complete -o default -F ")
    print(script, end="")
    return script


def _installed(table: Table) -> Table:
    """Return the commands that can be imported: without torch, those that need no network."""
    return {name: entry for name, entry in table.items() if _is_installed(entry[0])}


def _is_installed(function: str) -> bool:
    try:
        import_module(function.partition(":")[0])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in NETWORK_PACKAGES:
            return False
        raise
    return True


def _add_common_flags(parser: App) -> None:
    def common(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        config: str | None = None,
        threads: Annotated[int | None, Parameter(help="Number of CPU cores to use.")] = None,
        quiet: Annotated[bool, Parameter(help="Print only results.", negative=())] = False,
    ) -> None: ...

    # The names are known only now.
    recipes: Any = Literal[tuple(recipe_names())]  # pyright: ignore[reportInvalidTypeForm]
    common.__annotations__["config"] = Annotated[
        recipes | Path | None, Parameter(help="Settings of a recipe.")
    ]
    parser.meta.default(common)
