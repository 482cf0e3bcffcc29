"""RxRx19b: compounds on cells in a cytokine storm, six channels. See `rxrx19.py`."""

from collections.abc import Sequence
from pathlib import Path

from phenomae.images.fields import Listing
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.rxrx19 import DiseaseSet
from phenomae.images.settings import LayoutSettings

_SET = DiseaseSet("RxRx19b", disease=("storm-severe",), others=("healthy", "blank"))
find_rxrx19b = _SET.find


def list_rxrx19b(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images as `rxrx19.DiseaseSet.list_images` does; the severe storm is the disease."""
    (csv,) = indices
    return _SET.list_images(csv, settings)


LAYOUT = Layout("rxrx19b", "metadata.csv of RxRx19b", find_rxrx19b, list_rxrx19b)
