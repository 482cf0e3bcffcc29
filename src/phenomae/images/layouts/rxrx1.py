"""RxRx1: `metadata.csv`, and one PNG per channel of a field.

Controls and siRNAs are in the same table as the sites, so no plate map is needed.
"""

from collections.abc import Sequence
from pathlib import Path

from phenomae.images.fields import Listing
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.rxrx_metadata import Cells, Metadata, Treatment
from phenomae.images.layouts.rxrx_plates import list_plates
from phenomae.images.settings import LayoutSettings

_TYPES = ("treatment", "negative_control", "positive_control")


def list_rxrx1(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the PNGs `images/EXPERIMENT/Plate1/B02_s1_w1.png` of the sites in metadata.csv.

    Plates are named EXPERIMENT_Plate1 and channels w1 to w6. The batch of a well is its experiment;
    perturbation and guide are its siRNA; wells with the well type `negative_control` are controls.

    Raises ValueError as `rxrx_plates.list_plates` does.
    """
    (csv,) = indices
    return list_plates(csv, _METADATA, settings)


def _read_treatment(cells: Cells) -> Treatment:
    sirna, kind = cells["sirna"], cells["well_type"]
    # Of an unknown type one cannot say whether it is a control.
    if kind not in _TYPES:
        raise ValueError(f"{kind!r} is not a well type: expected {', '.join(_TYPES)}")
    labels = {"perturbation": sirna, "guide": sirna}
    return Treatment(f"{sirna} ({kind})", kind == "negative_control", labels)


_METADATA = Metadata(
    "RxRx1",
    _read_treatment,
    columns=("experiment", "plate", "well", "site", "well_type", "sirna"),
)
find_rxrx1 = _METADATA.find

LAYOUT = Layout("rxrx1", "metadata.csv of RxRx1", find_rxrx1, list_rxrx1)
