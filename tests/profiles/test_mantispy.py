"""mantispy (scverse) reads what `export` writes, and `import` reads what it writes.

It needs Python 3.12 and newer packages than phenomae, so an environment of its own, whose
interpreter `PHENOMAE_MANTISPY` names.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae import export, import_profiles, write_wells
from phenomae.wells import read_wells

PROGRAM = Path(__file__).with_name("mantispy_program.py")
FEATURES = ["Cells_AreaShape_Area", "Nuclei_Texture_Contrast_DNA_3_00_256", "Nuclei_Intensity_Mean"]


@pytest.mark.slow
def test_there_and_back(tmp_path):
    python = os.environ.get("PHENOMAE_MANTISPY")
    if python is None:
        pytest.skip("needs mantispy in an environment, with PHENOMAE_MANTISPY its python")
    rng = np.random.default_rng(0)
    table = pl.DataFrame(
        {
            "plate": ["0042"] * 4 + ["P2"] * 4,
            "well": ["A01", "A02", "B01", "B02"] * 2,
            "compound": ["taxol", "DMSO"] * 4,
            "control": [False, True] * 4,
            **{name: rng.normal(size=8).astype(np.float32) for name in FEATURES},
        }
    )
    write_wells(tmp_path / "wells", table, FEATURES)
    wells = read_wells(tmp_path / "wells")
    export(tmp_path / "wells", tmp_path / "wells.parquet")
    export(tmp_path / "wells", tmp_path / "wells.h5ad")
    command = [python, PROGRAM, tmp_path / "wells.parquet", tmp_path / "wells.h5ad", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    seen = np.load(tmp_path / "seen.npz")
    assert seen["names"].tolist() == FEATURES
    np.testing.assert_array_equal(seen["features"].astype(np.float32), wells.features)
    np.testing.assert_array_equal(seen["annotated"], wells.features)
    assert seen["plate"].tolist() == table["plate"].to_list()
    assert seen["well"].tolist() == table["well"].to_list()
    assert seen["compound"].tolist() == table["compound"].to_list()
    back = read_wells(import_profiles(tmp_path / "of_mantispy.h5ad", tmp_path / "back"))
    assert back.names == FEATURES
    np.testing.assert_array_equal(back.features, wells.features)
    places = ["plate", "well", "compound", "control"]
    assert back.table.select(places).equals(wells.table.select(places))
