"""Layouts with tiny images: small faithful copies, and real ones cropped where they are at hand."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile

from phenomae import cli

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared/data/images"
SIZE = (24, 40)

Fields = set[tuple[str, str, str]]


def read_keys(path: Path) -> Fields:
    """Return plate, well and site of every row of a table."""
    table = (
        pl.read_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.read_parquet(path)
    )
    return set(table.select(pl.col("plate", "well", "site").cast(pl.String)).rows())


@dataclass(frozen=True)
class Layout:
    """A folder as a microscope left it."""

    raw: Path
    flags: list[str]
    """What `ingest` needs to be told."""
    fields: Fields
    """Plate, well and site of all that it holds."""

    def lost_in_silence(self, store: Path) -> Fields:
        """Return the fields that are neither in a store nor in its report."""
        told = read_keys(store / "fields.parquet") | read_keys(store / "ingest-report.csv")
        return self.fields - told


def noise(*seed: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(seed).poisson(60, SIZE).astype(dtype)


def crop(source: Path, target: Path, compression: str) -> None:
    """Write the middle of a real image, as the original is compressed."""
    pixels = tifffile.imread(source)
    top, left = (side // 2 - part // 2 for side, part in zip(pixels.shape, SIZE, strict=True))
    target.parent.mkdir(parents=True, exist_ok=True)
    cropped = pixels[top : top + SIZE[0], left : left + SIZE[1]]
    tifffile.imwrite(target, cropped, compression=compression)


def write_loaddata(raw: Path) -> list[str]:
    rows, wells = [], []
    for number, well in enumerate(("A01", "A02", "B01")):
        wells.append({"plate": "P1", "well": well, "gene": f"G{number}", "control": number == 0})
        for site in (1, 2):
            row = {"Metadata_Plate": "P1", "Metadata_Well": well, "Metadata_Site": site}
            for channel, name in enumerate(("DNA", "ER")):
                file = raw / f"images/{well}_s{site}_{name}.tiff"
                file.parent.mkdir(exist_ok=True)
                tifffile.imwrite(file, noise(number, site, channel))
                row |= {f"FileName_Orig{name}": file.name, f"PathName_Orig{name}": "images"}
            rows.append(row)
    pl.DataFrame(rows).write_csv(raw / "load_data.csv")
    pl.DataFrame(wells).write_csv(raw / "plate_map.csv")
    return []


def write_rxrx1(raw: Path) -> list[str]:
    lines = ["well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,sirna_id"]
    for number, (well, kind) in enumerate((("B02", "negative_control"), ("AF48", "treatment"))):
        for site in (1, 2):
            lines.append(f"x,HEPG2,train,HEPG2-01,1,{well},{site},{kind},s{number},{number}")
            for channel in range(1, 4):
                path = raw / f"images/HEPG2-01/Plate1/{well}_s{site}_w{channel}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = noise(number, site, channel, dtype="uint8")
                path.write_bytes(imagecodecs.png_encode(pixels))
    (raw / "metadata.csv").write_text("\n".join(lines) + "\n")
    return []


def write_rxrx3_core(raw: Path) -> list[str]:
    (raw / "data").mkdir()
    starts = [f"gene-001/Plate1/{well}_s1" for well in ("AA15", "AA16", "B01")]
    for shard in (0, 1):
        rows = [
            {"__key__": f"{start}_{channel}", "jp2": {"bytes": jpeg2k(shard, channel), "path": ""}}
            for start in starts[2 * shard : 2 * shard + 2]
            for channel in (1, 2, 3)
        ]
        pq.write_table(pa.Table.from_pylist(rows), raw / f"data/{shard}.parquet", row_group_size=4)
    (raw / "metadata_rxrx3_core.csv").write_text(
        "well_id,experiment_name,plate,address,gene,treatment,SMILES,concentration,"
        "perturbation_type,cell_type\n"
        "x,gene-001,1,AA15,RPLP2,RPLP2_guide_4,,,CRISPR,HUVEC\n"
        "x,gene-001,1,AA16,EMPTY_control,EMPTY_control,,,CRISPR,HUVEC\n"
        "x,gene-001,1,B01,,Narlaprevir,C,2.5,COMPOUND,HUVEC\n"
    )
    return []


def jpeg2k(*seed: int) -> bytes:
    return imagecodecs.jpeg2k_encode(noise(*seed, dtype="uint8"), level=0)


def write_cellvoyager(raw: Path) -> list[str]:
    space = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
    records = []
    for well, (row, column) in {"B03": (2, 3), "D08": (4, 8)}.items():
        for channel in (1, 2):
            for plane in (1, 2):
                name = f"p_{well}_T0001F001L01A01Z{plane:02d}C{channel:02d}.tif"
                tifffile.imwrite(raw / name, noise(row, channel, plane), compression="packbits")
                records.append(
                    f'<bts:MeasurementRecord bts:Type="IMG" bts:Column="{column}" bts:Row="{row}" '
                    f'bts:TimePoint="1" bts:FieldIndex="1" bts:ZIndex="{plane}" bts:Ch="{channel}">'
                    f"{name}</bts:MeasurementRecord>"
                )
    texts = {
        "MeasurementData.mlf": f"<bts:MeasurementData {space}>" + "\n".join(records) + "\n"
        "</bts:MeasurementData>",
        "MeasurementDetail.mrf": '<bts:MeasurementDetail bts:MeasurementSettingFileName="a.mes" '
        f'{space}><bts:MeasurementSamplePlate bts:Name="P1" /><bts:MeasurementChannel bts:Ch="1" '
        'bts:HorizontalPixelDimension="0.325" /></bts:MeasurementDetail>',
        "a.mes": f'<bts:MeasurementSetting {space}><bts:Channel bts:Ch="1" bts:Target="DNA" />'
        '<bts:Channel bts:Ch="2" bts:Target="ER" /></bts:MeasurementSetting>',
    }
    for name, text in texts.items():
        (raw / name).write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}')
    return []


def write_bbbc013(raw: Path) -> list[str]:
    source = SHARED / "bbbc013_cellprofiler_sbs96"
    lines = (source / "1049_Metadata.csv").read_text().splitlines()
    chosen = [line for line in lines[1:] if line.split(",")[1] in ("01", "07", "12")][:6]
    (raw / "1049_Metadata.csv").write_text("\n".join([lines[0], *chosen]) + "\n")
    for number, column, row, *_ in (line.split(",") for line in chosen):
        for channel in (1, 2):
            name = f"images/Channel{channel}-{int(number):02d}-{row}-{column}.tif"
            crop(source / name, raw / name, "deflate")
    return ["--config", str(ROOT / "src/phenomae/recipes/bbbc013.toml")]


def write_phenix(raw: Path) -> list[str]:
    source = SHARED / "phenix_pe2loaddata/Version1/images"
    shutil.copy(source / "Index.idx.xml", raw)
    for path in source.glob("*.tiff"):
        crop(path, raw / path.name, "lzw")
    return []


def write_pe2loaddata(raw: Path) -> list[str]:
    (raw / "images").mkdir()
    write_phenix(raw / "images")
    shutil.copy(SHARED / "phenix_pe2loaddata/Version1/load_data_version1.csv", raw)
    return ["--images", str(raw / "images")]


def write_imagexpress(raw: Path) -> list[str]:
    source = SHARED / "imagexpress_faim/9987_Plate_3435"
    (raw / "TimePoint_1").mkdir()
    for path in source.rglob("*.HTD"):
        shutil.copy(path, raw / path.relative_to(source))
    for path in source.rglob("*.TIF"):
        crop(path, raw / path.relative_to(source), "none")
    return []


def write_nf1(raw: Path) -> list[str]:
    for path in (SHARED / "nf1_schwann_3ch/images").glob("*.tif"):
        crop(path, raw / path.name, "deflate")
    (raw / "plate_map.csv").write_text("well,gene,control\nB7,NF1,0\nD7,,1\n")
    pattern = r"(?P<well>[A-Z]\d+)_01_\d_(?P<site>\d)_(?P<channel>[A-Z]+)_001\.tif"
    return ["--pattern", pattern, "--plate-name", "nf1"]


OWN = (write_loaddata, write_rxrx1, write_rxrx3_core, write_cellvoyager)
REAL = (write_bbbc013, write_phenix, write_pe2loaddata, write_imagexpress, write_nf1)
LAYOUTS = (*OWN, *(REAL if SHARED.is_dir() else ()))


@pytest.fixture(scope="session")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> list[Layout]:
    """Every layout, ingested once as it is."""
    home = tmp_path_factory.mktemp("layouts")
    made = []
    for write in LAYOUTS:
        raw = home / write.__name__.removeprefix("write_")
        raw.mkdir()
        flags, store = write(raw), home / f"store of {raw.name}"
        assert cli.run(["ingest", str(raw), str(store), "--quiet", *flags]) == 0
        made.append(Layout(raw, flags, read_keys(store / "fields.parquet")))
    return made
