"""How many planted bad fields `qc` finds, and how many good fields it leaves out.

    phenomae simulate RAW --level real --genes 40 --complexes 10 --guides 2 --controls 48
    python benchmarks/quality_control.py RAW FOLDER [--share 0.04] [--seed 0]

Fields of a raw screen (TIFFs and load_data.csv, as `simulate` writes them) are made bad in one
random channel, or empty in all, and the screen is ingested and checked. A table has for each kind
of bad field the numbers planted, flagged as what they are, and left out for whatever reason; the
last row has the fields that were left as they were.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import tifffile
from scipy.ndimage import gaussian_filter

from phenomae.print_table import show

CAMERA = 4095  # highest value of a 12-bit camera

Image = np.ndarray
Rng = np.random.Generator


def main() -> None:
    """Plant, ingest, check and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path, help="raw screen of phenomae simulate")
    parser.add_argument("folder", type=Path, help="folder for the bad screen, its store and checks")
    parser.add_argument("--share", type=float, default=0.04, help="fraction of fields of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    bad, store, out = (args.folder / name for name in ("raw", "store", "qc"))
    shutil.copytree(args.raw, bad)
    (bad / "artefact.json").unlink(missing_ok=True)
    planted = plant_all(bad, args.share, np.random.default_rng(args.seed))
    for words in (["ingest", bad, store], ["qc", store, out]):
        subprocess.run([sys.executable, "-m", "phenomae", *map(str, words)], check=True)
    show(compare(planted, pl.read_csv(out / "fields.csv", glob=False)))


def plant_all(raw: Path, share: float, rng: Rng) -> pl.DataFrame:
    """Change fields of a raw screen; return plate, well, site and kind of those."""
    rows = pl.read_csv(raw / "load_data.csv", glob=False)
    channels = [name for name in rows.columns if name.startswith("FileName_")]
    order, count = rng.permutation(len(rows)), max(1, round(share * len(rows)))
    planted = []
    for number, (kind, spoil) in enumerate(KINDS.items()):
        for index in order[number * count : (number + 1) * count]:
            row = rows.row(int(index), named=True)
            chosen = channels if kind == "empty" else [channels[rng.integers(len(channels))]]
            for name in chosen:
                folder = row[name.replace("FileName_", "PathName_")]
                path = raw / folder / row[name]
                image = spoil(tifffile.imread(path).astype(float), rng)
                image = np.rint(image).clip(0, CAMERA).astype(np.uint16)
                tifffile.imwrite(path, image)
            place = [row[f"Metadata_{name}"] for name in ("Plate", "Well", "Site")]
            planted.append((*place, kind))
    return pl.DataFrame(planted, ["plate", "well", "site", "kind"], orient="row")


def compare(planted: pl.DataFrame, fields: pl.DataFrame) -> pl.DataFrame:
    """Return for each kind the numbers of fields, of those flagged as it, and left out."""
    flags = ("blurred", "saturated", "empty", "debris", "left_out")
    keys = ["plate", "well", "site"]
    found = fields.group_by(keys).agg(pl.col(flags).any())
    joined = found.join(planted, on=keys, how="left").with_columns(pl.col("kind").fill_null("good"))
    rows = []
    for kind in (*KINDS, "good"):
        of_kind = joined.filter(pl.col("kind") == kind)
        flag = kind.split()[0].strip(",").replace("fibre", "debris")
        right = int(of_kind[flag].sum()) if flag in flags else None
        rows.append((kind, len(of_kind), right, int(of_kind["left_out"].sum())))
    return pl.DataFrame(rows, ["kind", "fields", "flagged as it", "left out"], orient="row")


def blur(sigma: float) -> Callable[[Image, Rng], Image]:
    """Return a function that takes an image out of focus and adds the noise that was blurred."""

    def spoil(image: Image, rng: Rng) -> Image:
        smooth = gaussian_filter(image, sigma)
        noise = np.std(image - gaussian_filter(image, 1))
        return smooth + rng.normal(0, noise, image.shape)

    return spoil


def saturate(image: Image, rng: Rng) -> Image:
    """Expose so long that an eighth of the pixels reach the maximum of the camera."""
    return image * (CAMERA / np.percentile(image, 87.5))


def empty(image: Image, rng: Rng) -> Image:
    """Leave only background: the darkest pixels, in random places."""
    dark = np.sort(image.ravel())[: image.size // 50]
    return rng.choice(dark, image.shape)


def speck(brightness: float) -> Callable[[Image, Rng], Image]:
    """Return a function that adds a disc of 10 to 25 pixels, as bright as `brightness` nuclei."""

    def spoil(image: Image, rng: Rng) -> Image:
        rows, columns = np.indices(image.shape)
        centre = rng.uniform(0.1, 0.9, 2) * image.shape
        inside = np.hypot(rows - centre[0], columns - centre[1]) < rng.uniform(10, 25)
        return add_light(image, gaussian_filter(inside.astype(float), 2), brightness)

    return spoil


def fibre(brightness: float) -> Callable[[Image, Rng], Image]:
    """Return a function that adds a fibre 10 pixels wide across the field."""

    def spoil(image: Image, rng: Rng) -> Image:
        rows, columns = np.indices(image.shape)
        angle = rng.uniform(0, np.pi)
        middle = np.array(image.shape) / 2
        away = (rows - middle[0]) * np.cos(angle) + (columns - middle[1]) * np.sin(angle)
        return add_light(image, gaussian_filter((np.abs(away) < 5).astype(float), 1), brightness)

    return spoil


def add_light(image: Image, shape: Image, brightness: float) -> Image:
    """Add light to an image, relative to that of its brightest cells."""
    low, high = np.percentile(image, [1, 99.5])
    return image + shape * brightness * (high - low)


KINDS: dict[str, Callable[[Image, Rng], Image]] = {
    "blurred by 2 pixels": blur(2),
    "blurred by 4 pixels": blur(4),
    "saturated": saturate,
    "empty": empty,
    "debris, 1.5 x cells": speck(1.5),
    "debris, 3 x cells": speck(3),
    "fibre, 3 x cells": fibre(3),
}


if __name__ == "__main__":
    main()
