"""Batch correction: removes variation between batches and keeps the biology.

The corrections exported here are scikit-learn transformers. All but Harmony are fitted on the
negative controls only. Position and Count need the names of wells, so only `correct` uses them.
"""

from phenomae.correction.center_scale import CenterScale
from phenomae.correction.harmony import Harmony
from phenomae.correction.pca_center_scale import PcaCenterScale
from phenomae.correction.sphering import Sphering
from phenomae.correction.tvn import TVN
from phenomae.correction.tvn_2024 import TVN2024

__all__ = ["TVN", "TVN2024", "CenterScale", "Harmony", "PcaCenterScale", "Sphering"]
