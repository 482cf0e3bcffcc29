"""The command `qc`: planted fields are found, and its condition leaves them out elsewhere."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import phenomae
from phenomae import cli
from phenomae.quality.settings import FLAGS, QcSettings
from phenomae.records import well_place
from phenomae.reporting.figures.plate_grids import draw_plate
from phenomae.reporting.figures.style import house_style
from phenomae.reporting.qc import QualityControl, qc
from phenomae.row_filter import match_rows

NETWORK = {
    "crop-size": 64,
    "patch-size": 16,
    "embed-dim": 16,
    "depth": 1,
    "num-heads": 2,
    "decoder-embed-dim": 16,
    "decoder-depth": 1,
    "decoder-num-heads": 2,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def checked(planted, tmp_path_factory: pytest.TempPathFactory) -> QualityControl:
    """The planted store after quality control with the usual rules."""
    return qc(planted.store, tmp_path_factory.mktemp("checked") / "qc")


def flagged(table: pl.DataFrame, flag: str) -> set[tuple[str, str, int]]:
    return set(table.filter(pl.col(flag)).select("plate", "well", "site").rows())


def test_planted_fields_are_found_and_no_others(planted, checked):
    table = checked.to_polars("fields")
    for flag in FLAGS:
        assert planted.bad[flag] <= flagged(table, flag), flag
    everything = set().union(*planted.bad.values())
    assert flagged(table, "left_out") == everything
    # In one channel only, but for empty fields.
    assert set(table.filter("blurred")["channel"]) == {"ER"}


def test_its_condition_leaves_out_the_planted_fields(planted, checked):
    fields = phenomae.open_store(planted.store).fields
    kept = match_rows(fields, checked.where, "store")
    left = set(fields.filter(~kept).select("plate", "well", "site").rows())
    assert left == set().union(*planted.bad.values())


def test_counts_by_plate(planted, checked):
    table = checked.to_polars("plates")
    everything = set().union(*planted.bad.values())
    for row in table.iter_rows(named=True):
        on_plate = [place for place in everything if place[0] == row["plate"]]
        assert row["fields"] == 48
        assert row["left_out"] == len(on_plate) == 8
        assert row["empty"] == 2


def test_embed_and_pretrain_take_the_condition(planted, checked, tmp_path, capsys):
    """The folders are made with the condition as it stands in where.sql."""
    condition = (checked.path / "where.sql").read_text()
    network = [word for name, value in NETWORK.items() for word in (f"--{name}", str(value))]
    run, wells = tmp_path / "run", tmp_path / "wells"
    words = ["pretrain", "vit-mae", str(planted.store), str(run), *network, "--where", condition]
    assert cli.run([*words, "--steps", "1", "--crops-per-step", "2"]) == 0
    words = ["embed", str(planted.store), str(run), str(wells), "--device", "cpu"]
    assert cli.run([*words, "--where", condition]) == 0
    assert capsys.readouterr().err.count("keeps 80 of 96 fields") == 2
    table = pl.concat([pl.read_parquet(path) for path in wells.glob("*.parquet")])
    assert table["sites"].sum() == 80


def test_check_verifies_it_and_a_repeated_call_finds_it(planted, checked, capsys):
    assert cli.run(["check", str(checked.path), "--among", str(planted.store.parent)]) == 0
    assert capsys.readouterr().out.count("complete") == 2
    before = {path: path.stat().st_mtime_ns for path in checked.path.rglob("*")}
    assert cli.run(["qc", str(planted.store), str(checked.path)]) == 0
    shown = capsys.readouterr()
    assert "already there" in shown.err
    assert shown.out.splitlines()[0].split() == checked.to_polars("plates").columns
    assert {path: path.stat().st_mtime_ns for path in checked.path.rglob("*")} == before
    assert cli.run(["qc", str(planted.store), str(checked.path), "--z", "9"]) == 1
    assert "z = 3.5, now 9.0" in capsys.readouterr().err


def test_a_changed_condition_is_noticed(checked, tmp_path):
    copy = tmp_path / "qc"
    shutil.copytree(checked.path, copy)
    (copy / "where.sql").write_text("TRUE\n")
    with pytest.raises(ValueError, match=r"where\.sql has changed since phenomae wrote it"):
        _ = QualityControl(copy).where


def test_a_part_of_a_store_is_checked_by_itself(planted, tmp_path, capsys):
    first, _ = phenomae.open_store(planted.store).fields["plate"].unique(maintain_order=True)
    where = f"plate = '{first}'"
    out = qc(planted.store, tmp_path / "qc", settings=QcSettings(where=where))
    assert out.to_polars("plates")["plate"].to_list() == [first]
    assert out.where.startswith(f"({where}) AND NOT (plate = '{first}' AND ")
    for wrong, message in (("plate = 'X'", "matches no row"), ("odd > 1", "no column 'odd'")):
        words = ["qc", str(planted.store), str(tmp_path / "none"), "--where", wrong]
        assert cli.run(words) == 1
        assert message in capsys.readouterr().err
        assert not list(tmp_path.glob("none*"))


def test_it_goes_on_where_it_was_stopped(planted, checked, tmp_path, capsys):
    """The second plate cannot be read at first; the first is then measured once only."""
    store = tmp_path / "store"
    shutil.copytree(planted.store, store)
    _, second = phenomae.open_store(store).fields["plate"].unique(maintain_order=True)
    shard = next(path for path in sorted((store / f"{second}.zarr").rglob("c/0/0/0")))
    content = shard.read_bytes()
    shard.write_bytes(content[:-3])
    assert cli.run(["qc", str(store), str(tmp_path / "qc")]) == 1
    said = capsys.readouterr().err
    assert f"{second}.zarr" in said
    assert "cannot be read" in said
    assert not (tmp_path / "qc").exists()
    kept = list((tmp_path / "qc.partial").rglob("*.parquet"))
    assert len(kept) == 1
    shard.write_bytes(content)
    assert cli.run(["qc", str(store), str(tmp_path / "qc")]) == 0
    made = {path.name: path.read_bytes() for path in (tmp_path / "qc").rglob("*") if path.is_file()}
    expected = {path.name: path.read_bytes() for path in checked.path.rglob("*") if path.is_file()}
    assert made == expected


def test_each_plate_has_a_picture_with_its_flagged_wells(planted, checked):
    table = checked.to_polars("fields")
    for (plate,), fields in table.partition_by("plate", as_dict=True).items():
        with Image.open(checked.path / f"figures/{plate}.png") as picture:
            assert min(picture.size) > 500
        assert (checked.path / f"figures/{plate}.svg").stat().st_size > 10_000
        with house_style():
            figure = draw_plate(str(plate), fields).figure
        assert len(figure.axes) == 6  # two channels, three measures
        (focus,) = [ax for ax in figure.axes if ax.get_title(loc="left") == "ER: focus"]
        (circles,) = [
            line for line in focus.lines if line.get_marker() == "o" and len(line.get_xdata())
        ]
        marked = set(zip(circles.get_ydata(), circles.get_xdata(), strict=True))
        wells = fields.filter(pl.col("blurred") & (pl.col("channel") == "ER"))["well"]
        assert marked == {well_place(name) for name in wells}
        (grid,) = [image.get_array() for image in focus.images]
        values = fields.filter(channel="ER").group_by("well").agg(pl.col("focus").mean())
        for name, value in values.iter_rows():
            assert grid[well_place(name)] == pytest.approx(value)


def test_a_store_without_bad_fields_has_a_condition_that_keeps_all(make_clean, tmp_path, capsys):
    out = qc(make_clean, tmp_path / "qc")
    assert out.where == "TRUE"
    assert "no field is left out" in capsys.readouterr().err


@pytest.fixture
def make_clean(tmp_path: Path, write_screen) -> Path:
    """A store of one plate of noise that is bright in its middle, so that no field is empty."""
    import tifffile

    raw = write_screen(wells=("A01", "A02", "B01", "B02"), sites=3)
    rng = np.random.default_rng(0)
    for path in raw.rglob("*.tiff"):
        light = np.full((150, 130), 50.0)
        light[40:90, 30:80] = rng.uniform(950, 1050, (50, 50))
        tifffile.imwrite(path, rng.poisson(light).astype(np.uint16))
    return phenomae.ingest(raw, tmp_path / "store").path
