"""Reads a list of names that was pasted: what stands for rows of the map, and what does not."""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from phenomae.explorer.search import SearchIndex

_RESEMBLED = 10  # unknown names for which others are looked up, a tenth of a second each


@dataclass(frozen=True)
class NamesOfText:
    """The names of a text."""

    rows: Int[np.ndarray, " n"]
    """Rows of the map, in the order of the text, each once."""
    unknown: list[str]
    """What is not on the map."""

    @classmethod
    def read(cls, text: str, index: SearchIndex) -> "NamesOfText":
        """Read names that are separated by lines, commas, semicolons, tabs or spaces.

        A line or a part of it that is a name as a whole is one, so that names may contain any of
        these but line breaks. As in the search, letters may be in any case.
        """
        rows: dict[int, None] = {}
        unknown: dict[str, None] = {}
        for piece in _split(text, index):
            found = index.look_up(piece)
            if found is None:
                unknown[piece] = None
            else:
                rows[found.row] = None
        return cls(np.array(list(rows), dtype=np.int64), list(unknown))

    def describe_unknown(self, index: SearchIndex) -> str:
        """Return a sentence with the names that are not on the map; empty if all are."""
        if not self.unknown:
            return ""
        parts = []
        for name in self.unknown[:_RESEMBLED]:
            close = index.resemble(name)
            parts.append(f"{name} (did you mean {' or '.join(close)}?)" if close else name)
        more = len(self.unknown) - _RESEMBLED
        return f"Not on the map: {', '.join(parts)}{f' and {more} more' if more > 0 else ''}."


def _split(text: str, index: SearchIndex) -> list[str]:
    """Return the pieces of a text, as long as they are names."""
    pieces = [text]
    for separator in (r"[\r\n]", r"[,;\t]", r"\s"):
        split: list[str] = []
        for piece in pieces:
            known = index.look_up(piece) is not None
            split += [piece] if known else re.split(separator, piece)
        pieces = [piece.strip() for piece in split if piece.strip()]
    return pieces
