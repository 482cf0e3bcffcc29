"""The command `map`: which wells it averages how, what it writes, when it refuses."""

import json
from pathlib import Path

import anndata
import h5py
import numpy as np
import polars as pl
import pytest

from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import Map, read_map
from phenomae.wells import read_wells, write_wells

# Two guides of TP53 with two wells and one; one guide of PLK1; a control; a well without a gene.
TABLE = pl.DataFrame(
    {
        "plate": ["P2", "P1", "P1", "P1", "P1", "P2"],
        "well": ["A01", "A02", "A03", "A04", "A05", "A06"],
        "batch": ["two", "one", "one", "one", "one", "two"],
        "gene": ["TP53", "TP53", "TP53", "PLK1", "NTC", None],
        "guide": ["g1", "g1", "g2", "g3", "n1", None],
        "compound": [None, "dmso", "taxol", "taxol", None, None],
        "control": [False, False, False, False, True, False],
        "x": [1.0, 2.0, 6.0, 10.0, 100.0, 50.0],
        "y": [0.0, 1.0, -1.0, 2.5, 7.0, 9.0],
    }
)


@pytest.fixture
def wells(tmp_path: Path) -> Path:
    write_wells(tmp_path / "wells", TABLE, ["x", "y"])
    return tmp_path / "wells"


def written(wells: Path, **settings) -> dict[str, list[float]]:
    path = wells.with_name("map.h5ad")
    map_wells(wells, path, settings=MapSettings(**settings), overwrite=True)
    table = anndata.read_h5ad(path)
    return dict(zip(table.obs_names, np.asarray(table.X).tolist(), strict=True))


def test_genes_through_guides_is_the_default(wells):
    assert written(wells) == {"PLK1": [10, 2.5], "TP53": [(1.5 + 6) / 2, (0.5 - 1) / 2]}
    assert written(wells, through="guides") == written(wells)


def test_genes_through_wells(wells):
    assert written(wells, through="wells") == {"PLK1": [10, 2.5], "TP53": [3, 0]}


def test_compounds_and_perturbations_go_through_wells(wells):
    assert written(wells, by="compound") == {"dmso": [2, 1], "taxol": [8, 0.75]}
    assert written(wells, by="perturbation") == {"g1": [1.5, 0.5], "g2": [6, -1], "g3": [10, 2.5]}


def test_controls_are_kept_where_asked_for(wells):
    assert written(wells, controls=True)["NTC"] == [100, 7]
    assert written(wells, by="compound", controls=True)["control"] == [100, 7]


def test_counts_and_signature_of_the_file(wells, capsys):
    written(wells, controls=True)
    assert "wells without a gene, left out of the map: 1" in capsys.readouterr().err
    table = anndata.read_h5ad(wells.with_name("map.h5ad"))
    assert np.asarray(table.X).dtype == np.float32
    assert table.var_names.to_list() == ["x", "y"]
    counts = table.obs.to_dict("index")
    assert counts["TP53"] == {"wells": 3, "guides": 2, "batches": 2, "control": False}
    assert counts["NTC"] == {"wells": 1, "guides": 1, "batches": 1, "control": True}
    signature = json.loads(table.uns["phenomae"])
    assert signature["sources"] == {"wells": read_wells(wells).identity}
    read = read_map(wells.with_name("map.h5ad"))
    assert read.names == ["NTC", "PLK1", "TP53"]
    assert read.identity == signature["identity"]
    assert read.obs["wells"].to_list() == [1, 1, 3]


def test_the_same_map_is_the_same_bytes_and_made_once(wells, tmp_path, capsys):
    one, two = tmp_path / "one.h5ad", tmp_path / "deep" / "two.h5ad"
    map_wells(wells, one)
    map_wells(wells, two)
    assert one.read_bytes() == two.read_bytes()
    map_wells(wells, one)
    assert "already there" in capsys.readouterr().err
    with pytest.raises(ValueError, match="another setting: by = 'gene', now 'compound'"):
        map_wells(wells, one, settings=MapSettings(by="compound"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "one.h5ad", "wells"]


def test_a_map_made_elsewhere_is_read_but_not_replaced(wells, tmp_path):
    path = tmp_path / "foreign.h5ad"
    anndata.AnnData(np.eye(2), obs={"obs_names": ["A", "B"]}).write_h5ad(path)
    assert read_map(path).names == ["A", "B"]
    assert len(read_map(path).identity) == 32
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="was not made by phenomae"):
            map_wells(wells, path, overwrite=overwrite)
    assert read_map(path).names == ["A", "B"]


@pytest.mark.parametrize(
    ("change", "settings", "sentence"),
    [
        ({"guide": pl.lit(None)}, {}, "the wells name no guides: map through wells"),
        (
            {"guide": pl.col("guide").replace("g2", None)},
            {},
            "1 well without a guide, first TP53 on plate P1, well A03",
        ),
        (
            {"compound": pl.lit(None)},
            {"by": "compound"},
            r"has no well with a compound .*by gene or guide",
        ),
        ({"control": pl.lit(True)}, {}, r"has no well with a gene .*the wells have no labels"),
        ({"y": pl.lit(float("nan"))}, {}, "NaN, empty or infinite: wells P1 A02"),
    ],
)
def test_wells_that_will_not_do(tmp_path, change, settings, sentence):
    write_wells(tmp_path / "wells", TABLE.with_columns(**change), ["x", "y"], max_missing=None)
    with pytest.raises(ValueError, match=sentence):
        map_wells(tmp_path / "wells", tmp_path / "map.h5ad", settings=MapSettings(**settings))
    assert [path.name for path in tmp_path.iterdir()] == ["wells"]


def test_a_map_is_named_h5ad(wells, tmp_path):
    with pytest.raises(ValueError, match=r"ends with \.h5ad"):
        map_wells(wells, tmp_path / "map.csv")


def test_files_that_are_no_map(tmp_path):
    import h5py

    with pytest.raises(ValueError, match="there is no file of that name"):
        read_map(tmp_path / "absent.h5ad")
    (tmp_path / "text.h5ad").write_text("gene,x\nTP53,1\n")
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["image"] = np.eye(3)
    for name in ("text.h5ad", "other.h5ad"):
        with pytest.raises(ValueError, match=r"is not a readable \.h5ad file"):
            read_map(tmp_path / name)
    anndata.AnnData(obs={"obs_names": ["A"]}).write_h5ad(tmp_path / "bare.h5ad")
    with pytest.raises(ValueError, match="has no X"):
        read_map(tmp_path / "bare.h5ad")


def test_a_map_of_another_format(tmp_path):
    path = tmp_path / "other.h5ad"
    sentences = {
        0: "other.h5ad is damaged: what is recorded of its origin and files has changed",
        99: "other.h5ad has format 99, of phenomae 9.0, .* reads formats up to 2: install a newer",
    }
    for number, sentence in sentences.items():
        record = json.dumps({"format": number, "kind": "map", "version": "9.0"})
        anndata.AnnData(np.eye(2), uns={"phenomae": record}).write_h5ad(path)
        with pytest.raises(ValueError, match=sentence):
            read_map(path)


@pytest.mark.parametrize(
    ("sql", "oracle"),
    [
        ("plate != 'P2'", pl.col("plate") != "P2"),
        ("guide IN ('g1', 'g3')", pl.col("guide").is_in(["g1", "g3"])),
        (
            "compound IS NULL OR batch = 'one'",
            pl.col("compound").is_null() | (pl.col("batch") == "one"),
        ),
    ],
)
def test_where_leaves_the_wells_that_polars_filters(wells, tmp_path, capsys, sql, oracle):
    kept = TABLE.filter(oracle)
    write_wells(tmp_path / "kept", kept, ["x", "y"])
    assert written(wells, where=sql, through="wells") == written(tmp_path / "kept", through="wells")
    assert f"{6 - len(kept)} of 6 wells are left out by where" in capsys.readouterr().err


def test_a_broken_well_may_be_left_out_by_where(tmp_path):
    broken = TABLE.with_columns(x=pl.when(pl.col("plate") == "P2").then(np.nan).otherwise("x"))
    write_wells(tmp_path / "wells", broken, ["x", "y"], max_missing=None)
    with pytest.raises(ValueError, match="NaN"):
        written(tmp_path / "wells")
    assert "TP53" in written(tmp_path / "wells", where="plate = 'P1'")


def test_where_is_part_of_the_work_and_says_what_does_not_do(wells):
    path = wells.with_name("map.h5ad")
    map_wells(wells, path, settings=MapSettings(where="sites > 0 OR plate = 'P1'"))
    with pytest.raises(ValueError, match="another setting: where = "):
        map_wells(wells, path)
    for sql, sentence in (
        ("dose > 1", "has no column 'dose'; it has plate, well, sites, batch"),
        ("plate = 'P9'", "matches no row of"),
        ("plate", "gives String, not true or false"),
        ("plate >", "cannot be used for"),
    ):
        with pytest.raises(ValueError, match=sentence):
            written(wells, where=sql)


def test_the_map_that_is_returned_can_be_opened(wells, tmp_path):
    made = map_wells(str(wells), str(tmp_path / "map.h5ad"))
    again = map_wells(wells, tmp_path / "map.h5ad")
    assert again == made
    held = anndata.read_h5ad(made.path)
    assert repr(made) == f"Map('{tmp_path}/map.h5ad', {held.n_obs} rows, {held.n_vars} features)"
    assert repr(Map(tmp_path / "absent.h5ad")) == f"Map('{tmp_path}/absent.h5ad')"
    table = made.to_polars()
    assert table["name"].to_list() == held.obs_names.to_list()
    assert table["wells"].to_list() == held.obs["wells"].to_list()
    np.testing.assert_array_equal(table.select("x", "y").to_numpy(), held.X)
    assert made.to_pandas()["name"].to_list() == held.obs_names.to_list()
    assert made.to_anndata().obs_names.equals(held.obs_names)


def test_a_map_that_recorded_min_wells_under_its_old_name_is_the_same_work(wells, tmp_path, capsys):
    path = tmp_path / "map.h5ad"
    map_wells(wells, path, settings=MapSettings(min_wells=2))
    with h5py.File(path, "r+") as file:
        record = json.loads(file["uns/phenomae"].asstr()[()])
        # As of version 0.1, which recorded neither checksums nor itself.
        kept = {key: record[key] for key in ("kind", "settings", "sources", "identity")}
        kept["settings"]["least_wells"] = kept["settings"].pop("min_wells")
        file["uns/phenomae"][()] = json.dumps({"format": 1, **kept})
    map_wells(wells, path, settings=MapSettings(min_wells=2))
    assert "map.h5ad is already there, made by phenomae" in capsys.readouterr().err
    with pytest.raises(ValueError, match="another setting: min_wells = 2, now 1"):
        map_wells(wells, path)
