"""A table printed row by row: every row is a process of its own, and ends at its cap.

A row that crashes, hangs or runs out of memory costs its own line and no other. Rows run in the
order of the list, until the time is over; what was not reached is printed as such, and `first`
goes on there in another call.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Site:
    """Where and with what the rows run."""

    folder: Path
    """Everything that rows write, kept between calls."""
    device: str
    """cuda, or cpu for a rehearsal."""
    tiny: bool
    """Whether networks and screens are as small as they can be."""
    ends_at: float
    """Time (`time.monotonic`) at which the last row should be done."""

    def note(self, name: str, value: Any) -> None:
        """Keep a number for later rows, also of another call."""
        (self.folder / f"{name}.json").write_text(json.dumps(value))

    def noted(self, name: str) -> Any:
        """Return a number that an earlier row kept, None if it did not."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else None


Work = Callable[[Site], Iterator[str]]
"""A row's function: it yields the lines of the row."""


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    name: str
    work: Work
    cap_s: float = 25.0
    needs: str | None = None
    """The row whose files this one reads; it runs before, unless an earlier call has done it."""


def print_table(
    rows: Sequence[Row], site: Site, first: str | None = None, last: str | None = None
) -> bool:
    """Run the rows `first` to `last` and print them; return whether all of them succeeded."""
    names = [row.name for row in rows]
    for name in (first, last):
        if name is not None and name not in names:
            raise SystemExit(f"there is no row {name!r}: rows are {', '.join(names)}")
    begin, end = names.index(first or names[0]), names.index(last or names[-1])
    waiting = list(rows[begin : end + 1])
    whole = True
    while waiting and time.monotonic() < site.ends_at:
        row = _next(waiting, rows, site)
        left_s = max(1.0, site.ends_at - time.monotonic())
        cap_s = left_s if site.tiny else min(row.cap_s, left_s)  # a CPU compiles for minutes
        began = time.monotonic()
        print(f"== {row.name}", flush=True)
        ended = _run(row, site, cap_s)
        whole &= ended == "done"
        site.note(f"row-{row.name}", ended)
        print(f"-- {row.name}: {ended} after {time.monotonic() - began:.1f} s", flush=True)
    if waiting:
        print(f"not reached: {' '.join(row.name for row in waiting)}")
        print(f"go on with --from {waiting[0].name}")
    return whole and not waiting


def _next(waiting: list[Row], rows: Sequence[Row], site: Site) -> Row:
    """Return the next row: the first that waits, or else the row that it needs."""
    needed = waiting[0].needs
    # A second call may be on another machine, where nothing of the first call is left.
    if needed is None or site.noted(f"row-{needed}"):
        return waiting.pop(0)
    return next(row for row in rows if row.name == needed)


def _run(row: Row, site: Site, cap_s: float) -> str:
    """Run a row in a process of its own and return how it ended."""
    # Forked, so that torch is imported once; the parent must not have touched the device.
    process = multiprocessing.get_context("fork").Process(target=_work, args=(row, site))
    process.start()
    process.join(cap_s)
    if process.exitcode is None:
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
        process.join()
        return "stopped at its cap"
    return "done" if process.exitcode == 0 else f"FAILED ({process.exitcode})"


def _work(row: Row, site: Site) -> None:
    os.setpgid(0, 0)
    try:
        for line in row.work(site):
            print(line, flush=True)
    except Exception as error:
        # The last frame of ours says enough; the table has to stay readable.
        where = traceback.extract_tb(error.__traceback__)[-1]
        print(f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")
        sys.exit(1)
