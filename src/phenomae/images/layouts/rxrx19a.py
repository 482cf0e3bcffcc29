"""RxRx19a: compounds on cells infected with SARS-CoV-2, five channels. See `rxrx19.py`."""

from collections.abc import Sequence
from pathlib import Path

from phenomae.images.fields import Listing
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.rxrx19 import DiseaseSet
from phenomae.images.settings import LayoutSettings

# The words of the documentation come second; the files have those that come first.
_SET = DiseaseSet(
    "RxRx19a",
    disease=("active sars-cov-2", "viral"),
    others=("mock", "uv inactivated sars-cov-2", "irradiated"),
)
find_rxrx19a = _SET.find


def list_rxrx19a(raw: Path, indices: Sequence[Path], settings: LayoutSettings) -> Listing:
    """List the images as `rxrx19.DiseaseSet.list_images` does; active virus is the disease."""
    (csv,) = indices
    return _SET.list_images(csv, settings)


LAYOUT = Layout("rxrx19a", "metadata.csv of RxRx19a", find_rxrx19a, list_rxrx19a)
