"""RxRx3: `metadata_rxrx3.csv` with one row per well, and one PNG per channel of a field.

Written from the data set's documentation; its files were not tried. RxRx3-core, which has the same
metadata and images in Parquet files, is `rxrx3_core.py`.
"""

from collections.abc import Sequence
from pathlib import Path

from phenomae.images.fields import Listing
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.rxrx3_wells import COLUMNS, read_labels
from phenomae.images.layouts.rxrx_metadata import Cells, Metadata, Treatment
from phenomae.images.layouts.rxrx_plates import list_plates
from phenomae.images.settings import LayoutSettings


def list_rxrx3(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images `images/EXPERIMENT/Plate1/AA02_s1_w3.png` of the wells in the metadata.

    Plates are published as archives, each of which is to be unpacked into the folder of its plate.
    Plates are named EXPERIMENT_Plate1 and channels w1 to w6; wells have the labels that
    `rxrx3_wells.read_labels` describes.

    Raises ValueError as `rxrx_plates.list_plates` does.
    """
    (csv,) = indices
    return list_plates(csv, _METADATA, settings)


def _read_treatment(cells: Cells) -> Treatment:
    labels = read_labels(cells)
    kind = cells["perturbation_type"]
    return Treatment(f"{labels['perturbation']} ({kind})", bool(labels.pop("control")), labels)


_METADATA = Metadata(
    "RxRx3",
    _read_treatment,
    columns=COLUMNS,
    signs=("well_id",),
    experiment="experiment_name",
    well="address",
    site=None,
)
find_rxrx3 = _METADATA.find

LAYOUT = Layout("rxrx3", "metadata_rxrx3.csv", find_rxrx3, list_rxrx3)
