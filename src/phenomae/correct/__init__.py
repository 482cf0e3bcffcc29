"""Takes the batch out and leaves the biology in."""

from phenomae.correct.center_scale import CenterScale
from phenomae.correct.harmony import Harmony
from phenomae.correct.pca_center_scale import PcaCenterScale
from phenomae.correct.sphering import Sphering
from phenomae.correct.tvn import TVN

__all__ = ["TVN", "CenterScale", "Harmony", "PcaCenterScale", "Sphering"]
