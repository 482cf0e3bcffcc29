"""A table of cells of two plates, as CellProfiler measures them and pycytominer names them."""

import numpy as np
import pandas as pd
import pytest

FEATURES = ["Cells_AreaShape_Area", "Cytoplasm_Texture_DNA", "Nuclei_Intensity_DNA"]


@pytest.fixture
def cells() -> pd.DataFrame:
    """Two plates of six wells, two sites a well, three cells a site; A01 and A02 are controls."""
    rng = np.random.default_rng(5)
    rows = [
        {
            "Metadata_Plate": plate,
            "Metadata_Well": f"A{well:02d}",
            "Metadata_Site": site,
            "Metadata_ObjectNumber": number,
            "Metadata_compound": "DMSO" if well < 3 else f"C{well}",
            "Metadata_pert_type": "negcon" if well < 3 else "trt",
            "Metadata_cell_line": "U2OS",
        }
        for plate in ("P1", "P2")
        for well in range(1, 7)
        for site in (1, 2)
        for number in range(1, 4)
    ]
    values = rng.normal(size=(len(rows), len(FEATURES)))
    values[0, 0] = np.nan  # one cell without an area
    return pd.concat([pd.DataFrame(rows), pd.DataFrame(values, columns=FEATURES)], axis=1)
