"""Lays single cells out as raw plates for `ingest`: every cell in a well of its own.

    python benchmarks/real_cells/lay_out.py bbbc021 FOLDER RAW
    python benchmarks/real_cells/lay_out.py mitocheck FOLDER RAW
    python benchmarks/real_cells/lay_out.py rxrx1 FOLDER RAW

BBBC021: FOLDER has labels.csv (mosaic, y, x, batch, plate, well, compound, concentration_um, moa,
control, blank) and images/MOSAIC_CHANNEL.tif, mosaics of cells of 68 x 68 pixels; crops without a
cell (blank) are left out. Mitocheck: labels.csv (file, phenotype, plate, well, gene) and one PNG a
nucleus. RxRx1: labels.csv (file, experiment, cell_type, plate, well, site, channel) and one PNG of
512 x 512 pixels a channel; site 1 of each plate is cut into 64 tiles, which stand for cells.

RAW gets PLATE/WELL_s1_CHANNEL.tif (or .png), plate_map.csv (with real_well, the well that the cell
was in) and, for BBBC021, mechanisms.csv. The cells of a plate are put into wells of a 1,536-well
plate in random order, because files are often sorted by what is to be predicted.
"""

import shutil
import sys
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import tifffile
from PIL import Image

SIDE, CHANNELS = 68, ("DNA", "actin", "tubulin")
TILE = 64
ROWS, COLUMNS = 32, 48


def name_well(number: int) -> str:
    """Return the name of a well of a 1,536-well plate, counted row by row from 0."""
    assert number < ROWS * COLUMNS
    row, column = divmod(number, COLUMNS)
    letters = chr(65 + row) if row < 26 else "A" + chr(65 + row - 26)
    return f"{letters}{column + 1:02d}"


def place_cells(labels: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Return the labels with the column real_well, and a new well for each cell of a plate."""
    shuffled = labels[np.random.default_rng(seed).permutation(len(labels))]
    number = pl.int_range(pl.len()).over("plate")
    well = number.map_elements(name_well, return_dtype=pl.String)
    placed = shuffled.rename({"well": "real_well"}).with_columns(well=well)
    return placed.sort("plate", "well")


def lay_out_bbbc021(folder: Path, raw: Path) -> pl.DataFrame:
    """Write the cells of BBBC021 and mechanisms.csv; return the plate map."""
    labels = pl.read_csv(folder / "labels.csv", schema_overrides={"concentration_um": pl.String})
    cells = place_cells(labels.filter(~pl.col("blank")))
    read = cache(tifffile.imread)
    for cell in cells.iter_rows(named=True):
        (raw / cell["plate"]).mkdir(parents=True, exist_ok=True)
        for channel in CHANNELS:
            mosaic = read(folder / "images" / f"{cell['mosaic']}_{channel}.tif")
            pixels = mosaic[cell["y"] : cell["y"] + SIDE, cell["x"] : cell["x"] + SIDE]
            target = raw / cell["plate"] / f"{cell['well']}_s1_{channel}.tif"
            tifffile.imwrite(target, pixels, metadata=None)
    treated = cells.filter(~pl.col("control"))
    known = treated.select("compound", mechanism="moa").unique().sort("compound")
    known.write_csv(raw / "mechanisms.csv")
    treatment = pl.concat_str("compound", "concentration_um", separator="@")
    columns = ("plate", "well", "batch", "compound", "concentration_um", "control", "real_well")
    return cells.select(*columns, perturbation=treatment)


def lay_out_mitocheck(folder: Path, raw: Path) -> pl.DataFrame:
    """Copy the nuclei of Mitocheck; return the plate map, with phenotypes as perturbations."""
    cells = place_cells(pl.read_csv(folder / "labels.csv", infer_schema_length=None))
    for cell in cells.iter_rows(named=True):
        target = raw / cell["plate"] / f"{cell['well']}_s1_DNA.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / cell["file"], target)
    return cells.select(
        "plate", "well", "gene", "real_well", batch="plate", perturbation="phenotype", control=False
    )


def lay_out_rxrx1(folder: Path, raw: Path) -> pl.DataFrame:
    """Write tiles of RxRx1; return the plate map, with cell types as perturbations."""
    images = pl.read_csv(folder / "labels.csv").filter(pl.col("site") == 1)
    plate = pl.concat_str("experiment", "plate", separator="_")
    fields = images.select("experiment", "cell_type", "well", "channel", "file", plate=plate).sort(
        "plate", "channel"
    )
    corners = pl.DataFrame({"y": range(0, 512, TILE)}).join(
        pl.DataFrame({"x": range(0, 512, TILE)}), how="cross"
    )
    tiles = fields.drop("channel", "file").unique(maintain_order=True).join(corners, how="cross")
    cells = place_cells(tiles)
    for (name,), of_plate in cells.group_by("plate", maintain_order=True):
        (raw / str(name)).mkdir(parents=True, exist_ok=True)
        for field in fields.filter(pl.col("plate") == name).iter_rows(named=True):
            pixels = np.asarray(Image.open(folder / field["file"]))
            for cell in of_plate.iter_rows(named=True):
                tile = pixels[cell["y"] : cell["y"] + TILE, cell["x"] : cell["x"] + TILE]
                target = raw / str(name) / f"{cell['well']}_s1_w{field['channel']}.png"
                Image.fromarray(tile).save(target)
    return cells.select(
        "plate", "well", "real_well", batch="experiment", perturbation="cell_type", control=False
    )


LAYOUTS = {"bbbc021": lay_out_bbbc021, "mitocheck": lay_out_mitocheck, "rxrx1": lay_out_rxrx1}


def main(name: str, folder: Path, raw: Path) -> None:
    """Write RAW; the plate map last, so that it is there only if all cells are."""
    plate_map = raw / "plate_map.csv"
    if plate_map.exists():
        return
    cells = LAYOUTS[name](folder, raw)
    cells.write_csv(plate_map)
    print(f"{len(cells)} cells of {cells['plate'].n_unique()} plates")


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
