"""Layouts of instruments, from raw files to profiles: real index files, images of known means.

The means encode well, site, channel and plane, so that a mix-up would show.
"""

import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

from phenomae.embedding.features import FeaturesSettings, features
from phenomae.embedding.hand_made.intensity import STATISTICS
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.read import open_store
from phenomae.wells import read_wells

SIZE = (150, 130)
MEAN = STATISTICS.index("mean")


def image(level: int) -> np.ndarray:
    """An image whose mean is `level`."""
    rows = np.arange(SIZE[0])[:, None] % 2 * 2 - 1
    return np.broadcast_to(level + rows, SIZE).astype(np.uint16)


def means(raw: Path, home: Path, **settings) -> dict[tuple[str, str], dict[str, float]]:
    """Ingest and compute intensity profiles; return (plate, well) -> channel -> mean."""
    ingest(raw, home / "store", settings=IngestSettings(workers=1, **settings))
    store = open_store(home / "store")
    features(home / "store", home / "wells", settings=FeaturesSettings(kind="intensity"))
    profiles = read_wells(home / "wells")
    found = profiles.features[:, MEAN :: len(STATISTICS)].astype(float).round(2).tolist()
    wells = profiles.table.select("plate", "well").rows()
    return {
        well: dict(zip(store.channels, values, strict=True))
        for well, values in zip(wells, found, strict=True)
    }


@pytest.mark.parametrize("version", ["1", "5", "7"])
def test_phenix(shared: Path, tmp_path: Path, version: str):
    """pe2loaddata's table of the same index gives the file of each channel."""
    origin = shared / f"data/images/phenix_pe2loaddata/Version{version}"
    raw = tmp_path / "BR 1 #2__2020-11-19T00_00_00-Measurement 1/Images"
    raw.mkdir(parents=True)
    (index,) = (origin / "images").glob("Index*.xml")
    shutil.copy(index, raw)
    table = pl.read_csv(origin / f"load_data_version{version}.csv", infer_schema=False)
    (row,) = table.rows(named=True)
    stains = [name.removeprefix("FileName_Orig") for name in row if name.startswith("FileName_")]
    expected = {}
    for number, stain in enumerate(stains):
        name = row[f"FileName_Orig{stain}"]
        tifffile.imwrite(raw / name, image(100 + 10 * number), compression="lzw")
        label = row[f"Metadata_ChannelName_Orig{stain}"]
        if stain not in ("Brightfield", "DPC"):
            expected[label] = 100.0 + 10 * number
    found = means(raw.parent, tmp_path)
    assert found == {(row["Metadata_Plate"], row["Metadata_Well"]): expected}
    size = open_store(tmp_path / "store").pixel_size_um
    assert size == pytest.approx(float(row["Metadata_ImageResolutionX"]) * 1e6)


def test_imagexpress(shared: Path, tmp_path: Path):
    raw = shared / "data/images/imagexpress_faim/9987_Plate_3435"
    found = means(raw, tmp_path)
    names = {"DAPI": "w1", "FITC": "w2"}
    expected = {
        ("9987", well): {
            stain: np.mean(
                [
                    tifffile.imread(raw / f"TimePoint_1/9987_{well}_s{site}_{wave}.TIF").mean()
                    for site in (1, 2)
                ]
            )
            for stain, wave in names.items()
        }
        for well in ("B02", "B03")
    }
    assert found.keys() == expected.keys()
    for well, channels in expected.items():
        assert found[well] == pytest.approx(channels, abs=0.01)


@pytest.mark.parametrize("plane", ["max", "2"])
def test_cellvoyager(shared: Path, tmp_path: Path, plane: str):
    (origin,) = (shared / "data/images/cellvoyager_cv8000_layout_only").iterdir()
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in origin.iterdir():
        if path.suffix != ".tif":
            shutil.copy(path, raw)
            continue
        level = 9999  # of a shading file
        if match := re.search(r"_([A-P])(\d\d)_T0001F(\d{3})L01A0\dZ(\d\d)C(\d\d)\.tif", path.name):
            row, column, field, z, channel = (
                int(part) if part.isdigit() else ord(part) - 64 for part in match.groups()
            )
            level = 1000 * row + 100 * channel + 10 * z + field + column
        tifffile.imwrite(raw / path.name, image(level))
    found = means(raw, tmp_path, plane=plane)
    plate = "CV8000-Minimal-DataSet-2C-3W-4S-FP2-stack"
    z = 4 if plane == "max" else 2
    assert found == {
        (plate, f"{'ABCDEF'[row - 1]}{column:02d}"): {
            # Fields 1 to 4: their mean is 2.5.
            name: 1000.0 * row + 100 * channel + 10 * z + 2.5 + column
            for channel, name in ((1, "405"), (2, "488"))
        }
        for row, column in ((4, 8), (5, 3), (6, 8))
    }
    assert open_store(tmp_path / "store").pixel_size_um == 0.325


@pytest.mark.parametrize("folder", ["Images", "hs-1234/images_raw"])
@pytest.mark.parametrize("name", ["Index.idx.xml", "Index.ref.xml"])
def test_phenix_with_the_index_above_the_images(
    shared: Path, tmp_path: Path, name: str, folder: str
):
    """Harmony's own index, of an export that was rearranged."""
    raw = tmp_path / "measurement"
    (raw / folder).mkdir(parents=True)
    origin = shared / "data/images/phenix_pe2loaddata/Version5/images"
    shutil.copy(next(origin.glob("Index*.xml")), raw / name)
    files = re.findall("<URL>(.*?)</URL>", (raw / name).read_text())
    assert len(files) > 4
    for number, file in enumerate(files):
        tifffile.imwrite(raw / folder / file, image(100 + 10 * number))
    (profile,) = means(raw, tmp_path).values()
    # All but the first two, which are phase contrast and brightfield.
    assert list(profile.values()) == [100.0 + 10 * number for number in range(2, len(files))]


def test_one_time_point_of_a_cellvoyager_series(tmp_path: Path):
    raw = tmp_path / "raw"
    raw.mkdir()
    records = ""
    for time in (1, 2, 3):
        tifffile.imwrite(raw / f"A01_T{time}.tif", image(100 * time))
        records += (
            f'<MeasurementRecord Type="IMG" Row="1" Column="1" FieldIndex="1" ZIndex="1" Ch="1" '
            f'TimePoint="{time}">A01_T{time}.tif</MeasurementRecord>'
        )
    (raw / "MeasurementData.mlf").write_text(f"<MeasurementData>{records}</MeasurementData>")
    assert means(raw, tmp_path, time_point="2") == {("raw", "A01"): {"1": 200.0}}


def test_stacks_of_channels_and_planes(tmp_path: Path):
    """A pattern without the group channel: OME-XML names the channels."""
    raw = tmp_path / "raw/P1"
    raw.mkdir(parents=True)
    for well, level in (("A01", 100), ("B02", 500)):
        planes = [[image(level + 10 * c + z) for z in range(3)] for c in range(2)]
        metadata = {"axes": "CZYX", "Channel": {"Name": ["DNA", "ER"]}}
        tifffile.imwrite(raw / f"{well}.ome.tif", np.stack(planes), ome=True, metadata=metadata)
    pattern = r"(?P<plate>P\d)/(?P<well>\w+)\.ome\.tif"
    assert means(raw.parent, tmp_path, pattern=pattern) == {
        ("P1", "A01"): {"DNA": 102.0, "ER": 112.0},
        ("P1", "B02"): {"DNA": 502.0, "ER": 512.0},
    }
