"""Where the plate map lies, what its columns are called, and how it must match the images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class PlateMapSettings:
    """Where the plate map lies and what its columns are called.

    A column setting may name several columns, comma between: their values are joined by `_`.
    """

    plate_map: Path | None = None
    """CSV, TSV or Parquet, one row a well; a relative path may also count from RAW. Without it
    `plate_map.csv` beside the images is taken where there is one. With barcode_map: the folder of
    the plate maps."""
    barcode_map: Path | None = None
    """CSV that says which plate has which plate map (Assay_Plate_Barcode, Plate_Map_Name). The maps
    lie in plate_map, or else in the folder `platemap` beside it."""
    plate_size: Literal[6, 12, 24, 48, 96, 384, 1536] | None = None
    """Wells a plate: needed where wells go by number, and none may lie beyond it then."""
    plate_column: str = "plate"
    """Column of the plate; may be missing where the images are of one plate."""
    well_column: str = "well"
    """Column of the well, or of its row and its column: `Row,Column`."""
    batch_column: str = "batch"
    """Column of the experimental batch."""
    perturbation_column: str = "perturbation"
    """Column of what was done; without it guide, else gene, else compound."""
    gene_column: str = "gene"
    """Column of the gene."""
    guide_column: str = "guide"
    """Column of the guide."""
    compound_column: str = "compound"
    """Column of the compound."""
    concentration_column: str = "concentration_um"
    """Column of the concentration, in micromolar."""
    control_column: str = "control"
    """Column that says which wells are negative controls: true or false, or see control_label."""
    control_label: str | None = None
    """What negative controls have in the control column, such as `DMSO`; several, comma between; an
    empty one stands for wells where the column is empty."""
    unmapped: Literal["error", "keep", "skip"] = "error"
    """Wells with images that the plate map does not name: an error, kept without perturbation, or
    left out."""
    unimaged: Literal["error", "skip"] = "error"
    """Wells of the plate map without images: an error, or passed over."""
