"""What a layout is: how images of one origin are recognised and listed.

A layout module ends with `LAYOUT = Layout(name, sign, find, list)`; `table.py` names the module.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from phenomae.images.fields import Listing
from phenomae.images.settings import LayoutSettings


@dataclass(frozen=True)
class Layout:
    """How the raw files of one microscope or public data set are recognised and listed."""

    name: str
    """The value of the setting `layout`, as in the table."""
    sign: str
    """What `find` looks for, as error messages name it: `MeasurementData.mlf`."""
    find: Callable[[Path], Sequence[Path]]
    """Return the index files at or below a raw folder or file; empty if it has another layout."""
    list: Callable[[Path, Sequence[Path], LayoutSettings], Listing]
    """List the images that these index files name, without opening an image."""
    takes_address: bool = False
    """Whether the setting `images` may be an address, such as s3://BUCKET/FOLDER."""
