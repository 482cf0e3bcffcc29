"""Writes the position of the real well of each cell as its profile: what plate layout explains.

    python benchmarks/real_cells/real_position.py RAW/plate_map.csv WELLS

`phenomae features --kind position` cannot be used, as each cell was put into a well of its own.
"""

import sys
from pathlib import Path

import polars as pl

from phenomae.embedding.hand_made.position import describe_wells
from phenomae.wells import write_wells


def main(plate_map: Path, wells: Path) -> None:
    """Write one profile per cell: row, column, their squares, distance to the edge."""
    cells = pl.read_csv(plate_map, infer_schema_length=None)
    # Together, as the cells of a plate may be of few wells, which would look like a smaller plate.
    position = describe_wells(cells["real_well"].to_list())
    names = ["row", "column", "row_squared", "column_squared", "edge"]
    table = pl.concat([cells, pl.DataFrame(position, schema=names, orient="row")], how="horizontal")
    write_wells(wells, table, names)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
