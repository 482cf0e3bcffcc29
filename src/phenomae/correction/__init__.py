"""Takes the batch out and leaves the biology in."""

from phenomae.correction.center_scale import CenterScale
from phenomae.correction.harmony import Harmony
from phenomae.correction.pca_center_scale import PcaCenterScale
from phenomae.correction.sphering import Sphering
from phenomae.correction.tvn import TVN

__all__ = ["TVN", "CenterScale", "Harmony", "PcaCenterScale", "Sphering"]
