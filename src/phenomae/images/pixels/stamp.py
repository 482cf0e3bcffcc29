"""Tells whether a file was replaced, for caches that one process keeps while plates may change."""

import os

Stamp = tuple[int, int] | None


def stamp_of(path: str) -> Stamp:
    """Return the time at which a file last changed, in ns, and its size; None if there is none.

    Of an address, too, None: asking the server each time would take longer than what a cache saves.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
