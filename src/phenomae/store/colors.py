"""Colours in which a viewer shows channels at first: those that stains have by custom."""

import re
from collections.abc import Sequence

# By what a name says of the stain, or of the dye and so of its light.
_BY_NAME = {
    "0000FF": "dna|hoechst|dapi|nuclei|nucleus|bfp|405",
    "00FF00": "er|cona|concanavalin|gfp|fitc|488",
    "FFFF00": "rna|syto|nucleoli",
    "FF8000": "agp|actin|phalloidin|golgi|wga|rfp|tritc|cy3|561|568",
    "FF0000": "mito|mitochondria|mitotracker|cy5|640|647",
    "FFFFFF": "brightfield|bf|phase",
}
_OTHERS = ("FF00FF", "00FFFF")


def choose_colors(channels: Sequence[str]) -> list[str]:
    """Return a colour for each channel, RRGGBB: its stain's, or else the first that is left.

    Colours come again when all are taken.
    """
    free = [*_BY_NAME, *_OTHERS]
    chosen: dict[int, str] = {}
    for index, channel in enumerate(channels):
        color = _find_color(channel)
        if color in free:
            free.remove(color)
            chosen[index] = color
    # White, the colour of transmitted light, is the last that a stain is shown in.
    free.sort(key="FFFFFF".__eq__)
    for index in range(len(channels)):
        if index not in chosen:
            free = free or [*_BY_NAME, *_OTHERS]
            chosen[index] = free.pop(0)
    return [chosen[index] for index in range(len(channels))]


def _find_color(channel: str) -> str | None:
    for color, words in _BY_NAME.items():
        if re.search(rf"(?<![a-z])(?:{words})(?![a-z])", channel.lower()):
            return color
    return None
