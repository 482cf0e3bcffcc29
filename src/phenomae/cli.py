"""The program `phenomae`: runs one command line and turns every error into one sentence.

Exit codes: 0 done, 1 failed, 2 wrong command line, 75 stopped on request and to be run again,
130 interrupted.
"""

import errno
import os
import select
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from phenomae.commands import NETWORK_PACKAGES, overview
from phenomae.cores import limited_threads, wait_passively_if_busy
from phenomae.free_memory import is_out_of_memory
from phenomae.progress import info, is_quiet, set_quiet, set_wording

if TYPE_CHECKING:
    from phenomae.outputs import Output

TRY_AGAIN = 75
"""EX_TEMPFAIL: a scheduler requeues a job that ends with it. The work was saved and goes on."""
INTERRUPTED = 130


_TRAINING = "lower crops_at_once, crops_per_step or cache_gb, or set activation_checkpointing to on"
LESS_MEMORY = {
    "pretrain": _TRAINING,
    "plan": _TRAINING,
    "embed": "lower crops_at_once",
    "ingest": "lower workers",
}
"""Settings of commands that let them run with less memory."""
_FEWER = "it needs a machine with more memory, or fewer wells"


def main() -> None:
    """Run the command line and exit with its code."""
    _open_closed_streams()
    sys.exit(run(sys.argv[1:]))


def _open_closed_streams() -> None:
    """Open the null device for each standard stream that the caller closed (`>&-`).

    Without it the next file that is opened would get the number of the stream, and what a library
    prints would be written into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code.

    Parameters
    ----------
    arguments
        The words after `phenomae`, like `["ingest", "RAW", "STORE"]`.
    """
    was_quiet = is_quiet()
    try:
        if not arguments or arguments in (["--help"], ["-h"]):
            print(overview())
        elif code := _run_command(arguments):
            return code
        sys.stdout.flush()  # reports a full disk here, and not while Python exits
    except OSError as error:
        return 1 if _is_reader_gone(error) else _fail(_explain(error))
    except KeyboardInterrupt:
        return _fail("stopped; run the same command again to go on", code=INTERRUPTED)
    finally:
        set_quiet(was_quiet)  # --quiet is for one command line, not for what has called it
        set_wording(str)
    return 0


def _run_command(arguments: list[str]) -> int:
    # Imported here because cyclopts takes longer to import than `phenomae --help` to print.
    from cyclopts.exceptions import CycloptsError

    from phenomae.command_parser import call, explain_usage, write_as_flags
    from phenomae.outputs import Output
    from phenomae.runs import Stopped

    reword = partial(write_as_flags, arguments)
    try:
        tokens, recipe, threads = split_common_flags(arguments)
        reword = partial(write_as_flags, tokens)
        set_wording(reword)
        # Before numpy, polars or torch is imported, which then start so many threads.
        with limited_threads(threads):
            if tokens[:1] == ["pretrain"]:
                wait_passively_if_busy()
            made = call(tokens, recipe)
        if isinstance(made, Output) and made.is_finished and not is_quiet():
            _print_counts(made)
    except CycloptsError as error:
        return _fail(*explain_usage(error))
    except ImportError as error:
        package = _missing_package(error)
        if package not in NETWORK_PACKAGES:
            raise
        return _fail(f"this command needs {package}: pip install 'phenomae[train]'")
    except ValueError as error:
        return _fail(reword(str(error)))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        command = next((word for word in arguments if word in LESS_MEMORY), "")
        advice = LESS_MEMORY.get(command, _FEWER)
        return _fail(reword(f"out of memory: {advice}"))
    except Stopped as stopped:
        return _fail(str(stopped), code=TRY_AGAIN)
    return 0


def _print_counts(made: "Output") -> None:
    if counts := made.counts():
        info(f"{made.path}: {counts}")


def split_common_flags(arguments: list[str]) -> tuple[list[str], Path | None, int | None]:
    """Apply `--quiet`; return the remaining words, the recipe of `--config`, and `--threads`.

    Every command takes these flags, so no command has to declare them. Raises CycloptsError if one
    has no value, and ValueError if the number of threads is no number.
    """
    tokens: list[str] = []
    config: Path | None = None
    threads: int | None = None
    quiet = False
    rest = iter(arguments)
    for token in rest:
        if token == "--quiet":
            quiet = True
        elif token.partition("=")[0] == "--config":
            what = "a file or the name of a recipe: --config recipe.toml"
            config = Path(_value(token, rest, what))
        elif token.partition("=")[0] == "--threads":
            value = _value(token, rest, "a number: --threads 2")
            if not (value.isdecimal() and int(value)):
                raise ValueError(f"--threads must be a whole number from 1, not {value}")
            threads = int(value)
        else:
            tokens.append(token)
    set_quiet(quiet)
    return tokens, config, threads


def _value(flag: str, rest: Iterator[str], what: str) -> str:
    """Return the value of a flag: after its =, or the next word."""
    name, _, value = flag.partition("=")
    value = value or next(rest, "")
    if not value:
        from cyclopts.exceptions import CycloptsError

        raise CycloptsError(msg=f"{name} needs {what}")
    return value


def _missing_package(error: ImportError) -> str | None:
    """Return the package that is not installed; cyclopts wraps the error that names it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModuleNotFoundError):
        cause = cause.__cause__
    return cause.name.split(".")[0] if cause is not None and cause.name else None


def _explain(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{name}the disk is full; free space and run the same command again to go on"
    return f"{name}{error.strerror or error}"


def _is_reader_gone(error: OSError) -> bool:
    """Return whether standard output is a pipe whose reader has ended, as in `| head`."""
    if not isinstance(error, BrokenPipeError):
        return False
    # A BrokenPipeError may also come from a socket; only standard output's reader is of interest.
    gone = True
    if hasattr(select, "poll"):  # not on Windows
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:  # Python would try to write the rest while it exits, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _fail(sentence: str, code: int = 1) -> int:
    print(f"phenomae: {' '.join(sentence.split())}", file=sys.stderr)
    return code
