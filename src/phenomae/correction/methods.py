"""The table of corrections, by the names that the command takes."""

from phenomae.correction.center_scale import CenterScale
from phenomae.correction.correction import Correction
from phenomae.correction.harmony import Harmony
from phenomae.correction.pca_center_scale import PcaCenterScale
from phenomae.correction.sphering import Sphering
from phenomae.correction.tvn import TVN

METHODS: dict[str, type[Correction]] = {
    "center-scale": CenterScale,
    "pca-center-scale": PcaCenterScale,
    "tvn": TVN,
    "sphering": Sphering,
    "harmony": Harmony,
}
