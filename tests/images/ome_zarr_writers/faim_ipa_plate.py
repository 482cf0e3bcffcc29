"""Writes an OME-Zarr plate by faim-ipa from an ImageXpress plate: PLATE TRUTH.npz."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from dask.distributed import Client
from faim_ipa.hcs.acquisition import TileAlignmentOptions
from faim_ipa.hcs.converter import ConvertToNGFFPlate, NGFFPlate
from faim_ipa.hcs.imagexpress import SinglePlaneAcquisition
from faim_ipa.hcs.plate import PlateLayout

SIDE = 64


def describe(channel: str, column: int) -> str:
    """Return what MetaXpress writes into a TIFF, as far as faim-ipa reads it."""
    values = {
        "pixel-size-x": ("int", SIDE),
        "pixel-size-y": ("int", SIDE),
        "spatial-calibration-x": ("float", 0.5),
        "spatial-calibration-y": ("float", 0.5),
        "spatial-calibration-units": ("string", "um"),
        "ImageXpress Micro X": ("float", column * SIDE * 0.5),
        "ImageXpress Micro Y": ("float", 0.0),
        "ImageXpress Micro Z": ("float", 0.0),
        "_IllumSetting_": ("string", channel),
        "_MagSetting_": ("string", "20X"),
        "_MagNA_": ("float", 0.75),
        "Exposure Time": ("string", "10 ms"),
        "wavelength": ("float", 450.0),
    }
    items = [f'<prop id="{k}" type="{kind}" value="{v}"/>' for k, (kind, v) in values.items()]
    return f"<MetaData><PlaneInfo>{''.join(items)}</PlaneInfo></MetaData>"


def main() -> None:
    """Write two wells of two sites and two channels, which faim-ipa stitches."""
    rng = np.random.default_rng(0)
    target = Path(sys.argv[1])
    truth = {}
    with tempfile.TemporaryDirectory() as raw:
        images = Path(raw, "7_Plate_1/TimePoint_1")
        images.mkdir(parents=True)
        for well in ("B03", "C11"):
            pixels = rng.integers(1, 4000, (2, 2, SIDE, SIDE)).astype("uint16")
            for site, channel in np.ndindex(2, 2):
                tifffile.imwrite(
                    images / f"7_{well}_s{site + 1}_w{channel + 1}.TIF",
                    pixels[site, channel],
                    description=describe(("DAPI", "GFP")[channel], site),
                    software="MetaSeries",
                    metadata=None,
                )
            truth[f"{well}/0"] = np.concatenate([*pixels], axis=2)[None, :, None]
        acquisition = SinglePlaneAcquisition(images, TileAlignmentOptions.GRID)
        plate = NGFFPlate(
            root_dir=target.parent,
            name=target.stem,
            layout=PlateLayout.I96,
            order_name="",
            barcode="",
        )
        with Client(processes=False, n_workers=1, dashboard_address=None) as client:
            converter = ConvertToNGFFPlate(plate, client=client)
            group = converter.create_zarr_plate(acquisition)
            converter.run(group, acquisition, max_layer=1)
    np.savez(sys.argv[2], **truth)


if __name__ == "__main__":
    main()
