"""Public data sets from raw files to profiles, each in a small copy that the test writes.

The mean of an image encodes plate, well, site and channel, so that a mix-up would show.
"""

from pathlib import Path

import imagecodecs
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile

from phenomae.embedding.features import FeaturesSettings, features
from phenomae.embedding.hand_made.intensity import STATISTICS
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.wells import read_wells

SIZE = (150, 130)
MEAN = STATISTICS.index("mean")


def image(level: int) -> np.ndarray:
    """An image whose mean is `level`."""
    rows = np.arange(SIZE[0])[:, None] % 2 * 2 - 1
    return np.broadcast_to(level + rows, SIZE).astype(np.uint8)


def means(raw: Path, home: Path, **settings) -> dict[tuple, list[float]]:
    """Ingest and compute intensity profiles; return each well's means by its columns."""
    ingest(raw, home / "store", settings=IngestSettings(workers=1, **settings))
    features(home / "store", home / "wells", settings=FeaturesSettings(kind="intensity"))
    profiles = read_wells(home / "wells")
    keys = profiles.table.select("plate", "well", "batch", "perturbation", "control").rows()
    found = profiles.features[:, MEAN :: len(STATISTICS)].astype(float).round(3).tolist()
    return dict(zip(keys, found, strict=True))


def test_jump_from_load_data_and_barcodes(tmp_path: Path):
    raw, images = tmp_path / "load_data_csv/BR1", tmp_path / "images/BR1__2021 #1/Images"
    raw.mkdir(parents=True)
    images.mkdir(parents=True)
    np.save(tmp_path / "BR1_IllumDNA.npy", np.full(SIZE, 0.5))
    rows = []
    for well, level in (("A01", 20), ("P24", 40)):
        for site in (1, 2):
            name = f"{well}_{site}_DNA.tiff"
            tifffile.imwrite(images / name, image(level + site))
            url = (images / name).as_uri().replace("file:///", "file:/")
            rows.append(
                {
                    "Metadata_Plate": "BR1",
                    "Metadata_Well": well,
                    "Metadata_Site": site,
                    "URL_OrigDNA": url,
                    "FileName_IllumDNA": "BR1_IllumDNA.npy",
                    "PathName_IllumDNA": str(tmp_path),
                }
            )
    pl.DataFrame(rows).write_parquet(raw / "load_data_with_illum.parquet")
    pl.DataFrame(rows).drop("FileName_IllumDNA", "PathName_IllumDNA").write_csv(
        raw / "load_data.csv"
    )
    barcodes = tmp_path / "metadata/barcode_platemap.csv"
    (barcodes.parent / "platemap").mkdir(parents=True)
    barcodes.write_text("Assay_Plate_Barcode,Plate_Map_Name\nBR1,first\nBR2,second\n")
    (barcodes.parent / "platemap/first.txt").write_text(
        "well_position\tbroad_sample\tsolvent\n1\t\tDMSO\n384\tBRD-K1\tDMSO\n"
    )
    found = means(
        raw,
        tmp_path,
        illumination="divide",
        barcode_map=barcodes,
        plate_size=384,
        control_column="broad_sample",
        control_label="",
    )
    # The mean of sites 1 and 2, over 0.5.
    assert found == {
        ("BR1", "A01", None, None, True): [43.0],
        ("BR1", "P24", None, "BRD-K1", False): [83.0],
    }


def test_rxrx1(tmp_path: Path):
    head = "well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,sirna_id\n"
    wells = [
        ("HEPG2-01", 1, "B02", "negative_control", "EMPTY", 10),
        ("HEPG2-01", 2, "B02", "treatment", "s20894", 20),
        ("HUVEC-05", 1, "AF48", "positive_control", "s15652", 30),
    ]
    raw = tmp_path / "rxrx1"
    rows = []
    for experiment, plate, well, kind, sirna, level in wells:
        folder = raw / f"images/{experiment}/Plate{plate}"
        folder.mkdir(parents=True)
        for site in (1, 2):
            rows.append(f"x,HEPG2,train,{experiment},{plate},{well},{site},{kind},{sirna},1\n")
            for channel in range(1, 7):
                pixels = image(level + channel + (site == 2))
                name = f"{well}_s{site}_w{channel}.png"
                (folder / name).write_bytes(imagecodecs.png_encode(pixels))
    (raw / "metadata.csv").write_text(head + "".join(rows))
    found = means(raw, tmp_path, channels="w2=ER,w1=DNA")
    assert found == {
        ("HEPG2-01_Plate1", "B02", "HEPG2-01", "EMPTY", True): [12.5, 11.5],
        ("HEPG2-01_Plate2", "B02", "HEPG2-01", "s20894", False): [22.5, 21.5],
        ("HUVEC-05_Plate1", "AF48", "HUVEC-05", "s15652", False): [32.5, 31.5],
    }


def test_rxrx3_core(tmp_path: Path):
    raw = tmp_path / "rxrx3-core"
    (raw / "data").mkdir(parents=True)
    wells = ["gene-001/Plate1/AA15", "gene-001/Plate1/AA16", "compound-001/Plate1/AA15"]
    for number, well in enumerate(wells):
        images = [
            {
                "__key__": f"{well}_s1_{channel}",
                "jp2": {
                    "bytes": imagecodecs.jpeg2k_encode(image(10 * (number + 1) + channel), level=0),
                    "path": None,
                },
            }
            for channel in range(1, 7)
        ]
        table = pa.Table.from_pylist(images)
        pq.write_table(table, raw / f"data/train-{number}.parquet", row_group_size=4)
    (raw / "metadata_rxrx3_core.csv").write_text(
        "well_id,experiment_name,plate,address,gene,treatment,SMILES,concentration,"
        "perturbation_type,cell_type\n"
        "x,gene-001,1,AA15,RPLP2,RPLP2_guide_4,,,CRISPR,HUVEC\n"
        "x,gene-001,1,AA16,EMPTY_control,EMPTY_control,,,CRISPR,HUVEC\n"
        "x,compound-001,1,AA15,,Narlaprevir,C,2.5,COMPOUND,HUVEC\n"
        "x,compound-002,9,AA15,,Narlaprevir,C,2.5,COMPOUND,HUVEC\n"
    )
    found = means(raw, tmp_path, channels="6,1=DNA")
    assert found == {
        ("compound-001_Plate1", "AA15", "compound-001", "Narlaprevir_2.5", False): [36.0, 31.0],
        ("gene-001_Plate1", "AA15", "gene-001", "RPLP2_guide_4", False): [16.0, 11.0],
        ("gene-001_Plate1", "AA16", "gene-001", "EMPTY_control", True): [26.0, 21.0],
    }


def test_a_pattern_with_planes(tmp_path: Path):
    raw = tmp_path / "raw"
    for channel, level in (("DNA", 10), ("ER", 50)):
        folder = raw / f"My Plate/{channel}"
        folder.mkdir(parents=True)
        for plane in (1, 2, 3):
            tifffile.imwrite(folder / f"r02c11 z{plane}.TIF", image(level + plane))
    (raw / "plate_map.csv").write_text("Row,Col,what\n2,11,mock\n")
    found = means(
        raw,
        tmp_path,
        pattern=r"(?P<plate>[^/]+)/(?P<channel>\w+)/(?P<well>r\d+c\d+) z(?P<plane>\d)\.TIF",
        well_column="Row,Col",
        perturbation_column="what",
        control_column="what",
        control_label="mock",
    )
    assert found == {("My Plate", "B11", None, "mock", True): [13.0, 53.0]}
