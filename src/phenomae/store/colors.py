"""Default display colours of channels in viewers: the customary colour of each stain.

Stains are recognised by words in the channel's name, because data sets have no common names.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

# Names of stains, structures and dyes, and excitation wavelengths in nm (488: green).
_BY_NAME = {
    "0000FF": "dna|hoechst|dapi|nuclei|nucleus|bfp|405",
    "00FF00": "er|cona|concanavalin|gfp|fitc|488",
    "FFFF00": "rna|syto|nucleoli",
    "FF8000": "agp|actin|phalloidin|golgi|wga|rfp|tritc|cy3|561|568",
    "FF0000": "mito|mitochondria|mitotracker|cy5|640|647",
    "FFFFFF": "brightfield|bf|phase",
}
_OTHERS = ("FF00FF", "00FFFF")
_DNA = "0000FF"


def choose_colors(
    channels: Sequence[str], given: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Return one colour per channel, as RRGGBB.

    A channel keeps the colour that is `given`; others get the colour of their stain. If the name
    has no known word or the colour is taken, the channel gets the first unused colour. Colours
    repeat once all are used.
    """
    free = [*_BY_NAME, *_OTHERS]
    chosen: dict[int, str] = {}
    for index, channel in enumerate(channels):
        if channel in given:
            chosen[index] = given[channel]
            free = [color for color in free if color != given[channel]]
    for index, channel in enumerate(channels):
        color = None if index in chosen else _find_color(channel)
        if color in free:
            free.remove(color)
            chosen[index] = color
    # White is customary for transmitted light, so unrecognised channels get white last.
    free.sort(key="FFFFFF".__eq__)
    for index in range(len(channels)):
        if index not in chosen:
            free = free or [*_BY_NAME, *_OTHERS]
            chosen[index] = free.pop(0)
    return [chosen[index] for index in range(len(channels))]


def _find_color(channel: str) -> str | None:
    for color, words in _BY_NAME.items():
        # Whole words only: `er` is not part of `Fibers`; digits may follow (`DNA1`).
        if re.search(rf"(?<![a-z])(?:{words})(?![a-z])", channel.lower()):
            return color
    return None


def find_dna_channel(channels: Sequence[str]) -> int | None:
    """Return the index of the only channel with the name of a stain of DNA; None if there is none
    or more than one.
    """
    found = [index for index, channel in enumerate(channels) if _find_color(channel) == _DNA]
    return found[0] if len(found) == 1 else None
