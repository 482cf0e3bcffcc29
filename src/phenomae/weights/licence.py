"""Reads the licence of published weights from their model card, and prints it with a notice.

The weights are not part of phenomae and have their own terms, which the user has to see.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CARD = "README.md"
NOTICE = (
    "the public channel-agnostic weights are for non-commercial use only, and phenomae ships none"
)
Licence = dict[str, str]
"""Id, name and link of a licence by their keys in a model card, of those that are there."""
_KEYS = ("license", "license_name", "license_link")
_MAX_LENGTH = 200
_COMMENT = re.compile(r"(^|\s)#.*")


def read_licence(folder: Path) -> Licence | None:
    """Return id, name and link of the licence in a folder's model card.

    Several ids are separated by commas. Returns None if there is no card, or if the card's front
    matter names no licence.
    """
    card = folder / CARD
    if not card.is_file():
        return None
    # Three keys of the front matter do not justify a dependency on a YAML parser.
    front = re.match(r"---\s*\n(.*?)\n---", card.read_text(errors="replace"), re.DOTALL)
    lines = front[1].splitlines() if front else []
    return check_licence({key: _read_value(key, lines) for key in _KEYS})


def check_licence(found: Any) -> Licence | None:
    """Return a licence as `config.json` records it, without what is empty; None if nothing is left.

    Version 0.1 recorded one text.
    """
    if isinstance(found, str):
        found = {"license": found}
    table = found if isinstance(found, Mapping) else {}
    named = {key: plain(value) for key in _KEYS if isinstance(value := table.get(key), str)}
    return {key: value for key, value in named.items() if value} or None


def join_licence(named: Licence | None) -> str | None:
    """Return id, name and link in one text, to be printed."""
    return ", ".join(named[key] for key in _KEYS if key in named) if named else None


def licence_text(named: Licence | None) -> str:
    """Return what is printed about the licence of any weights."""
    return f"licence: {join_licence(named) or 'not named by their source'}"


def licence_line(named: Licence | None) -> str:
    """Return what is printed about the licence of weights in the public layout."""
    return f"{licence_text(named)}; {NOTICE}"


def plain(value: str) -> str:
    """Return a value without quotes and control characters, cut to 200 characters."""
    # The card comes from the hub: escape sequences in it could manipulate the terminal.
    letters = "".join(letter for letter in value if letter.isprintable())
    return letters.strip(" '\"")[:_MAX_LENGTH]


def _read_value(key: str, lines: Sequence[str]) -> str:
    """Return the text of a key of the front matter; items of a list are separated by commas."""
    for number, line in enumerate(lines):
        name, _, text = line.partition(":")
        if name == key:
            value = _without_comment(text)
            items = value[1:-1].split(",") if re.fullmatch(r"\[.*\]", value) else [value]
            if not value:
                items = _read_items(lines[number + 1 :])
            return ", ".join(filter(None, (plain(_without_comment(item)) for item in items)))
    return ""


def _read_items(lines: Sequence[str]) -> list[str]:
    """Return the items of the list, `- mit`, with which lines begin."""
    items: list[str] = []
    for line in lines:
        if not (item := re.match(r"\s*-\s+(.*)", line)):
            break
        items.append(item[1])
    return items


def _without_comment(text: str) -> str:
    text = text.strip()
    quoted = re.match(r"""(["'])(.*?)\1""", text)
    return quoted[0] if quoted else _COMMENT.sub("", text)
