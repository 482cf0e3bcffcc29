"""Progress of long work: a bar on a terminal, and elsewhere a plain line every ten seconds.

Everything goes to standard error, so that standard output has only results.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar, runtime_checkable

Item = TypeVar("Item")

_LINE_EVERY_S = 10.0
_quiet = False
_reword: Callable[[str], str] = str


def set_quiet(quiet: bool) -> None:
    """Silence `info` and all progress of this process (`--quiet`)."""
    global _quiet
    _quiet = quiet


def set_wording(reword: Callable[[str], str]) -> None:
    """Let a function change what `info` prints: the command line names flags, not settings."""
    global _reword
    _reword = reword


def is_quiet() -> bool:
    """Return whether this process is silenced, for libraries that show progress themselves."""
    return _quiet


@contextmanager
def silenced() -> Iterator[None]:
    """Silence `info` and all progress in the block."""
    before = _quiet
    set_quiet(True)
    try:
        yield
    finally:
        set_quiet(before)


def info(text: str) -> None:
    """Print one line for the user on standard error, unless the process is silenced."""
    if not _quiet:
        print(_reword(text), file=sys.stderr, flush=True)


@contextmanager
def announced(text: str, after_s: float = 2.0) -> Iterator[None]:
    """Print a line with `info` if the block takes longer than `after_s` seconds, and else nothing.

    For long work of other libraries, whose progress is not known.
    """
    timer = threading.Timer(after_s, info, [text])
    timer.daemon = True  # an interrupt does not wait for it
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@runtime_checkable
class Advance(Protocol):
    """The function that `track` yields: call it after each piece of work."""

    def __call__(self, advance: int = 1, note: str = "") -> None: ...


@contextmanager
def track(label: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """Show the progress of `total` pieces of work, of which `done` were done by an earlier call.

    Rate and remaining time count only this call. `unit` is what a piece is called: fields, steps.
    """
    if _quiet:
        yield lambda advance=1, note="": None
    elif sys.stderr.isatty():
        with _bar(label, total, unit, done) as tracker:
            yield tracker
    else:
        yield _lines(label, total, unit, done)


def tracked(items: Iterable[Item], label: str, total: int, unit: str) -> Iterator[Item]:
    """Yield the items and show how many the caller has finished."""
    with track(label, total, unit) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def _bar(label: str, total: int, unit: str, done: int) -> Iterator[Advance]:
    # Imported here because rich takes longer to import than most commands need to fail or finish.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total, completed=done, note="")

        def advance(advance: int = 1, note: str = "") -> None:
            progress.update(task, advance=advance, note=note)

        yield advance


def _lines(label: str, total: int, unit: str, done: int) -> Advance:
    start = last = time.monotonic()
    count = done

    def advance(advance: int = 1, note: str = "") -> None:
        nonlocal count, last
        count += advance
        now = time.monotonic()
        if now - last < _LINE_EVERY_S and count < total:
            return
        last = now
        rate = (count - done) / max(now - start, 1e-9)
        left = (total - count) / max(rate, 1e-9)
        parts = [
            f"{label}: {count}/{total} {unit}",
            f"{format_number(rate)}/s",
            f"{_clock(left)} left",
        ]
        info(", ".join([*parts, note] if note else parts))

    return advance


def format_number(number: float) -> str:
    """Return a number with three digits, or all before the point: 1,320 and not 1.32e+03."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def count_of(number: int, noun: str) -> str:
    """Return `1 plate` or `2 plates`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
