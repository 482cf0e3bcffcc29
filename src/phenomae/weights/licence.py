"""Under what licence published weights lie: what their model card says, and what always holds."""

import re
from pathlib import Path

CARD = "README.md"
NOTICE = (
    "the public channel-agnostic weights are for non-commercial use only, and phenomae ships none"
)
_KEYS = ("license", "license_name", "license_link")
_LONGEST = 200


def read_licence(folder: Path) -> str | None:
    """Return what the model card of a folder names as licence: its id, name and link.

    None where there is no card, or where its front matter names none.
    """
    card = folder / CARD
    if not card.is_file():
        return None
    front = re.match(r"---\s*\n(.*?)\n---", card.read_text(errors="replace"), re.DOTALL)
    lines = front[1].splitlines() if front else []
    pairs = [line.partition(":") for line in lines]
    told = {key: plain(value) for key, _, value in pairs if key in _KEYS}
    return ", ".join(told[key] for key in _KEYS if told.get(key)) or None


def licence_line(named: str | None) -> str:
    """Return what a person is told on the licence of weights."""
    return f"licence: {named or 'none is named where they come from'}; {NOTICE}"


def plain(value: str) -> str:
    """Return a value without quotes, and without what could steer a terminal."""
    letters = "".join(letter for letter in value if letter.isprintable())
    return letters.strip(" '\"")[:_LONGEST]
