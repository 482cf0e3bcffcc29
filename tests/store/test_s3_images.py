"""Raw images on S3, told by a LoadData CSV on the disk."""

import numpy as np
import polars as pl
import tifffile
import zarr

from phenomae import cli
from phenomae.store.ingest import ingest
from phenomae.store.read import open_store


def test_loaddata_by_url(write_screen, tmp_path, bucket):
    """Images on S3, the CSV on the disk: URL_Orig, and an address as PathName_Orig."""
    raw = write_screen()
    (raw / "plate_map.csv").unlink()
    ingest(raw, tmp_path / "local")
    table = pl.read_csv(raw / "load_data.csv", infer_schema=False)
    for path in (raw / "images/P1").iterdir():
        key = f"cpg 0016/P1 #1/{path.name}"
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    folder = bucket.address("cpg 0016/P1 #1")
    names = {channel: pl.col(f"FileName_Orig{channel}") for channel in ("DNA", "ER")}
    forms = {
        "url": [(pl.lit(folder + "/") + name).alias(f"URL_Orig{c}") for c, name in names.items()],
        "path": [
            expression
            for c, name in names.items()
            for expression in (name, pl.lit(folder + "/").alias(f"PathName_Orig{c}"))
        ],
    }
    for form, columns in forms.items():
        (tmp_path / form).mkdir()
        table.select(pl.col("^Metadata_.*$"), *columns).write_csv(tmp_path / form / "load_data.csv")
        assert cli.run(["ingest", str(tmp_path / form), str(tmp_path / f"{form}-store")]) == 0
        found, local = (open_store(tmp_path / name) for name in (f"{form}-store", "local"))
        assert found.fields["checksum"].equals(local.fields["checksum"])
        array = zarr.open_array(
            tmp_path / f"{form}-store" / found.fields["path"][0] / "0", mode="r"
        )
        expected = tifffile.imread(raw / "images/P1/A01_s1_DNA.tiff")
        np.testing.assert_array_equal(array[0], expected)


def test_images_missing_on_s3_are_named(write_screen, tmp_path, bucket, capsys):
    (tmp_path / "raw").mkdir()
    url = bucket.address("none/A01.tiff")
    (tmp_path / "raw/load_data.csv").write_text(
        f"Metadata_Plate,Metadata_Well,Metadata_Site,URL_OrigDNA\nP1,A01,1,{url}\n"
    )
    command = ["ingest", str(tmp_path / "raw"), str(tmp_path / "store"), "--quiet"]
    assert cli.run(command) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"there is no file {url}" in told
