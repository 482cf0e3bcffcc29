"""Reads the licence of published weights from their model card, and prints it with a notice.

The weights are not part of phenomae and have their own terms, which the user has to see.
"""

import re
from pathlib import Path

CARD = "README.md"
NOTICE = (
    "the public channel-agnostic weights are for non-commercial use only, and phenomae ships none"
)
_KEYS = ("license", "license_name", "license_link")
_MAX_LENGTH = 200


def read_licence(folder: Path) -> str | None:
    """Return id, name and link of the licence in a folder's model card.

    Returns None if there is no card, or if the card's front matter names no licence.
    """
    card = folder / CARD
    if not card.is_file():
        return None
    # Three keys of the front matter do not justify a dependency on a YAML parser.
    front = re.match(r"---\s*\n(.*?)\n---", card.read_text(errors="replace"), re.DOTALL)
    lines = front[1].splitlines() if front else []
    pairs = [line.partition(":") for line in lines]
    named = {key: plain(value) for key, _, value in pairs if key in _KEYS}
    return ", ".join(named[key] for key in _KEYS if named.get(key)) or None


def licence_line(named: str | None) -> str:
    """Return the line that is printed about the licence of weights."""
    return f"licence: {named or 'not named by their source'}; {NOTICE}"


def plain(value: str) -> str:
    """Return a value without quotes and control characters, cut to 200 characters."""
    # The card comes from the hub: escape sequences in it could manipulate the terminal.
    letters = "".join(letter for letter in value if letter.isprintable())
    return letters.strip(" '\"")[:_MAX_LENGTH]
