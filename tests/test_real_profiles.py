"""Real profiles through correct, map and benchmark, against the public benchmark's own numbers."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.clusters.clusters import ClustersSettings, clusters
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.map import MapSettings, map_wells
from phenomae.wells import write_wells


@pytest.fixture(scope="module")
def mitocheck(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Mitocheck validation screen as a wells folder: gene wells, controls, seven scores."""
    profiles = "data/profiles/mitocheck_idr0013_screenB/mitocheck_screenB_wells.parquet"
    table = pl.read_parquet(shared / profiles).select(
        pl.col("^score_.*$"),
        plate="Metadata_Plate",
        well="Metadata_Well",
        gene="Metadata_GeneSymbol",
        guide="Metadata_siRNA",
        role="Metadata_Role",
        control=pl.col("Metadata_Role") == "negative_control",
    )
    table = table.filter(pl.col("role").is_in(["gene", "negative_control"]))
    scores = [name for name in table.columns if name.startswith("score_")]
    folder = tmp_path_factory.mktemp("mitocheck") / "wells"
    write_wells(folder, table, scores)
    return folder


@pytest.mark.parametrize(
    ("method", "batch", "corum", "stringdb"),
    [
        ("center-scale", None, 0.355, 0.266),
        ("center-scale", "plate", 0.431, 0.308),
        ("tvn(components=all)", None, 0.267, 0.207),
        ("tvn(components=all)", "plate", 0.303, 0.240),
    ],
)
def test_mitocheck(shared: Path, mitocheck: Path, tmp_path, method, batch, corum, stringdb):
    correct(mitocheck, tmp_path / "corrected", settings=CorrectSettings(method, batch))
    map_wells(tmp_path / "corrected", tmp_path / "map.h5ad", settings=MapSettings(through="wells"))
    benchmark(
        tmp_path / "map.h5ad",
        tmp_path / "results",
        settings=BenchmarkSettings(shared / "data/annotations", shuffle=200),
    )
    recall = pl.read_csv(tmp_path / "results/recall.csv")
    rows = {row["source"]: row for row in recall.iter_rows(named=True)}
    assert rows["CORUM"]["n_pairs"] == 501
    assert rows["StringDB"]["n_pairs"] == 646
    assert rows["CORUM"]["recall"] == pytest.approx(corum, abs=0.001)
    assert rows["StringDB"]["recall"] == pytest.approx(stringdb, abs=0.001)
    shuffled = pl.read_csv(tmp_path / "results/shuffled.csv")
    assert shuffled["mean"].to_list() == pytest.approx([0.1] * len(shuffled), abs=0.01)


def test_golden_recall_through_the_three_commands(golden_case: Callable[[str], Path], tmp_path):
    """The float32 of the files in between does not move a single pair."""
    golden = pl.read_parquet(golden_case("map") / "wells.parquet")
    places = [divmod(row, 99) for row in range(len(golden))]
    table = golden.with_columns(
        plate="batch",
        well=pl.Series(
            [f"{'AB'[row // 26]}{chr(65 + row % 26)}{col + 1:02d}" for row, col in places]
        ),
        control=pl.col("gene") == "NTC",
    )
    names = [f"feature_{index}" for index in range(24)]
    write_wells(tmp_path / "wells", table, names)
    expected = pl.read_csv(golden_case("map") / "expected_recall.csv")
    for variant, settings in {
        "centerscale_by_batch": CorrectSettings("center-scale", "batch"),
        "tvn": CorrectSettings("tvn(components=all)"),
        "tvn_coral": CorrectSettings("tvn(components=all)", "batch"),
    }.items():
        correct(tmp_path / "wells", tmp_path / variant, settings=settings)
        map_path = tmp_path / f"{variant}.h5ad"
        map_wells(tmp_path / variant, map_path, settings=MapSettings(through="wells"))
        asked = BenchmarkSettings(
            golden_case("map") / "annotations", low=(0.05, 0.1, 0.01), high=(0.95, 0.9, 0.99)
        )
        benchmark(map_path, tmp_path / f"{variant}_results", settings=asked)
        found = pl.read_csv(tmp_path / f"{variant}_results/recall.csv")
        wanted = expected.filter(pl.col("variant") == variant)
        for row in found.iter_rows(named=True):
            column = f"recall_{row['low']}_{row['high']}"
            golden_recall = wanted.filter(pl.col("source") == row["source"])[column].item()
            assert row["recall"] == pytest.approx(golden_recall, abs=1e-9)


def test_mitocheck_clusters(shared: Path, mitocheck: Path, tmp_path):
    """The numbers of docs/clusters.md."""
    corrected, genes = tmp_path / "corrected", tmp_path / "map.h5ad"
    correct(mitocheck, corrected, settings=CorrectSettings("center-scale", "plate"))
    map_wells(corrected, genes, settings=MapSettings(through="wells"))
    lists = shared / "data/annotations"
    settings = ClustersSettings(annotations=lists, complexes=lists / "CORUM_clusters.tsv")
    found = clusters(genes, tmp_path / "clusters", settings=settings)
    own, *normal = found.to_polars("structure")["modularity"]
    assert own == pytest.approx(0.710, abs=0.001)
    assert (min(normal), max(normal)) == pytest.approx((0.642, 0.653), abs=0.001)
    assert (found.to_polars("sizes")["jaccard"] >= 0.75).sum() == 6
    assert found.to_polars("agreement")["adjusted_rand"].mean() == pytest.approx(0.68, abs=0.005)
    best = found.to_polars("enrichment").row(0, named=True)
    assert (best["set"], best["overlap"], best["in_set"]) == ("Spliceosome", 18, 28)
    assert best["expected"] == pytest.approx(4.5, abs=0.05)
    (chance,) = found.to_polars("chance").rows(named=True)
    assert (chance["tests"], chance["enriched"], chance["clusters"]) == (1587, 1, 11)
