"""Batch correction: removes variation between batches and keeps the biology.

Corrections follow scikit-learn's protocol, but most learn from negative controls only.
"""

from phenomae.correction.center_scale import CenterScale
from phenomae.correction.harmony import Harmony
from phenomae.correction.pca_center_scale import PcaCenterScale
from phenomae.correction.sphering import Sphering
from phenomae.correction.tvn import TVN

__all__ = ["TVN", "CenterScale", "Harmony", "PcaCenterScale", "Sphering"]
