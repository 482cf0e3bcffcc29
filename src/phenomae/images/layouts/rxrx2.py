"""RxRx2: cells with soluble factors, described by `metadata.csv`, and one PNG per channel.

Written from the data set's documentation; its files were not tried.
"""

from collections.abc import Sequence
from pathlib import Path

from phenomae.images.fields import Listing
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.rxrx3_wells import name_dose, read_amount
from phenomae.images.layouts.rxrx_metadata import Cells, Metadata, Treatment
from phenomae.images.layouts.rxrx_plates import list_plates
from phenomae.images.settings import LayoutSettings
from phenomae.text_tables import read_columns

_UNTREATED = "EMPTY"


def find_rxrx2(raw: Path) -> list[Path]:
    """Return the metadata (`raw` itself, or in it) with the columns of RxRx2."""
    # The metadata of RxRx19 have the same columns, and disease_condition.
    return [path for path in _METADATA.find(raw) if "disease_condition" not in read_columns(path)]


def list_rxrx2(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the PNGs `images/EXPERIMENT/Plate1/AA02_s2_w3.png` of the sites in the metadata.

    Plates are named EXPERIMENT_Plate1 and channels w1 to w6. The batch of a well is its experiment,
    the compound its soluble factor, and the perturbation both factor and dose. Wells without a
    factor, or with one whose name begins with EMPTY, are controls.

    Raises ValueError as `rxrx_plates.list_plates` does.
    """
    (csv,) = indices
    return list_plates(csv, _METADATA, settings)


def _read_treatment(cells: Cells) -> Treatment:
    factor = cells["treatment"]
    if factor is None or factor.upper().startswith(_UNTREATED):
        return Treatment(factor or "no treatment", control=True, labels={"perturbation": factor})
    # Not a concentration_um: the doses of RxRx2 are in mg/mL.
    perturbation = name_dose(factor, read_amount(cells["treatment_conc"]))
    labels = {"perturbation": perturbation, "compound": factor}
    return Treatment(perturbation, control=False, labels=labels)


_METADATA = Metadata(
    "RxRx2",
    _read_treatment,
    columns=("experiment", "plate", "well", "site", "treatment", "treatment_conc"),
    signs=("well_id", "cell_type"),
)

LAYOUT = Layout("rxrx2", "metadata.csv of RxRx2", find_rxrx2, list_rxrx2)
