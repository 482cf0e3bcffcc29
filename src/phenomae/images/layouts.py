"""The layouts that are known, and which of them a raw folder is of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from phenomae.images.fields import Listing
from phenomae.images.loaddata import find_loaddata, list_loaddata
from phenomae.images.settings import LayoutSettings


@dataclass(frozen=True)
class Layout:
    """How plates of one origin are known and read."""

    sign: str
    """What gives it away, for people: the files that `find` looks for."""
    find: Callable[[Path], Sequence[Path]]
    """Returns the index files at or below a raw folder; none where it is of another layout."""
    list: Callable[[Path, Sequence[Path], LayoutSettings], Listing]
    """Lists the images that these index files speak of, without opening one."""


LAYOUTS: Mapping[str, Layout] = {
    "loaddata": Layout("load_data*.csv", find_loaddata, list_loaddata),
}
"""In the order in which `auto` takes the first that fits: a LoadData CSV says more than the index
that lies beside it."""
