"""The search box of the page: finds a name of the map, its nearest names, and its point.

Its script is the only one of the page. It is in the page itself and loads nothing, and the page's
Content-Security-Policy has its hash, so that a browser runs no other script.
"""

import json
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import numpy as np
from jaxtyping import Float, Shaped

from phenomae.maps.nearest import compare_all
from phenomae.reporting.evidence.on_map import OnMap

MAX_ROWS = 20_000
"""Rows of the largest map with a search box, whose names and neighbors take 1 MB."""
NEAREST = 10
"""Nearest names that are listed."""
_OFFERED = 12  # names that are offered for what is typed


@dataclass(frozen=True)
class Search:
    """The parts of the search box that the page contains."""

    data: str
    """Names, nearest names and points, as JSON without the sign <."""
    script: str
    count: int
    """Number of names that are listed for a name."""
    noun: str
    has_points: bool

    @property
    def hash(self) -> str:
        """The source expression for the script in a Content-Security-Policy."""
        return f"sha256-{b64encode(sha256(self.script.encode()).digest()).decode()}"


def make_search(on_map: OnMap | None, noun: str) -> Search | None:
    """Return the search box of a map; None without a map, or if it is larger than `MAX_ROWS`."""
    if on_map is None or len(on_map.profiles.names) > MAX_ROWS:
        return None
    names = on_map.profiles.names
    count = min(NEAREST, len(names) - 1)
    [(nearest, cosines)] = compare_all(on_map.unit, count, (1.0,))
    data = {
        "names": names,
        "k": count,
        "offered": _OFFERED,
        "nearest": _encode(nearest.astype("<u2")),
        "cosines": _encode(np.rint(100 * cosines.clip(-1, 1)).astype(np.int8)),
        "points": _encode(_place(on_map.profiles.layout)),
    }
    # In HTML a text ends at </script>, which a name could have.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    script = (files("phenomae.reporting") / "search.js").read_text(encoding="utf-8")
    return Search(text, f"\n{script}", count, noun, on_map.profiles.layout is not None)


def _place(layout: Float[np.ndarray, "g 2"] | None) -> Shaped[np.ndarray, "..."]:
    """Return points from 0 to 65,535 in both directions, from the top; none without a layout."""
    if layout is None:
        return np.empty(0, dtype="<u2")
    points = layout.astype(np.float64)
    centered = points - (points.min(axis=0) + points.max(axis=0)) / 2
    half = np.abs(centered).max() or 1.0
    places = 0.5 + 0.5 * centered / half * [1, -1]
    return np.rint(65535 * places).astype("<u2")


def _encode(values: Shaped[np.ndarray, "..."]) -> str:
    return b64encode(np.ascontiguousarray(values).tobytes()).decode()
