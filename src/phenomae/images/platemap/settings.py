"""Settings for the plate map: its file, its columns, and wells that do not match.

Each column has a setting for its name in the file, so that a plate map need not be rewritten.
"""

from dataclasses import dataclass
from typing import Literal

from cyclopts import Group, Parameter

from phenomae.images.well_settings import WellSettings
from phenomae.paths import PathLike
from phenomae.tidy_text import EMPTY_WORDS

LABELS = Parameter(group=Group.create_ordered("Labels"))
"""Group of these settings in the help of commands other than `ingest`."""


@Parameter(name="*")
@dataclass(frozen=True)
class PlateMapSettings(WellSettings):
    """Which file is the plate map and what its columns are called.

    A column setting may name several columns, separated by commas: their values are joined by `_`.
    """

    plate_map: PathLike | None = None
    """Plate map: a CSV, TSV or Parquet file with one row per well. For ingest, by default
    `plate_map.csv` beside the images, if there is one, and a relative path may also be relative to
    RAW. For wells that are there already: their labels are replaced by those of the plate map. With
    barcode_map: the folder of the plate maps."""
    barcode_map: PathLike | None = None
    """Table that assigns a plate map to each plate (columns Assay_Plate_Barcode, Plate_Map_Name).
    The plate maps are in the folder plate_map, by default `platemap` beside this file."""
    metadata: PathLike | None = None
    """Table with one row per sample or perturbation, such as JUMP's external_metadata, whose
    columns are joined to those of the plate map. A relative path may also be relative to the folder
    of the plate map."""
    metadata_column: str | None = None
    """Column by which metadata is joined, such as broad_sample. By default the column that both
    tables have and whose values are unique in metadata."""
    batch_column: str = "batch"
    """Column of the experimental batch."""
    perturbation_column: str = "perturbation"
    """Column of the perturbation; if it is missing, the guide, else the gene, else the compound."""
    gene_column: str = "gene"
    """Column of the gene."""
    guide_column: str = "guide"
    """Column of the guide."""
    compound_column: str = "compound"
    """Column of the compound."""
    concentration_column: str = "concentration_um"
    """Column of the concentration, in micromolar."""
    control_column: str = "control"
    """Column that marks negative controls with true or false, or with control_label. Of a data set
    that lists its own wells, such as RxRx19a, a column of its table, if there is no plate map."""
    control_label: str | None = None
    """Value of negative controls in the control column, such as `DMSO`; several are separated by
    commas, and an empty one stands for empty cells."""
    empty_words: str = EMPTY_WORDS
    """Words that other programs write into empty cells, separated by commas, as they are written.
    Without NA, for a gene or compound that is called so; "" for none. A word that is the
    control_label is not taken as empty."""
    unmapped: Literal["error", "keep", "skip"] = "error"
    """Wells with images that the plate map does not name: stop with an error, keep them without a
    perturbation, or leave them out."""
    unimaged: Literal["error", "skip"] = "error"
    """Wells of the plate map without images: stop with an error, or ignore them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metadata_column is not None and self.metadata is None:
            raise ValueError("metadata_column is a column of metadata: set metadata, too")
