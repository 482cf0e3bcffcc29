"""The table of commands, each named by string, so only what runs is imported."""

import difflib
import errno
import os
import select
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.config import Dict
from cyclopts.exceptions import CycloptsError, UnknownOptionError

from phenomae import __version__
from phenomae.progress import set_quiet
from phenomae.runs import Stopped

PLAN = """Say what a training would take, before it is started.

The word plan stands before any command line of pretrain, with all its settings:

phenomae plan pretrain vit-mae STORE RUN --steps 1000

It takes a few steps by the clock, and reckons from them what all would take: passes over the
pixels, FLOPs, memory, disk and hours. Nothing is written.
"""

COMMANDS = {
    "simulate": ("phenomae.simulation.simulate:simulate", "Draw a screen whose truth is known."),
    "ingest": ("phenomae.store.ingest:ingest", "Bring raw plates into a store."),
    "embed": (
        "phenomae.embedding.embed:embed",
        "Give every well its vector, with a trained network.",
    ),
    "intensity": (
        "phenomae.embedding.intensity:intensity",
        "Give every well hand-made intensity statistics, as a baseline.",
    ),
    "correct": ("phenomae.correction.correct:correct", "Take the batch out of the wells."),
    "map": ("phenomae.maps.map:map_wells", "Average wells to a map of genes, compounds or doses."),
    "export": ("phenomae.maps.export:export", "Write wells or a map as a table for other tools."),
    "benchmark": ("phenomae.evaluation.benchmark:benchmark", "Ask the map what biology knows."),
    "models": ("phenomae.models.cost.catalogue:models", "List the networks and what they cost."),
    "plan": ("phenomae.cli:plan", PLAN),
    "compare": ("phenomae.explore.compare:compare", "Set maps, or runs, side by side."),
    "report": ("phenomae.explore.report:report", "Write report.html: figures and tables."),
}
NETWORK_PACKAGES = (
    "torch",
    "lightning_fabric",
    "pytorch_optimizer",
    "einops",
    "safetensors",
    "huggingface_hub",
)
FAMILIES = {
    "vit-mae": ("phenomae.probes.commands:pretrain_vit_mae", "Masked autoencoder, ViT."),
    "channel-mae": (
        "phenomae.probes.commands:pretrain_channel_mae",
        "Masked autoencoder, ViT, for any channels.",
    ),
    "unet-mae": ("phenomae.probes.commands:pretrain_unet_mae", "Masked autoencoder, U-Net."),
    "classifier": (
        "phenomae.probes.commands:pretrain_classifier",
        "Weakly supervised DenseNet.",
    ),
    "vit-classifier": (
        "phenomae.probes.commands:pretrain_vit_classifier",
        "Weakly supervised ViT.",
    ),
}
EXCHANGE = {
    "import": (
        "phenomae.weights.import_export:import_weights",
        "Bring published weights into a folder of ours.",
    ),
    "export": (
        "phenomae.weights.import_export:export_weights",
        "Write weights as published ones lie on the hub.",
    ),
}
STORES = {
    "check": ("phenomae.store.check:check", "Verify that a store is whole, pixel by pixel."),
}
ANNOTATIONS = {
    "fetch": ("phenomae.evaluation.fetch:fetch", "Get the public lists of known pairs."),
}
QUESTIONS = {
    "signal": (
        "phenomae.evaluation.questions.ask:ask_signal",
        "Does a perturbation do anything: consistency, magnitude.",
    ),
    "replicates": (
        "phenomae.evaluation.questions.ask:ask_replicates",
        "Do replicates find each other: mean average precision.",
    ),
    "complexes": (
        "phenomae.explore.ask:ask_complexes",
        "Are the genes of a complex alike: within against between.",
    ),
    "compounds": (
        "phenomae.evaluation.questions.ask:ask_compounds",
        "Does a compound look like the genes it acts on.",
    ),
    "mechanisms": (
        "phenomae.evaluation.questions.ask:ask_mechanisms",
        "Do a compound's nearest neighbours act as it does.",
    ),
    "probe": (
        "phenomae.explore.ask:ask_probe",
        "Can a linear probe tell perturbations apart, block by block.",
    ),
}
GROUPS = {
    "ask": ("Ask wells and maps one question each.", QUESTIONS),
    "annotations": ("Known pairs of genes.", ANNOTATIONS),
    "store": ("Look after stores.", STORES),
    "pretrain": ("Teach an encoder, one command per family of models.", FAMILIES),
    "weights": ("Bring published weights in, or write such.", EXCHANGE),
}
"""Commands of two words: what the first is for, and the table of the second."""

TRY_AGAIN = 75
"""Exit code (EX_TEMPFAIL) of work that was asked to stop, has saved, and is to be started again."""

_FLAGS = ("--help", "-h", "--version")

app = App(
    name="phenomae",
    help="Masked autoencoders for cell morphology: from raw plates to a benchmarked map of genes.",
    version=__version__,
    help_epilogue="Every command takes --config FILE.toml (settings; flags win) and --quiet.",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),  # no --no-overwrite, --empty-betas and the like
)
_apps = [(COMMANDS, app)]
for _name, (_help, _table) in GROUPS.items():
    _apps.append((_table, App(name=_name, help=_help)))
    app.command(_apps[-1][1])
for _table, _app in _apps:
    for _name, (_path, _help) in _table.items():
        _app.command(_path, name=_name, help=_help, result_action="return_value")


def plan(
    *words: Annotated[str, Parameter(allow_leading_hyphen=True)],
    burst_s: float = 15.0,
    processes: int = 1,
    json: bool = False,
) -> None:
    """Print what a training would take.

    Parameters
    ----------
    words
        A command line of pretrain: pretrain vit-mae STORE RUN --steps 1000.
    burst_s
        Seconds for which steps are taken by the clock, three or more.
    processes
        Reckon with so many processes, each on a device like this one; one is measured.
    json
        Print one JSON object instead of a table.
    """
    if words[:1] != ("pretrain",) or len(words) == 1:
        given = f"not {' '.join(words[:2])!r}" if words else "and here is none"
        raise CycloptsError(
            msg=f"plan takes a command line of pretrain, pretrain vit-mae STORE RUN, {given}"
        )
    _check_command(list(words))
    _, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
    bound.apply_defaults()
    given = bound.arguments

    from phenomae.pretraining.plan.plan import plan as plan_training
    from phenomae.pretraining.plan.report import show

    settings, paths = given["settings"], (given["store"], given["run"], *given["more"])
    family = import_module(type(settings).__module__).FAMILY
    show(plan_training(family, paths, settings, burst_s, processes), json)


def read_recipe(path: Path, command: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings a TOML file holds for a command.

    A recipe may hold a whole pipeline, one table a command (`[pretrain.vit-mae]`), or the settings
    of a single command without a table. Raises ValueError where the file cannot be read or has a
    table that is no command.
    """
    try:
        recipe = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such recipe file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    known = [*COMMANDS, *GROUPS]
    for key, value in recipe.items():
        if isinstance(value, dict) and key not in known:
            raise ValueError(f"{path}: [{key}] is no command; commands are {', '.join(known)}")
        if not isinstance(value, dict) and key in known:
            raise ValueError(f"{path}: {key} must be a table, like [{key}]")
    section: Any = recipe
    for word in command:
        section = section.get(word, {})
        if not isinstance(section, dict):
            raise ValueError(f"{path}: {word} must be a table, like [{'.'.join(command)}]")
    for group, (_, table) in GROUPS.items():
        if unknown := set(recipe.get(group, {})) - set(table):
            raise ValueError(
                f"{path}: [{group}.{min(unknown)}] is no command; commands of {group} are "
                f"{', '.join(table)}"
            )
    loose = {key: value for key, value in recipe.items() if not isinstance(value, dict)}
    held, asked = _commands_of(recipe), " ".join(command)
    if held and not loose and asked not in held and _is_command(command):
        raise ValueError(
            f"{path} has no settings for {asked}: it is a recipe for {', '.join(held)}"
        )
    return {**loose, **section}


def _commands_of(recipe: dict[str, Any]) -> list[str]:
    """Return the commands that a recipe has tables for."""
    held: list[str] = []
    for key, table in recipe.items():
        if key in GROUPS:
            held += [f"{key} {word}" for word in table]
        elif isinstance(table, dict):
            held.append(key)
    return held


def _is_command(words: tuple[str, ...]) -> bool:
    if words and words[0] in GROUPS:
        return words[1:2] != () and words[1] in GROUPS[words[0]][1]
    return words[:1] != () and words[0] in COMMANDS


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code: 0 done, 1 could not, 2 wrong command line."""
    try:
        tokens, config = _take_common_flags(arguments)
        _check_command(tokens)
        app.config = () if config is None else (_recipe_source(config, tokens),)
        app(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()  # a full disk is told here, not by Python as it ends
    except CycloptsError as error:
        return _fail(*_explain_usage(error))
    except ImportError as error:
        package = _missing_package(error)
        if package not in NETWORK_PACKAGES:
            raise
        return _fail(f"this command needs {package}: pip install 'phenomae[train]'")
    except OSError as error:
        return 1 if _is_reader_gone(error) else _fail(_explain(error))  # as rich does for --help
    except ValueError as error:
        return _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_want_of_memory(error):
            raise
        return _fail(
            "memory is too small: lower crops_at_once, or crops_per_step, or cache_gb, or set "
            "activation_checkpointing on"
        )
    except Stopped as stopped:
        return _fail(str(stopped), code=TRY_AGAIN)
    except KeyboardInterrupt:
        return _fail("stopped; the same command goes on where it was", code=130)
    finally:
        set_quiet(False)  # one command's wish, not that of a process which calls functions after it
    return 0


def _is_want_of_memory(error: Exception) -> bool:
    """Say whether an error is numpy's, torch's or CUDA's for memory that is not there."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or "can't allocate memory" in str(error)  # torch on a CPU


def _check_command(tokens: list[str]) -> None:
    """Raise for an unknown command here: cyclopts would first import every command there is."""
    names, words = [*COMMANDS, *GROUPS], tokens[:1]
    if words and words[0] in GROUPS:
        names, words = list(GROUPS[words[0]][1]), tokens[1:2]
    if words and words[0] not in {*names, *_FLAGS}:
        if words[0].startswith("-"):
            raise CycloptsError(msg=f"there is no option {words[0]!r} before the command")
        close = difflib.get_close_matches(words[0], names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"commands are {', '.join(names)}"
        raise CycloptsError(msg=f"there is no command {words[0]!r}: {hint}")


def _missing_package(error: ImportError) -> str | None:
    """Return the package that is not installed; cyclopts wraps the error that names it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModuleNotFoundError):
        cause = cause.__cause__
    return cause.name.split(".")[0] if cause is not None and cause.name else None


def _take_common_flags(arguments: list[str]) -> tuple[list[str], Path | None]:
    """Split `--config FILE` and `--quiet`, which every command takes, from the rest."""
    tokens: list[str] = []
    config: Path | None = None
    quiet = False
    rest = iter(arguments)
    for token in rest:
        if token == "--quiet":
            quiet = True
        elif token == "--config" or token.startswith("--config="):
            value = token.partition("=")[2] or next(rest, None)
            if value is None:
                raise CycloptsError(msg="--config needs a file: --config recipe.toml")
            config = Path(value)
        else:
            tokens.append(token)
    set_quiet(quiet)
    return tokens, config


def _recipe_source(path: Path, tokens: list[str]) -> Dict:
    """Return the recipe's settings for the command in `tokens`, in cyclopts' form.

    Below their command's keys: beside them, a setting named like a command (`map` of `report`)
    would be taken for one, and passed over. A plan takes what the command planned does.
    """
    if tokens[:1] == ["plan"]:
        return _planned_source(path, tokens)
    words = 2 if tokens[:1] and tokens[0] in GROUPS else 1
    settings = read_recipe(path, tuple(tokens[:words]))
    for word in reversed(tokens[:words]):
        settings = {word: settings}
    return Dict(settings, source=str(path))


def _planned_source(path: Path, tokens: list[str]) -> Dict:
    planned = tokens[tokens.index("pretrain") :] if "pretrain" in tokens else ["pretrain"]
    settings = _recipe_source(path, planned).data
    own = tomllib.loads(path.read_text()).get("plan", {})
    return Dict({**settings, "plan": own}, source=str(path))


def _explain_usage(error: CycloptsError) -> tuple[str, int]:
    """Return the sentence for settings that do not fit, and 1 where a recipe holds them, else 2."""
    tokens = [getattr(error, "token", None), *(error.argument.tokens if error.argument else ())]
    token = next((token for token in tokens if token is not None), None)
    if token is None or token.source == "cli":
        return str(error), 2
    if not isinstance(error, UnknownOptionError):
        return str(error), 1
    key = (token.keyword or "").strip("[]").replace("][", ".")
    known = [item.name.removeprefix("--").replace("-", "_") for item in error.argument_collection]
    close = difflib.get_close_matches(key, known, n=1)
    lists = " ".join(["phenomae", *(error.command_chain or ()), "--help"])
    hint = f"did you mean {close[0]}?" if close else f"{lists} lists those there are"
    return f"{token.source}: there is no setting {key!r}: {hint}", 1


def _explain(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{name}the disk is full; make room and run the same command again, it goes on"
    return f"{name}{error.strerror or error}"


def _is_reader_gone(error: OSError) -> bool:
    """Say whether what is printed has lost its reader (`| head`), which has what it wanted."""
    if not isinstance(error, BrokenPipeError):
        return False
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:  # what is left would be written, and complained about, as Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _fail(sentence: str, code: int = 1) -> int:
    print(f"phenomae: {' '.join(sentence.split())}", file=sys.stderr)
    return code
