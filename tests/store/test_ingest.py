"""From raw plates to a store: what arrives, what the metadata say, and who else can read it."""

import json
import math
import re
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
import zarr
from ome_zarr_models.v05 import HCS

from phenomae.cli import run
from phenomae.images.read import list_fields, read_field
from phenomae.records import FIELD_COLUMNS
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.read import open_store


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and its bytes, but for the times of the raw files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    del found["raw-files.json"]
    return found


def test_zarr_python_reads_the_pixels_of_the_tiffs(write_screen, tmp_path):
    raw = write_screen(plates=("P1", "P2"), channels=("ER", "DNA", "RNA"))
    ingest(raw, tmp_path / "store")
    table = pl.read_parquet(tmp_path / "store/fields.parquet")
    fields = list_fields(raw).fields
    assert len(table) == len(fields) == 12
    for row, field in zip(table.iter_rows(named=True), fields, strict=True):
        assert (row["plate"], row["well"], row["site"]) == (field.plate, field.well, field.site)
        array = zarr.open_array(tmp_path / "store" / row["path"] / "0", mode="r")
        expected = np.stack([tifffile.imread(image.planes[0].url) for image in field.images])
        np.testing.assert_array_equal(array[:], expected)
        assert array.shape == (3, row["height"], row["width"]) == (3, 150, 130)
        assert array.shards == (3, 256, 256)
        assert array.chunks == (3, 128, 128)


def test_metadata_are_valid_ome_zarr(write_screen, tmp_path):
    raw = write_screen(wells=("A01", "B12", "AA03"), sites=3)
    ingest(raw, tmp_path / "store", settings=IngestSettings(pixel_size_um=0.65))
    group = zarr.open_group(tmp_path / "store/P1.zarr", mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plate = HCS.from_zarr(group)
    assert plate.n_wells == 3
    assert [len(well.ome_attributes.well.images) for well in plate.well_groups] == [3, 3, 3]
    assert [row.name for row in plate.ome_attributes.plate.rows] == ["A", "B", "AA"]
    ome = group["AA/03/2"].attrs["ome"]
    (multiscale,) = ome["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "y", "x"]
    assert multiscale["axes"][1]["unit"] == "micrometer"
    assert multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, 0.65, 0.65]
    assert [channel["label"] for channel in ome["omero"]["channels"]] == ["DNA", "ER"]


def test_the_table_has_the_wells_columns_and_the_windows(write_screen, tmp_path):
    ingest(write_screen(), tmp_path / "store")
    table = pl.read_parquet(tmp_path / "store/fields.parquet")
    assert dict(table.schema) == FIELD_COLUMNS
    row = table.row(2, named=True)
    assert (row["gene"], row["guide"], row["perturbation"]) == ("GENE1", "GENE1_1", "GENE1_1")
    assert table["control"].to_list() == [True, True, False, False, False, False]
    group = json.loads((tmp_path / "store" / row["path"] / "zarr.json").read_text())
    shown = [channel["window"] for channel in group["attributes"]["ome"]["omero"]["channels"]]
    assert [window["start"] for window in shown] == row["window_low"]
    assert [window["end"] for window in shown] == row["window_high"]
    assert {(window["min"], window["max"]) for window in shown} == {(0.0, 65535.0)}


def test_eight_bits_are_the_windows_of_the_plate(write_screen, tmp_path):
    raw = write_screen(plates=("P1", "P2"))
    ingest(raw, tmp_path / "store", settings=IngestSettings(bits=8, low_percentile=1))
    store = open_store(tmp_path / "store")
    assert store.dtype == "uint8"
    assert store.fields["window_low"].to_list() == [[0.0, 0.0]] * 12
    assert store.fields["window_high"].to_list() == [[255.0, 255.0]] * 12
    for plate in ("P1", "P2"):
        fields = [field for field in list_fields(raw).fields if field.plate == plate]
        pixels = np.stack([read_field(field) for field in fields])
        making = json.loads((tmp_path / f"store/{plate}.zarr/zarr.json").read_text())
        raw_windows = making["attributes"]["phenomae"]["raw_windows"]
        for channel, name in enumerate(("DNA", "ER")):
            low, high = np.percentile(pixels[:, channel], [1, 99.9], method="inverted_cdf")
            assert raw_windows[name] == [low, high]
            row = next(i for i, p in enumerate(store.fields["plate"]) if p == plate)
            stored = store.array(row).read().result()[channel].astype(float)
            exact = np.clip((pixels[0, channel].astype(float) - low) / (high - low), 0, 1) * 255
            np.testing.assert_allclose(stored, exact, atol=0.5 + 1e-9)


def test_eight_bit_files_stay_as_they_are(write_screen, tmp_path):
    raw = write_screen(dtype="uint8")
    ingest(raw, tmp_path / "kept")
    ingest(raw, tmp_path / "asked", settings=IngestSettings(bits=8))
    for name in ("kept", "asked"):
        store = open_store(tmp_path / name)
        assert store.dtype == "uint8"
        assert store.fields["window_high"][0].to_list() == [255.0, 255.0]
        field = list_fields(raw).fields[3]
        np.testing.assert_array_equal(store.array(3).read().result(), read_field(field))


def test_bytes_do_not_depend_on_the_number_of_workers(write_screen, tmp_path):
    raw = write_screen(plates=("P1", "P2"))
    for workers in (1, 5):
        ingest(raw, tmp_path / f"store{workers}", settings=IngestSettings(workers=workers))
    assert contents(tmp_path / "store1") == contents(tmp_path / "store5")


def test_bytes_do_not_depend_on_where_the_files_lie(write_screen, tmp_path, monkeypatch):
    raw, other = write_screen(), write_screen(name="elsewhere/deep")
    ingest(raw, tmp_path / "store1")
    monkeypatch.chdir(other.parent)
    ingest(
        Path("deep"), tmp_path / "store2", settings=IngestSettings(plate_map=Path("plate_map.csv"))
    )
    assert contents(tmp_path / "store1") == contents(tmp_path / "store2")


def test_fields_of_different_sizes_and_of_zeros(write_screen, tmp_path):
    raw = write_screen()
    for channel in ("DNA", "ER"):
        tifffile.imwrite(raw / f"images/P1/A01_s2_{channel}.tiff", np.zeros((97, 300), np.uint16))
    ingest(raw, tmp_path / "store")
    store = open_store(tmp_path / "store")
    assert store.fields.select("height", "width").row(1) == (97, 300)
    np.testing.assert_array_equal(store.array(1).read().result(), np.zeros((2, 97, 300)))
    assert (tmp_path / "store" / store.fields["path"][1] / "0/c/0/0/0").exists()


def test_the_same_work_again_is_told_and_other_work_refused(write_screen, tmp_path, capsys):
    raw, store = write_screen(), tmp_path / "store"
    ingest(raw, store)
    before = contents(store)
    assert run(["ingest", str(raw), str(store)]) == 0
    assert "is already there" in capsys.readouterr().err
    assert run(["ingest", str(raw), str(store), "--bits", "8"]) == 1
    assert "another setting: bits = 16, now 8" in capsys.readouterr().err
    (raw / "plate_map.csv").write_text((raw / "plate_map.csv").read_text().replace("GENE2", "X"))
    assert run(["ingest", str(raw), str(store)]) == 1
    assert "another source: wells" in capsys.readouterr().err
    assert contents(store) == before
    assert run(["ingest", str(raw), str(store), "--bits", "8", "--overwrite"]) == 0
    assert open_store(store).dtype == "uint8"


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_a_dry_run_lists_each_problem_once(on_bad, write_screen, tmp_path, capsys):
    raw = write_screen(plates=("P1", "P2"))
    (raw / "images/P1/A01_s1_DNA.tiff").unlink()
    words = ["ingest", str(raw), str(tmp_path / "store"), "--dry-run", "--on-bad", on_bad]
    assert run(words) == (on_bad == "error")
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count("wrong: ") == 1


def test_settings_that_version_0_1_lacked_are_recorded_only_if_they_are_used(
    write_screen, tmp_path
):
    raw, store = write_screen(), tmp_path / "store"
    ingest(raw, store)
    recorded = json.loads((store / "artefact.json").read_text())["settings"]
    assert not {"pages", "time_point", "value_range", "metadata_column"} & {*recorded}
    with pytest.raises(ValueError, match=r"another setting: pages = None, now 'plane'"):
        ingest(raw, store, settings=IngestSettings(pages="plane"))


def test_identity_follows_the_pixels(write_screen, tmp_path):
    raw = write_screen()
    ingest(raw, tmp_path / "store1")
    path = raw / "images/P1/B01_s1_ER.tiff"
    pixels = tifffile.imread(path)
    pixels[0, 0] += 1
    tifffile.imwrite(path, pixels)
    ingest(raw, tmp_path / "store2")
    first, second = open_store(tmp_path / "store1"), open_store(tmp_path / "store2")
    assert first.identity != second.identity
    differs = first.fields["checksum"] != second.fields["checksum"]
    assert differs.to_list() == [False] * 4 + [True, False]


@pytest.mark.parametrize("bits", ["16", "8"])
@pytest.mark.parametrize(("blank", "fields"), [("*", "all fields"), ("A02_s?", "2 of 6 fields")])
def test_channels_with_one_value_everywhere_are_told(
    write_screen, tmp_path, capsys, bits: str, blank: str, fields: str
):
    raw = write_screen(plates=("P1", "P2"))
    for path in (raw / "images/P2").glob(f"{blank}_ER.tiff"):
        tifffile.imwrite(path, np.full((150, 130), 7, np.uint16))
    assert run(["ingest", str(raw), str(tmp_path / "store"), "--bits", bits]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "same value" in line]
    assert said == [f"plate P2, channel ER: {fields} have the same value everywhere"]


def test_dry_run_lists_and_writes_nothing(write_screen, tmp_path, capsys):
    raw = write_screen(plates=("P1", "P2"))
    assert run(["ingest", str(raw), str(tmp_path / "store"), "--dry-run", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "channels: DNA, ER"
    assert lines[2] == "pixel size: not known"
    assert lines[3].split() == [
        *("plate", "wells", "fields", "sites", "controls", "perturbations", "size", "mb"),
    ]
    assert lines[4].split()[:8] == ["P1", "3", "6", "2", "1", "3", "150x130", "uint16"]
    assert lines[-1] == "in all: 2 plates, 12 fields, 24 images"
    assert not list(tmp_path.glob("store*"))


def test_no_plate_map_is_allowed_and_told(write_screen, tmp_path, capsys):
    raw = write_screen()
    (raw / "plate_map.csv").unlink()
    assert run(["ingest", str(raw), str(tmp_path / "store")]) == 0
    said = f"no plate map (plate_map.csv in {raw}; --plate-map): wells have no perturbation"
    assert said in capsys.readouterr().err
    fields = open_store(tmp_path / "store").fields
    assert fields["control"].to_list() == [False] * 6
    assert fields["perturbation"].null_count() == 6


def test_a_whole_real_plate_with_its_recipe(shared, tmp_path):
    raw = shared / "data/images/bbbc013_cellprofiler_sbs96"
    recipe = Path(__file__).parents[2] / "src/phenomae/recipes/bbbc013.toml"
    assert run(["ingest", str(raw), str(tmp_path / "store"), "--config", str(recipe)]) == 0
    store = open_store(tmp_path / "store")
    assert (store.channels, store.dtype, len(store.fields)) == (("FKHR-GFP", "DNA"), "uint8", 96)
    doses = store.fields.filter(pl.col("perturbation").cast(int).is_between(1, 9))
    assert len(doses) == 72
    assert store.fields.filter("control")["perturbation"].to_list() == ["0"] * 16
    row = store.fields.with_row_index().row(by_predicate=pl.col("well") == "C07", named=True)
    expected = [tifffile.imread(raw / f"images/Channel{c}-31-C-07.tif") for c in (1, 2)]
    np.testing.assert_array_equal(store.array(row["index"]).read().result(), np.stack(expected))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"low_percentile": 99.95},
            "high_percentile must be above low_percentile, 99.95, up to 100, not 99.9",
        ),
        ({"high_percentile": 101}, "high_percentile must be above low_percentile, 0.1, up to 100,"),
        ({"low_percentile": -1}, "low_percentile must be at least 0 and below 100, not -1"),
        ({"window_fields": 0}, "window_fields must be at least 1, not 0"),
        ({"pixel_size_um": 0}, "pixel_size_um must be between 0 and 10000 (both excluded), not 0"),
        ({"pixel_size_um": math.nan}, "pixel_size_um must be between 0 and 10000 (both excluded)"),
        ({"workers": 0}, "workers must be at least 1, not 0"),
        ({"plane": "middle"}, "plane must be"),
    ],
)
def test_settings_that_make_no_sense(settings, sentence, tmp_path, capsys):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        IngestSettings(**settings)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    assert run(["ingest", str(tmp_path), str(tmp_path / "store"), *flags]) == 1
    names = "(high|low)_percentile|window_fields|pixel_size_um|workers|plane"
    named = re.sub(names, lambda name: f"--{name[0].replace('_', '-')}", sentence)
    assert f"phenomae: {named}" in capsys.readouterr().err
    assert not list(tmp_path.glob("store*"))


def test_a_control_label_that_no_well_has(write_screen, tmp_path):
    settings = IngestSettings(control_label="nobody")
    with pytest.raises(ValueError, match="no well has the control label 'nobody'"):
        ingest(write_screen(), tmp_path / "store", settings=settings)
    assert not list(tmp_path.glob("store*"))
