"""Writes an OME-Zarr plate by iohub, and its pixels as `B03/0` -> t c z y x: PLATE TRUTH.npz."""

import sys

import numpy as np
from iohub.ngff import TransformationMeta, open_ome_zarr

rng = np.random.default_rng(0)
truth = {}
scale = TransformationMeta(type="scale", scale=[1, 1, 2, 0.325, 0.325])
channels = ["DAPI", "GFP"]
with open_ome_zarr(sys.argv[1], layout="hcs", mode="w", channel_names=channels) as plate:
    for row, column in (("B", "3"), ("C", "11")):
        for name in ("0", "1"):
            pixels = rng.integers(1, 4000, (2, 2, 3, 64, 80)).astype("uint16")
            plate.create_position(row, column, name).create_image("0", pixels, transform=[scale])
            truth[f"{row}{int(column):02d}/{name}"] = pixels
np.savez(sys.argv[2], **truth)
