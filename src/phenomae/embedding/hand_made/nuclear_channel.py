"""Finds the channel that shows nuclei, by the names that stains of DNA have."""

from phenomae.embedding.hand_made.kind import View

NUCLEAR = ("dna", "dapi", "hoechst", "nuclei", "nucleus", "h2b", "draq5", "hoechst 33342")
"""Names of channels that are taken to show nuclei, in lower case."""


def find_nuclear_channel(view: View) -> int:
    """Return the index of the channel with nuclei: the setting `nuclear_channel`, or by its name.

    Raises ValueError if the setting names no channel, or if no single name begins like `NUCLEAR`.
    """
    chosen = view.settings.nuclear_channel
    if chosen:
        if chosen not in view.channels:
            raise ValueError(
                f"nuclear_channel must be one of {', '.join(view.channels)}, not {chosen!r}"
            )
        return list(view.channels).index(chosen)
    names = [name.lower() for name in view.channels]
    known = [at for at, name in enumerate(names) if name.startswith(NUCLEAR)]
    if len(known) != 1:
        raise ValueError(
            f"{view.source}: no single channel of {', '.join(view.channels)} is known to show "
            "nuclei: name it with nuclear_channel"
        )
    return known[0]
