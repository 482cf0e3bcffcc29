"""Names of plates and channels in the form that names in tables have."""

import unicodedata
from dataclasses import replace

from phenomae.images.fields import Listing
from phenomae.tidy_text import tidy_text


def compose_names(listing: Listing) -> Listing:
    """Return the listing with the names of plates and channels in Unicode's form NFC.

    Names in plate maps have this form, and macOS may write the letters of file names in another.
    """
    plates = {file.plate for file in listing.files} | set(listing.pixel_sizes_um)
    if all(name.isascii() for name in plates | {file.channel for file in listing.files}):
        return listing
    wells = listing.wells
    return replace(
        listing,
        files=[
            replace(file, plate=compose(file.plate), channel=compose(file.channel))
            for file in listing.files
        ],
        pixel_sizes_um={compose(name): size for name, size in listing.pixel_sizes_um.items()},
        colors={compose(name): color for name, color in listing.colors.items()},
        wells=wells if wells is None else tidy_text(wells, "the list of wells"),
        problems=[
            problem if problem.plate is None else replace(problem, plate=compose(problem.plate))
            for problem in listing.problems
        ],
    )


def compose(name: str) -> str:
    """Return a name in Unicode's form NFC, in which an accented letter is one character."""
    return unicodedata.normalize("NFC", name)
