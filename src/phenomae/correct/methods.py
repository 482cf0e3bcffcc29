"""The table of corrections, by the names that the command takes."""

from phenomae.correct.center_scale import CenterScale
from phenomae.correct.correction import Correction
from phenomae.correct.harmony import Harmony
from phenomae.correct.pca_center_scale import PcaCenterScale
from phenomae.correct.sphering import Sphering
from phenomae.correct.tvn import TVN

METHODS: dict[str, type[Correction]] = {
    "center-scale": CenterScale,
    "pca-center-scale": PcaCenterScale,
    "tvn": TVN,
    "sphering": Sphering,
    "harmony": Harmony,
}
