"""Rows of the map that are kept for their phenotype, or for their number of wells."""

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import read_map
from phenomae.wells import read_wells


def made(wells: Path, **settings) -> anndata.AnnData:
    path = wells.with_name("map.h5ad")
    map_wells(wells, path, settings=MapSettings(**settings), overwrite=True)
    return anndata.read_h5ad(path)


def brute_force(wells: Path) -> dict[str, float]:
    """Return the mean cosine over the pairs of each gene's wells, pair by pair."""
    screen = read_wells(wells)
    genes = screen.table["gene"].to_numpy()
    means = {}
    for gene in np.unique(genes):
        cosines = cosine_similarity(screen.features[genes == gene].astype(np.float64))
        pairs = cosines[np.triu_indices(len(cosines), k=1)]
        means[str(gene)] = pairs.mean() if len(pairs) else np.nan
    return means


def test_rows_without_a_phenotype_are_left_out(make_screen, capsys):
    wells = make_screen()
    table = made(wells, phenotype=0.05)
    assert "strong" in table.obs_names
    assert "weak" in table.obs_names
    assert "lone" not in table.obs_names
    assert (table.obs["consistency_p"] <= 0.05).all()
    wanted = brute_force(wells)
    found = table.obs["consistency"].to_dict()
    assert found == pytest.approx({name: wanted[name] for name in found}, abs=1e-6)
    err = capsys.readouterr().err
    assert f"{len(table)} of 7 rows are kept by phenotype 0.05; 1 have fewer than 2" in err
    # What is kept is as it is on a map of all rows.
    whole = made(wells)
    np.testing.assert_array_equal(table.X, whole[table.obs_names].X)
    assert list(whole.obs) == ["wells", "guides", "batches", "control"]


def test_a_phenotype_of_1_keeps_all_rows_and_tells_of_each(make_screen):
    wells = make_screen()
    table = made(wells, phenotype=1.0, controls=True)
    wanted = brute_force(wells)
    assert table.obs_names.to_list() == sorted(wanted)
    assert table.obs["consistency"].to_dict() == pytest.approx(wanted, abs=1e-6, nan_ok=True)
    without = table.obs.index[table.obs["consistency_p"].isna()].to_list()
    assert without == ["NTC", "lone"]
    smallest = table.obs["consistency_p"].min()
    assert smallest == pytest.approx(1 / 1001, rel=0.01)  # a group that is drawn twice counts once
    assert table.obs.loc["strong", "consistency_p"] == smallest
    read = read_map(wells.with_name("map.h5ad"))
    assert read.obs["consistency_p"].dtype == pl.Float64
    filtered = made(wells, phenotype=0.05, controls=True)
    assert "NTC" in filtered.obs_names


def test_controls_need_not_be_on_the_map_and_the_seed_decides_the_draw(make_screen):
    wells = make_screen()
    tables = [made(wells, phenotype=1.0, draws=50, seed=seed).obs for seed in (3, 3, 4)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0]["consistency_p"].equals(tables[2]["consistency_p"])


def test_unexpressed_genes_instead_of_controls(make_screen, tmp_path, capsys):
    wells = make_screen(control=pl.lit(False))
    (tmp_path / "genes.txt").write_text("none0\nnone1\n\nnone2 \nabsent\nnone3\nlone\n")
    asked = {"through": "wells", "unexpressed": tmp_path / "genes.txt"}
    table = made(wells, phenotype=1.0, **asked)
    assert "compared with 4 rows of unexpressed genes" in capsys.readouterr().err
    wanted = brute_force(wells)
    null = np.array([wanted[f"none{index}"] for index in range(4)])
    for name in ("strong", "weak", "none2", "NTC"):
        higher = (null >= wanted[name] - 1e-9).sum()
        assert table.obs.loc[name, "consistency_p"] == pytest.approx((higher + 1) / 5)
    assert set(made(wells, phenotype=0.2, **asked).obs_names) >= {"strong", "weak"}
    # The names are part of the work, where they are written is not.
    signature = json.loads(table.uns["phenomae"])
    assert "unexpressed" not in signature["settings"]
    assert "unexpressed" in signature["sources"]
    (tmp_path / "moved.txt").write_text("none3\nnone2\nnone1\nnone0\nlone\nabsent\n")
    path = wells.with_name("map.h5ad")
    map_wells(wells, path, settings=MapSettings(phenotype=0.2, **asked), overwrite=True)
    moved = {**asked, "unexpressed": tmp_path / "moved.txt"}
    map_wells(wells, path, settings=MapSettings(phenotype=0.2, **moved))
    (tmp_path / "moved.txt").write_text("none3\n")
    with pytest.raises(ValueError, match="made with another source: unexpressed"):
        map_wells(wells, path, settings=MapSettings(phenotype=0.2, **moved))


def test_wells_that_controls_cannot_match_are_told(make_screen, capsys):
    asked = {"phenotype": 1.0, "draws": 99, "where": "gene != 'NTC' OR control"}
    made(make_screen(control=pl.col("well").is_in(["A19", "A20"])), **asked)
    assert "rows have more wells on a plate" not in capsys.readouterr().err
    made(make_screen("few", control=pl.col("well") == "A20"), **asked)
    assert "6 rows have more wells on a plate, or wells on more plates" in capsys.readouterr().err


def test_rows_of_few_wells_are_left_out(make_screen, capsys):
    wells = make_screen()
    assert "lone" in made(wells, min_wells=1).obs_names
    table = made(wells, min_wells=2)
    assert "lone" not in table.obs_names
    assert len(table) == 6
    assert "rows of fewer than 2 wells, left out of the map: 1" in capsys.readouterr().err
    assert made(wells, min_wells=9, controls=True).obs_names.to_list() == ["NTC"]


def test_a_map_of_one_gene(make_screen):
    table = made(make_screen(), where="control OR gene = 'strong'", phenotype=0.05)
    assert table.obs_names.to_list() == ["strong"]
    assert table.obs["consistency_p"].to_list() == pytest.approx([1 / 1001], rel=0.01)


def test_the_same_work_is_the_same_bytes(make_screen, tmp_path, capsys):
    wells, settings = make_screen(), MapSettings(phenotype=0.5, min_wells=2)
    for name in ("one.h5ad", "two.h5ad", "one.h5ad"):
        map_wells(wells, tmp_path / name, settings=settings)
    assert (tmp_path / "one.h5ad").read_bytes() == (tmp_path / "two.h5ad").read_bytes()
    assert "already there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"phenotype": 0.0}, "phenotype must be a p-value above 0 and at most 1, not 0.0"),
        ({"phenotype": 1.5}, "phenotype must be a p-value above 0 and at most 1, not 1.5"),
        ({"phenotype": float("nan")}, "phenotype must be a p-value above 0 and at most 1, not nan"),
        (
            {"phenotype": 0.01, "draws": 50},
            "that 50 draws can give, 1/51: raise draws",
        ),
        ({"draws": 0}, "draws must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"min_wells": 0}, "min_wells must be at least 1, not 0"),
        ({"min_wells": 9}, "min_wells 9 leaves no row of .*: no gene has more than 8 wells"),
        ({"unexpressed": Path("genes.txt")}, "unexpressed is only used with phenotype: give both"),
        (
            {"phenotype": 0.05, "unexpressed": Path("absent.txt")},
            "unexpressed absent.txt is not a readable text file: expected one gene per line",
        ),
        (
            {"phenotype": 0.05, "where": "gene LIKE 'none%' OR control"},
            "phenotype 0.05 leaves no row of .*: the smallest p-value is 0.[0-9]+; raise or",
        ),
        (
            {"phenotype": 0.05, "where": "gene = 'lone' OR control"},
            "phenotype 0.05 leaves no row of .*: no row has the 2 wells that a p-value needs",
        ),
        (
            {"phenotype": 0.05, "where": "NOT control"},
            "phenotype needs control wells, but .* has 0: set `control` to true for 2",
        ),
        (
            {"phenotype": 0.05, "where": "NOT control OR (plate = 'P2' AND well = 'A20')"},
            "phenotype needs control wells, but .* has 1: set `control` to true for 2",
        ),
    ],
)
def test_settings_that_will_not_do(make_screen, tmp_path, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        made(make_screen(), **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["screen"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\n \n", "holds no name: expected one gene per line"),
        ("absent\nlone\n", "names no row of the map that has 2 wells or more; the map has"),
    ],
)
def test_lists_of_genes_that_will_not_do(make_screen, tmp_path, text, sentence):
    (tmp_path / "genes.txt").write_text(text)
    with pytest.raises(ValueError, match=f"unexpressed .*genes.txt.* {sentence}"):
        made(make_screen(), phenotype=0.05, unexpressed=tmp_path / "genes.txt")


def test_wells_without_a_cosine_are_named(make_screen):
    zero = pl.col("well").is_in(["A01", "A20"])
    columns = {
        f"feature_{n:04d}": pl.when(zero).then(0.0).otherwise(f"feature_{n:04d}") for n in range(5)
    }
    wells = make_screen(**columns)
    with pytest.raises(
        ValueError, match=r"has 8 wells with a profile that is .* all 0 .* P1, well A01"
    ):
        made(wells, phenotype=0.05)
    assert len(made(wells)) == 7
    kept = made(wells, phenotype=0.05, where="well NOT IN ('A01', 'A20')")
    assert "strong" in kept.obs_names
