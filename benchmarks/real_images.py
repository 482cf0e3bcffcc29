"""Measure noise, spectra and density of real images and of simulated screens, per channel.

    phenomae simulate SCREEN --level real --genes 8 --complexes 4 --controls 48
    python benchmarks/real_images.py FOLDER SCREEN ...

FOLDER holds the sets of real images that `_SETS` names; sets that are absent are left out. The
settings of the simulator's levels were chosen from this table (docs/simulate.md), before any
network was trained on them. Columns, each a median over images but where said:

- noise: standard deviation of noise in the dark and at the brightest pixel (99.9 %), as a
  percentage of the range between them; photons: the range over the slope of variance on intensity;
- light: mean intensity over the dark (2 %), as a percentage of the range; cover: percentage of
  pixels above Otsu's threshold;
- slope: of log power on log frequency from wavelengths of 32 to 4 pixels; fine: percentage of power
  at wavelengths under 8 pixels;
- lamp: fall of the mean light of all images over the field, as a percentage, by a quadratic fit;
- stain: standard deviation over images of the log of the mean intensity over the dark;
- nuclei: number per 256 x 256 pixels;
- cells: standard deviation over the nuclei of a field of the log of their light in this channel;
  area: the same of their areas, and the median of their diameter, from the DNA channel.

With `--layout` it prints the standard deviation of the rows and columns of BBBC013 instead, and of
what they leave, by a two-way analysis of variance.
"""

import argparse
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import tifffile
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage

# Immerkaer 1996 (doi 10.1006/cviu.1996.0060): blind to planes, and white noise keeps its variance.
_RESIDUAL = np.outer([1, -2, 1], [1, -2, 1]) / 6
_TILE = 8
_Field = dict[str, Float[np.ndarray, "h w"]]


def _read(path: Path) -> Float[np.ndarray, "h w"]:
    image = np.asarray(Image.open(path)) if path.suffix == ".png" else tifffile.imread(path)
    return image.astype(np.float64)


def _read_fields(folder: Path, pattern: str, channels: dict[str, str]) -> list[_Field]:
    """Return the fields whose files differ in one word of their name, `{}` in `pattern`."""
    first = next(iter(channels))
    fields = []
    for path in sorted(folder.glob(pattern.replace("{}", first))):
        others = {
            name: path.with_name(path.name.replace(first, word)) for word, name in channels.items()
        }
        if all(other.exists() for other in others.values()):
            fields.append({name: _read(other) for name, other in others.items()})
    return fields


def _read_wells(folder: Path) -> list[_Field]:
    """BBBC013: the file names of a well's channels differ in one digit."""
    paths = sorted(folder.glob("Channel1-*.tif"))
    twins = [path.with_name(path.name.replace("Channel1", "Channel2")) for path in paths]
    return [
        {"DNA": _read(twin), "GFP": _read(path)} for path, twin in zip(paths, twins, strict=True)
    ]


def _read_nf1(folder: Path) -> list[_Field]:
    """NF1: the number of the channel is in the file name too, as in B7_01_2_3_GFP_001.tif."""
    fields: dict[str, _Field] = {}
    for path in sorted(folder.glob("*.tif")):
        well, _, _, _, stain, _ = path.stem.split("_")
        fields.setdefault(well, {})["DNA" if stain == "DAPI" else stain] = _read(path)
    return list(fields.values())


def _read_cells(folder: Path, side: int = 64) -> list[_Field]:
    """BBBC021: crops of single cells; nine of a plate stand in a square, which has no lamp."""
    table = pl.read_csv(folder / "labels.csv").filter(~pl.col("blank"))
    fields = []
    for (mosaic,), rows in table.group_by("mosaic", maintain_order=True):
        places = list(rows.select("y", "x").iter_rows())[:9]
        if len(places) < 9 or len(fields) == 8:
            continue
        images = {
            stain: _read(folder / f"images/{mosaic}_{stain}.tif")
            for stain in ("DNA", "actin", "tubulin")
        }
        fields.append(
            {
                stain: np.block(
                    [
                        [image[y : y + side, x : x + side] for y, x in places[start : start + 3]]
                        for start in (0, 3, 6)
                    ]
                )
                for stain, image in images.items()
            }
        )
    return fields


def _read_screen(folder: Path) -> list[_Field]:
    table = pl.read_csv(folder / "load_data.csv").filter(pl.col("Metadata_Site") == 1)
    names = [name[13:] for name in table.columns if name.startswith("FileName_Orig")]
    return [
        {
            name: _read(folder / row[f"PathName_Orig{name}"] / row[f"FileName_Orig{name}"])
            for name in names
        }
        for row in table.iter_rows(named=True)
    ]


_PHENIX = {"ch5": "DNA", "ch3": "RNA", "ch4": "ER", "ch2": "AGP", "ch1": "Mito"}
_IMAGEXPRESS = {"w1": "DNA", "w2": "second"}
_RXRX1 = {"w1": "DNA", "w2": "ER", "w3": "Actin", "w4": "RNA", "w5": "Mito", "w6": "AGP"}


def _read_sets(folder: Path) -> Iterator[tuple[str, list[_Field]]]:
    yield (
        "Phenix",
        _read_fields(folder / "phenix_pe2loaddata/Version1/images", "*-{}sk*.tiff", _PHENIX),
    )
    for cells in ("HEPG2", "HUVEC", "RPE", "U2OS"):
        yield (
            f"RxRx1 {cells}",
            _read_fields(folder / "rxrx1_b02_sample/images", f"{cells}*/*/*_s1_{{}}.png", _RXRX1),
        )
    yield (
        "ImageXpress",
        _read_fields(
            folder / "imagexpress_faim", "9987_Plate_3435/TimePoint_1/*_{}.TIF", _IMAGEXPRESS
        ),
    )
    yield "NF1", _read_nf1(folder / "nf1_schwann_3ch/images")
    yield "BBBC021", _read_cells(folder / "bbbc021_cells_moa")
    yield "BBBC013", _read_wells(folder / "bbbc013_cellprofiler_sbs96/images")


def _range(image: Float[np.ndarray, "h w"]) -> tuple[float, float]:
    dark, bright = np.percentile(image, (2, 99.9))
    return float(dark), float(bright)


@cache
def _least_of_white_noise() -> float:
    """Return the 10th percentile of the variance of white noise of variance 1 in tiles."""
    white = np.random.default_rng(0).standard_normal((1024, 1024))
    return float(np.percentile(_tiles(ndimage.convolve(white, _RESIDUAL) ** 2), 10))


def _tiles(image: Float[np.ndarray, "h w"]) -> Float[np.ndarray, " tiles"]:
    height, width = (side // _TILE * _TILE for side in image.shape)
    tiles = image[:height, :width].reshape(height // _TILE, _TILE, width // _TILE, _TILE)
    return tiles.mean((1, 3)).ravel()


def measure_noise(image: Float[np.ndarray, "h w"]) -> tuple[float, float, float]:
    """Return noise in the dark and at the brightest pixel over the range, and photons there.

    The variance at an intensity is that of the least structured tiles of similar intensity. It is
    fitted as a line (Foi et al. 2008, doi 10.1109/TIP.2008.2001399), so what structure remains
    makes photons too few.
    """
    dark, bright = _range(image)
    mean = _tiles(image)
    variance = _tiles(ndimage.convolve(image, _RESIDUAL) ** 2)
    edges = np.linspace(dark, bright, 13)
    levels, least = [], []
    for low, high in pairwise(edges):
        inside = (mean >= low) & (mean < high)
        if inside.sum() >= 20:
            levels.append(mean[inside].mean() - dark)
            least.append(np.percentile(variance[inside], 10) / _least_of_white_noise())
    if len(levels) < 3:
        return (float("nan"),) * 3
    slope, start = np.polyfit(levels, least, 1, w=1 / (np.array(least) + 1e-9))
    spread = bright - dark
    # The darkest bin and the line's end: the line's start can be below 0.
    noise = np.sqrt([max(start, 0.0), max(start + slope * spread, 0.0)]) / spread
    return float(noise[0]), float(noise[1]), float(spread / slope) if slope > 0 else float("nan")


def measure_spectrum(image: Float[np.ndarray, "h w"]) -> tuple[float, float]:
    """Return the slope of the radial power spectrum, and the share of power under 8 pixels."""
    side = min(image.shape)
    window = np.hanning(side)
    centred = image[:side, :side] - image[:side, :side].mean()
    power = np.abs(np.fft.rfft2(centred * np.outer(window, window))) ** 2
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    edges = np.geomspace(1 / 32, 1 / 4, 13)
    middle = np.sqrt(edges[:-1] * edges[1:])
    rings = [power[(frequency >= low) & (frequency < high)].mean() for low, high in pairwise(edges)]
    slope = np.polyfit(np.log(middle), np.log(rings), 1)[0]
    return float(slope), float(power[frequency > 1 / 8].sum() / power[frequency > 0].sum())


def otsu(image: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return the pixels above Otsu's threshold (1979)."""
    counts, edges = np.histogram(image, 256, range=_range(image))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    total, moment = counts.sum(), np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * below / total - moment[:-1]) ** 2 / (below * (total - below))
    return image > middle[np.nanargmax(between)]


def measure_nuclei(field: _Field) -> dict[str, np.ndarray]:
    """Return area, number and light of every nucleus, without fragments and clumps."""
    labels, number = ndimage.label(otsu(ndimage.gaussian_filter(field["DNA"], 1.0)))
    area = ndimage.sum_labels(np.ones_like(labels), labels, range(1, number + 1))
    usual = np.median(area[area > 30]) if (area > 30).any() else 0
    whole = np.flatnonzero((area > 0.4 * usual) & (area < 2.5 * usual) & (area > 30)) + 1
    light = {
        name: ndimage.mean(image - _range(image)[0], labels, whole) for name, image in field.items()
    }
    return {"area": area[whole - 1], **light}


def _fall(images: list[Float[np.ndarray, "h w"]]) -> float:
    """Return by how much the mean light over the dark falls over the field, by a quadratic."""
    lit = [np.maximum(image - _range(image)[0], 0) for image in images]
    mean = np.mean([image / image.mean() for image in lit], axis=0)
    y, x = (np.linspace(-1, 1, side) for side in mean.shape)
    y, x = np.meshgrid(y, x, indexing="ij")
    terms = np.stack([np.ones_like(y), y, x, y * y, x * x, x * y], -1).reshape(-1, 6)
    fitted = terms @ np.linalg.lstsq(terms, mean.ravel(), rcond=None)[0]
    return float(1 - fitted.min() / fitted.max())


def measure_channel(fields: list[_Field], name: str) -> dict[str, float]:
    """Return a row of the table for one channel of a set."""
    images = [field[name] for field in fields]
    ranges = [_range(image) for image in images]
    light = np.array([image.mean() - dark for image, (dark, _) in zip(images, ranges, strict=True)])
    span = np.array([bright - dark for dark, bright in ranges])
    noise = np.array([measure_noise(image) for image in images])
    spectrum = np.array([measure_spectrum(image) for image in images])
    nuclei = [measure_nuclei(field) for field in fields]
    spread = [np.std(np.log(np.maximum(its[name], 1e-6))) for its in nuclei if len(its["area"]) > 5]
    areas = [np.std(np.log(its["area"])) for its in nuclei if len(its["area"]) > 5]
    diameter = [2 * np.sqrt(np.median(its["area"]) / np.pi) for its in nuclei if len(its["area"])]
    with warnings.catch_warnings():  # medians of nothing are nan, which the table prints as -
        warnings.simplefilter("ignore", RuntimeWarning)
        return {
            "dark": 100 * np.nanmedian(noise[:, 0]),
            "bright": 100 * np.nanmedian(noise[:, 1]),
            "photons": np.nanmedian(noise[:, 2]),
            "light": 100 * np.median(light / span),
            "cover": 100 * np.median([otsu(image).mean() for image in images]),
            "slope": np.median(spectrum[:, 0]),
            "fine": 100 * np.median(spectrum[:, 1]),
            "lamp": 100 * _fall(images) if len(images) > 8 else np.nan,
            "stain": np.std(np.log(light)) if len(images) > 1 else np.nan,
            "nuclei": np.median([len(its["area"]) for its in nuclei]) * 256**2 / images[0].size,
            "cells": np.median(spread) if spread else np.nan,
            "area": np.median(areas) if areas else np.nan,
            "diameter": np.median(diameter) if diameter else np.nan,
        }


def measure_layout(folder: Path) -> None:
    """Print the variation of BBBC013's rows and columns, in log number and light of nuclei."""
    nuclei = [measure_nuclei(field) for field in _read_wells(folder)]
    logs = {
        "number of nuclei": np.log([len(its["area"]) for its in nuclei]),
        "light of a nucleus": np.log([np.median(its["DNA"]) for its in nuclei]),
    }
    for name, values in logs.items():
        plate = values.reshape(8, 12)
        rows, columns = plate.mean(1), plate.mean(0)
        rest = plate - rows[:, None] - columns + plate.mean()
        within = (rest**2).sum() / (7 * 11)
        sds = [
            np.sqrt(max(rows.var(ddof=1) - within / 12, 0)),
            np.sqrt(max(columns.var(ddof=1) - within / 8, 0)),
            np.sqrt(within),
        ]
        print(f"log {name}: rows {sds[0]:.3f}, columns {sds[1]:.3f}, rest {sds[2]:.3f}")


def print_table(sets: list[tuple[str, list[_Field]]]) -> None:
    """Print a row for every channel of every set."""
    digits = {"photons": 0, "stain": 2, "nuclei": 0, "cells": 2, "area": 2, "diameter": 0}
    begun = False
    for title, fields in sets:
        for name in fields[0] if fields else ():
            row = measure_channel(fields, name)
            if not begun:
                print(f"| {'set':12} |   n | channel |" + "".join(f" {key:>8} |" for key in row))
                print("|" + "---|" * (len(row) + 3))
                begun = True
            cells = "".join(
                f" {'-' if np.isnan(value) else f'{value:.{digits.get(key, 1)}f}':>8} |"
                for key, value in row.items()
            )
            print(f"| {title:12} | {len(fields):3} | {name:7} |{cells}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("screens", type=Path, nargs="*")
    parser.add_argument("--layout", action="store_true")
    given = parser.parse_args()
    if given.layout:
        measure_layout(given.folder / "bbbc013_cellprofiler_sbs96/images")
    else:
        screens = [(path.name, _read_screen(path)) for path in given.screens]
        print_table([*_read_sets(given.folder), *screens])


if __name__ == "__main__":
    main()
