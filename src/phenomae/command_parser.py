"""Turns command lines and recipes into calls of functions, with cyclopts.

A command is a function: its parameters are the positional arguments, the fields of its settings
dataclass are the flags, and the docstring under each field is the flag's help.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CoercionError, Parameter, Token, convert
from cyclopts.config import Dict
from cyclopts.exceptions import CycloptsError, MissingArgumentError, UnknownOptionError

from phenomae import __version__
from phenomae.checks import is_whole
from phenomae.commands import ABOUT, COMMANDS, FOOTER, GROUPS, Table, is_command, overview
from phenomae.recipe import parse_recipe, read_recipe
from phenomae.shipped_recipes import find_recipe


def convert_words(kind: Any, tokens: Sequence[Token]) -> Any:
    """Convert the words of one setting as cyclopts does, but refuse 0.5 where a number is whole.

    cyclopts rounds it, so that `--shuffle .5` would be no permutation at all.
    """
    if is_whole(kind):
        for token in tokens:
            if _has_fraction(token.value):
                raise CoercionError(token=token, target_type=int)
    return convert(kind, tokens)


def _has_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except ValueError:
        return False  # cyclopts says what is wrong with it


VERSION_FLAGS = ("--version", "-V")
FLAGS = ("--help", "-h", *VERSION_FLAGS)


def build_parser(select: Callable[[Table], Table] = lambda table: table) -> App:
    """Return the parser of the command line, with the commands of each table that are selected."""
    parser = App(
        name="phenomae",
        help=ABOUT,
        version=__version__,
        version_flags=VERSION_FLAGS,
        help_epilogue=FOOTER,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        # Without --no-overwrite, --empty-betas and the like.
        default_parameter=Parameter(negative=(), converter=convert_words),
    )
    _register(select(COMMANDS), parser)
    for name, group in GROUPS.items():
        several = App(name=name, help=group.help)
        _register(select(group.table), several)
        parser.command(several)
    return parser


def _register(table: Table, parent: App) -> None:
    for name, (function, help) in table.items():
        parent.command(function, name=name, help=help, result_action="return_value")


app = build_parser()


def plan(
    *words: Annotated[str, Parameter(allow_leading_hyphen=True)],
    burst_s: float = 15.0,
    processes: int = 1,
    json: bool = False,
) -> None:
    """Print what a training run would cost.

    Parameters
    ----------
    words
        A `pretrain` command line: pretrain vit-mae STORE RUN --steps 1000.
    burst_s
        Seconds for which training steps are timed; at least three steps are.
    processes
        Estimate for this many processes, each on a device like this one. Only one is measured.
    json
        Print one JSON object instead of a table.
    """
    if words[:1] != ("pretrain",) or len(words) == 1:
        given = f"not {' '.join(words[:2])!r}" if words else "and none was given"
        raise CycloptsError(
            msg=f"plan takes a pretrain command line, like pretrain vit-mae STORE RUN, {given}"
        )
    check_command(list(words))
    _, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
    bound.apply_defaults()
    given = bound.arguments

    from phenomae.pretraining.plan.plan import plan as plan_training
    from phenomae.pretraining.plan.report import show

    settings, paths = given["settings"], (given["store"], given["run"], *given["more"])
    show(plan_training(paths, settings, burst_s, processes, bool(given["recall"].every)), json)


def call(tokens: list[str], recipe: Path | None = None) -> Any:
    """Run the command that the words of a command line name; return what its function returns."""
    if tokens in ([], ["--help"], ["-h"]):
        return print(overview())
    check_command(tokens)
    _use(recipe, tokens)
    return app(tokens, exit_on_error=False, print_error=False)


def parse(tokens: list[str], recipe: Path | None = None) -> dict[str, Any]:
    """Return the arguments that a command would be called with, without calling it."""
    check_command(tokens)
    _use(recipe, tokens)
    _, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    return bound.arguments


def check_command(tokens: list[str]) -> None:
    """Raise CycloptsError for an unknown command.

    cyclopts would find it too, but imports every command there is to suggest a similar one.
    """
    names, words = [*COMMANDS, *GROUPS], tokens[:1]
    if words and words[0] in GROUPS:
        names, words = list(GROUPS[words[0]].table), tokens[1:2]
    if words and words[0] not in {*names, *FLAGS}:
        if words[0].startswith("-"):
            raise CycloptsError(msg=f"there is no option {words[0]!r} before the command")
        close = difflib.get_close_matches(words[0], names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"commands are {', '.join(names)}"
        raise CycloptsError(msg=f"there is no command {words[0]!r}: {hint}")


def explain_usage(error: CycloptsError) -> tuple[str, int]:
    """Return a sentence about settings that do not fit, and the exit code.

    The code is 1 if the setting came from a recipe, and 2 if it came from the command line.
    """
    tokens = [getattr(error, "token", None), *(error.argument.tokens if error.argument else ())]
    token = next((token for token in tokens if token is not None), None)
    if token is None or token.source == "cli":
        return _add_hyphen_hint(error), 2
    if not isinstance(error, UnknownOptionError):
        return str(error), 1
    key = (token.keyword or "").strip("[]").replace("][", ".")
    known = [item.name.removeprefix("--").replace("-", "_") for item in error.argument_collection]
    close = difflib.get_close_matches(key, known, n=1)
    help_command = " ".join(["phenomae", *(error.command_chain or ()), "--help"])
    hint = f"did you mean {close[0]}?" if close else f"{help_command} lists the settings"
    return f"{token.source}: there is no setting {key!r}: {hint}", 1


def write_as_flags(tokens: list[str], sentence: str) -> str:
    """Return a message with the settings that it names written as flags of the command.

    Functions name them as Python has them: `(setting plate_column)`, `set pair_weight to 0`.
    A word without an underscore is one where the message says so or what it must be; so is
    `overwrite`.
    """
    if tokens[:1] == ["plan"] and "pretrain" in tokens:
        tokens = tokens[tokens.index("pretrain") :]
    return _SETTING.sub(lambda found: _write_as_flag(found, _flags(tuple(tokens[:2]))), sentence)


# Not parts of paths or of names in quotes.
_SETTING = re.compile(
    r"(?<![\w/.'\"-])"
    r"(?:setting (?P<named>\w+)|(?P<first>^\w+)(?= must )|(?P<plain>[a-z]+(?:_[a-z]+)+|overwrite))"
    r"(?![\w/'\"-]|\.\w)(?P<equals> = )?"
)


def _write_as_flag(found: re.Match[str], flags: frozenset[str]) -> str:
    name = found["named"] or found["first"] or found["plain"]
    flag = f"--{name.replace('_', '-')}"
    return flag + (" " if found["equals"] else "") if flag in flags else found[0]


@cache
def _flags(command: tuple[str, ...]) -> frozenset[str]:
    """Return the flags of the command that a line begins with; none if there is no such command."""
    if not is_command(command[:1]) and not is_command(command):
        return frozenset()
    _, apps, _ = app.parse_commands(list(command))
    items = apps[-1].assemble_argument_collection()
    return frozenset(name for item in items for name in item.names)


def _add_hyphen_hint(error: CycloptsError) -> str:
    """Return the error's text, with how to give a value that begins with a hyphen if one was given.

    Such a word is taken as a flag, because `--channels --dry-run` lacks the channels.
    """
    words = list(error.root_input_tokens or ())
    if not isinstance(error, MissingArgumentError) or error.keyword not in words:
        return str(error)
    value = (words[words.index(error.keyword) + 1 :] or [""])[0]
    if not value.startswith("-"):
        return str(error)
    return f"{str(error).rstrip('.')}: if {value} is its value, write {error.keyword}={value}"


def _use(recipe: Path | None, tokens: list[str]) -> None:
    """Give cyclopts the settings of a recipe for the next command line."""
    app.config = () if recipe is None else (_recipe_source(recipe, tokens),)


def _recipe_source(path: Path, tokens: list[str]) -> Dict:
    """Return the recipe's settings for the command in `tokens`, in cyclopts' form.

    They are nested below the words of their command: at the top, a setting with the name of a
    command (`map` of `report`) would be taken for that command's table and ignored.
    """
    if tokens[:1] == ["plan"]:
        return _planned_source(path, tokens)
    words = 2 if tokens[:1] and tokens[0] in GROUPS else 1
    settings = read_recipe(path, tuple(tokens[:words]))
    for word in reversed(tokens[:words]):
        settings = {word: settings}
    return Dict(settings, source=str(path))


def _planned_source(path: Path, tokens: list[str]) -> Dict:
    """Return the settings of the planned command, and beside them those of `plan` itself."""
    planned = tokens[tokens.index("pretrain") :] if "pretrain" in tokens else ["pretrain"]
    settings = _recipe_source(path, planned).data
    own = parse_recipe(find_recipe(path)).get("plan", {})
    return Dict({**settings, "plan": own}, source=str(path))
