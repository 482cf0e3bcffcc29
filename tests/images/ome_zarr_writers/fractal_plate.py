"""Writes an OME-Zarr plate, projected by Fractal's tasks, and its pixels: PLATE TRUTH.npz."""

import shutil
import sys
from pathlib import Path

import ngio
import numpy as np
from fractal_tasks_core.compute_projection_hcs import compute_projection_hcs
from fractal_tasks_core.init_projection_hcs import init_projection_hcs

rng = np.random.default_rng(0)
truth = {}
target = Path(sys.argv[1])
folder = target.parent / "fractal"
plate = ngio.create_empty_plate(folder / "stack.zarr", name="stack")
urls = []
for row, column in (("B", "03"), ("C", "11")):
    plate.add_image(row=row, column=column, image_path="0", acquisition_id=0)
    store = plate.get_image_store(row=row, column=column, image_path="0")
    pixels = rng.integers(1, 4000, (2, 3, 64, 80)).astype("uint16")
    ngio.create_ome_zarr_from_array(
        store, pixels, pixelsize=0.325, z_spacing=2, levels=2, overwrite=True,
        channels_meta=["DAPI", "GFP"], axes_names=["c", "z", "y", "x"],
    )  # fmt: skip
    urls.append(str(folder / "stack.zarr" / row / column / "0"))
    truth[f"{row}{column}/0"] = pixels.max(axis=1)[None, :, None]
made = init_projection_hcs(zarr_urls=urls, zarr_dir=str(folder))
for item in made["parallelization_list"]:
    compute_projection_hcs(zarr_url=item["zarr_url"], init_args=item["init_args"])
[projected] = [path for path in folder.glob("*.zarr") if path.name != "stack.zarr"]
shutil.move(projected, target)
np.savez(sys.argv[2], **truth)
