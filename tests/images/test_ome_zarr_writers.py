"""OME-Zarr plates written by other software, pixel by pixel.

ngio is among the tools for development. The others pin packages that it cannot live beside, so
they need environments of their own, whose interpreters these variables name:
`PHENOMAE_IOHUB`, `PHENOMAE_FAIM_IPA` and `PHENOMAE_FRACTAL`.
"""

import os
import subprocess
from pathlib import Path

import ngio
import numpy as np
import pytest

from phenomae.images.read import list_fields, read_field
from phenomae.images.settings import LayoutSettings
from phenomae.store.check import check_store
from phenomae.store.ingest import IngestSettings, ingest
from phenomae.store.read import read_field as read_stored

SCRIPTS = Path(__file__).parent / "ome_zarr_writers"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ngio(tmp_path, version):
    """Two acquisitions of two wells, with stacks and a pyramid."""
    plate = ngio.create_empty_plate(tmp_path / "P.zarr", name="P", ngff_version=version)
    rng = np.random.default_rng(0)
    truth = {}
    for row, column, image in (("B", "03", "0"), ("B", "03", "1"), ("C", "11", "0")):
        where = {"row": row, "column": column, "image_path": image}
        plate.add_image(**where, acquisition_id=int(image))
        pixels = rng.integers(1, 4000, (2, 3, 64, 80), dtype="uint16")
        ngio.create_ome_zarr_from_array(
            plate.get_image_store(**where),
            pixels,
            pixelsize=0.325,
            z_spacing=2,
            channels_meta=["DAPI", "GFP"],
            levels=2,
            ngff_version=version,
            overwrite=True,
            axes_names=["c", "z", "y", "x"],
            consolidation_mode="auto",
        )
        truth[f"{row}{column}", image] = pixels.max(axis=1)
    plates = list_fields(tmp_path, LayoutSettings(duplicates="last"))
    assert plates.channels == ("DAPI", "GFP")
    assert plates.pixel_sizes_um == {"P": 0.325}
    first, second = plates.fields
    np.testing.assert_array_equal(read_field(first), truth["B03", "1"])
    np.testing.assert_array_equal(read_field(second), truth["C11", "0"])


@pytest.mark.slow
@pytest.mark.parametrize("writer", ["iohub", "faim_ipa", "fractal"])
def test_writers_in_environments_of_their_own(tmp_path, writer):
    """A copy and a store in place have the pixels that the script wrote."""
    python = os.environ.get(f"PHENOMAE_{writer.upper()}")
    if python is None:
        pytest.skip(f"needs {writer} in an environment, with PHENOMAE_{writer.upper()} its python")
    plate, saved = tmp_path / "P.zarr", tmp_path / "truth.npz"
    script = SCRIPTS / f"{writer}_plate.py"
    subprocess.run([python, script, plate, saved], check=True, capture_output=True, cwd=tmp_path)
    truth = np.load(saved)
    time_point = "2" if writer == "iohub" else None
    for in_place in (False, True):
        settings = IngestSettings(time_point=time_point, in_place=in_place, workers=1)
        store = ingest(plate, tmp_path / f"store-{in_place}", settings=settings)
        assert store is not None
        assert store.channels == ("DAPI", "GFP")
        assert len(store.fields) == len(truth.files)
        for row, (well, site) in enumerate(store.fields.select("well", "site").rows()):
            expected = truth[f"{well}/{site}"][-1].max(axis=1)
            np.testing.assert_array_equal(read_stored(store, row), expected)
        check_store(store)
