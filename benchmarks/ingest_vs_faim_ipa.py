"""`ingest` of an ImageXpress plate beside faim-ipa's conversion of the same plate to OME-Zarr.

    python benchmarks/ingest_vs_faim_ipa.py FAIM_PYTHON        12 wells of 4 sites, 2 processes

FAIM_PYTHON is the interpreter of an environment of its own with faim-ipa (0.14.0 was tried). Both
read the same TIFFs and write the pixels of full resolution: faim-ipa one stitched image per well,
in its default chunks and compression, with `--layers 0` without the smaller copies of its pyramid.
`ingest` also computes windows, quality measures and checksums. Sites do not overlap, and both
results are compared pixel by pixel. Imports and the start of dask's workers are not timed; those of
`ingest` are. The two are run in turn; a number is the median of the rounds.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
import zarr
from fields import CHANNELS, draw_field

TARGET = 3.0
NAME = "9987_Plate_3435"
GRID = 2  # sites in a row, and rows of sites
PIXEL_UM = 0.5

OURS = """
import json, sys, time
from phenomae.progress import set_quiet
from phenomae.store.ingest import IngestSettings, ingest
if __name__ == "__main__":
    raw, store, workers = sys.argv[1:]
    set_quiet(True)
    start = time.perf_counter()
    ingest(raw, store, settings=IngestSettings(layout="imagexpress", workers=int(workers)))
    print(json.dumps(time.perf_counter() - start))
"""
THEIRS = """
import json, sys, time
from dask.distributed import Client
from faim_ipa.hcs.acquisition import TileAlignmentOptions
from faim_ipa.hcs.converter import ConvertToNGFFPlate, NGFFPlate
from faim_ipa.hcs.imagexpress import SinglePlaneAcquisition
from faim_ipa.hcs.plate import PlateLayout
if __name__ == "__main__":
    raw, folder, workers, layers = sys.argv[1:]
    client = Client(
        processes=True, n_workers=int(workers), threads_per_worker=1, dashboard_address=None
    )
    start = time.perf_counter()
    acquisition = SinglePlaneAcquisition(raw, TileAlignmentOptions.GRID)
    plate = NGFFPlate(
        root_dir=folder, name="plate", layout=PlateLayout.I96, order_name="", barcode=""
    )
    converter = ConvertToNGFFPlate(plate, client=client)
    group = converter.create_zarr_plate(acquisition)
    converter.run(group, acquisition, max_layer=int(layers))
    print(json.dumps(time.perf_counter() - start))
    client.close()
"""


def describe(channel: int, site: int, side: int) -> str:
    """Return the description that MetaXpress writes into a TIFF, as far as faim-ipa reads it."""
    row, column = divmod(site, GRID)
    values = {
        "pixel-size-x": ("int", side),
        "pixel-size-y": ("int", side),
        "spatial-calibration-x": ("float", PIXEL_UM),
        "spatial-calibration-y": ("float", PIXEL_UM),
        "spatial-calibration-units": ("string", "um"),
        "ImageXpress Micro X": ("float", column * side * PIXEL_UM),
        "ImageXpress Micro Y": ("float", row * side * PIXEL_UM),
        "ImageXpress Micro Z": ("float", 0.0),
        "_IllumSetting_": ("string", CHANNELS[channel]),
        "_MagSetting_": ("string", "20X"),
        "_MagNA_": ("float", 0.75),
        "Exposure Time": ("string", "10 ms"),
        "wavelength": ("float", 450.0 + 40 * channel),
    }
    items = [f'<prop id="{k}" type="{kind}" value="{v}"/>' for k, (kind, v) in values.items()]
    return f"<MetaData><PlaneInfo>{''.join(items)}</PlaneInfo></MetaData>"


def write_plate(folder: Path, wells: int, side: int, channels: int) -> Path:
    """Write an ImageXpress plate: an HTD file and TIFFs without compression, as MetaXpress writes.

    Returns the folder of the TIFFs.
    """
    images = folder / NAME / "TimePoint_1"
    images.mkdir(parents=True)
    chosen = [f"{'ABCDEFGH'[n // 12]}{n % 12 + 1:02d}" for n in range(wells)]
    for number, well in enumerate(chosen):
        for site in range(GRID**2):
            pixels = draw_field(number * GRID**2 + site, side)[:channels]
            for channel, plane in enumerate(pixels):
                tifffile.imwrite(
                    images / f"9987_{well}_s{site + 1}_w{channel + 1}.TIF",
                    plane,
                    description=describe(channel, site, side),
                    software="MetaSeries",
                    metadata=None,
                )
    lines = ['"HTSInfoFile", Version 1.0', '"XWells", 12', '"YWells", 8']
    for letter, name in enumerate("ABCDEFGH", start=1):
        row = ["TRUE" if f"{name}{n:02d}" in chosen else "FALSE" for n in range(1, 13)]
        lines.append(f'"WellsSelection{letter}", {", ".join(row)}')
    lines += ['"Sites", TRUE', f'"XSites", {GRID}', f'"YSites", {GRID}']
    lines += [f'"SiteSelection{n}", {", ".join(["TRUE"] * GRID)}' for n in range(1, GRID + 1)]
    lines += ['"Waves", TRUE', f'"NWavelengths", {channels}']
    lines += [f'"WaveName{n}", "{name}"' for n, name in enumerate(CHANNELS[:channels], start=1)]
    (folder / NAME / "9987.HTD").write_text("\r\n".join([*lines, '"EndFile"', ""]))
    return images


def time_program(python: str, program: str, *words: object) -> float:
    """Return the seconds that a program prints as its last line."""
    command = [python, "-c", program, *map(str, words)]
    with tempfile.TemporaryDirectory() as folder:
        # As a file: worker processes import it, which they cannot with the text of -c.
        path = Path(folder) / "timed.py"
        path.write_text(program)
        command[1:3] = [str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def require_same_pixels(store: Path, plate: Path, side: int) -> int:
    """Compare each field with its part of the stitched well; returns the number of fields."""
    fields = sorted(path.parent for path in store.glob("*.zarr/*/*/*/0"))
    for field in fields:
        row, column, index = field.parts[-3:]
        mine = np.asarray(zarr.open_array(field / "0", mode="r")[:])
        top, left = (part * side for part in divmod(int(index), GRID))
        well = zarr.open_array(plate / row / column / "0/0", mode="r")
        theirs = np.asarray(well[..., top : top + side, left : left + side])
        if not np.array_equal(mine, theirs.reshape(mine.shape)):
            raise SystemExit(f"{field} and its part of {plate} have other pixels")
    return len(fields)


def read_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faim_python", help="interpreter of an environment with faim-ipa")
    parser.add_argument("--wells", type=int, default=12)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--layers", type=int, default=0, help="smaller copies in faim-ipa's pyramid"
    )
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Write the plate, run both in turn, compare their pixels and print the medians."""
    given = read_arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_plate(folder, given.wells, given.side, given.channels)
        seconds: dict[str, list[float]] = {"ingest": [], "faim-ipa": []}
        for _ in range(given.rounds):
            for made in ("store", "theirs"):
                shutil.rmtree(folder / made, ignore_errors=True)
            (folder / "theirs").mkdir()
            raw, store = folder / NAME, folder / "store"
            seconds["ingest"].append(time_program(sys.executable, OURS, raw, store, given.workers))
            words = (images, folder / "theirs", given.workers, given.layers)
            seconds["faim-ipa"].append(time_program(given.faim_python, THEIRS, *words))
        fields = require_same_pixels(store, folder / "theirs/plate.zarr", given.side)
    size = fields * given.channels * given.side**2 * 2
    medians = {name: statistics.median(its) for name, its in seconds.items()}
    for name, median in medians.items():
        rounds = ", ".join(f"{second:.2f}" for second in seconds[name])
        print(f"{name:9} {median:7.2f} s  {size / median / 1e6:6.0f} MB/s  rounds: {rounds}")
    ratio = medians["faim-ipa"] / medians["ingest"]
    print(f"{fields} fields, same pixels: ingest is {ratio:.2f} times as fast (target {TARGET})")


if __name__ == "__main__":
    main()
