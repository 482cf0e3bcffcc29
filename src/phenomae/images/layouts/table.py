"""The layouts that are known, and which of them a raw folder is of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from phenomae.images.fields import Listing
from phenomae.images.layouts.cellvoyager import find_cellvoyager, list_cellvoyager
from phenomae.images.layouts.imagexpress import find_imagexpress, list_imagexpress
from phenomae.images.layouts.loaddata import find_loaddata, list_loaddata
from phenomae.images.layouts.phenix import find_phenix, list_phenix
from phenomae.images.layouts.rxrx1 import find_rxrx1, list_rxrx1
from phenomae.images.layouts.rxrx3_core import find_rxrx3_core, list_rxrx3_core
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
    "phenix": Layout("Index.idx.xml or Index.xml", find_phenix, list_phenix),
    "imagexpress": Layout("*.HTD", find_imagexpress, list_imagexpress),
    "cellvoyager": Layout("MeasurementData.mlf", find_cellvoyager, list_cellvoyager),
    "rxrx3-core": Layout("Parquet files with __key__", find_rxrx3_core, list_rxrx3_core),
    "rxrx1": Layout("metadata.csv of RxRx1", find_rxrx1, list_rxrx1),
}
"""In the order in which `auto` takes the first that fits: a LoadData CSV says more than the index
that lies beside it."""
