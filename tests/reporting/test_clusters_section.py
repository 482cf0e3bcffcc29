"""Clusters on the page: the tables of `clusters`, and the layout coloured by them."""

import re
import shutil
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("igraph")
pytest.importorskip("umap")

from phenomae import ClustersSettings, clusters, read_map
from phenomae.reporting.report import ReportSettings, report


@pytest.fixture(scope="module")
def found(imaged, placed, tmp_path_factory) -> Path:
    """Clusters of the map, and the known sets in them."""
    out = tmp_path_factory.mktemp("clusters") / "clusters"
    settings = ClustersSettings(
        n_neighbors=4, seeds=3, annotations=imaged.annotations, min_genes=2, shuffles=5
    )
    clusters(placed, out, settings=settings)
    return out


def rows_of(page) -> list[list[str]]:
    """Return the cells of the table of clusters."""
    part = page.source.partition('<section id="clusters">')[2].partition("</section>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", part.partition("<tbody>")[2], flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]
    return [[" ".join(cell.replace("<wbr>", "").split()) for cell in row] for row in cells]


def test_the_table_is_that_of_clusters(found, placed, tmp_path, make_page):
    page = make_page(tmp_path / "out", map=placed, clusters=found)
    sizes, best = pl.read_csv(found / "sizes.csv"), pl.read_csv(found / "enrichment.csv")
    rows = rows_of(page)
    assert len(rows) == len(sizes) > 1
    for row, shown in zip(sizes.rows(named=True), rows, strict=True):
        members = row["members"].split(" | ")
        listed = " ".join(members[:8]) + (" …" if len(members) > 8 else "")
        jaccard = f"{row['jaccard']:.3f}"
        assert shown[:4] == [str(row["cluster"]), str(row["names"]), jaccard, listed]
        sure = best.filter(pl.col("cluster") == row["cluster"], pl.col("fdr") <= 0.05)
        if sure.is_empty():
            assert shown[4] == ""
        else:
            first = sure.sort("p", maintain_order=True).row(0, named=True)
            words = f"{first['source']}: {first['set']} ({first['overlap']} of {first['in_set']}, "
            assert shown[4].startswith(words)


def test_the_numbers_beside_chance_are_those_of_clusters(found, placed, tmp_path, make_page):
    words = make_page(tmp_path / "out", map=placed, clusters=found).text
    own, *normal = pl.read_csv(found / "structure.csv")["modularity"]
    assert len(normal) == 5
    beside = f"Modularity {own:.3f}; of maps without clusters but with the same covariance up to "
    verdict = "" if own > max(normal) else ": these clusters need not be groups"
    assert f"{beside}{max(normal):.3f} (5 maps){verdict}." in words
    [row] = pl.read_csv(found / "chance.csv").rows(named=True)
    assert f"a known set: {row['enriched']} of {row['clusters']}; of random" in words
    assert f"sizes {row['shuffled']:.2g} (mean of 5, p " in words


def test_the_layout_is_coloured_by_cluster(found, placed, tmp_path, make_page):
    page = make_page(tmp_path / "out", map=placed, clusters=found)
    listed = pl.read_csv(tmp_path / "out" / "figures" / "layout.csv")
    named = pl.read_csv(found / "clusters.csv")
    both = listed.join(named, on="name", suffix="_of_table", validate="1:1")
    assert len(both) == 12
    assert both["cluster"].to_list() == both["cluster_of_table"].to_list()
    count = named["cluster"].n_unique()
    alt = [image["alt"] for image in page.images if image["alt"].startswith("Layout")]
    assert alt == [
        f"Layout of the 12 rows of the map as points, coloured by clusters ({count} groups)."
    ]


def test_clusters_without_known_sets_have_no_such_column(placed, tmp_path, make_page):
    clusters(placed, tmp_path / "plain", settings=ClustersSettings(n_neighbors=4, seeds=2))
    page = make_page(tmp_path / "out", map=placed, clusters=tmp_path / "plain")
    assert {len(row) for row in rows_of(page)} == {4}


def test_clusters_that_will_not_do(found, imaged, screen, tmp_path):
    def refuse(sentence: str, **given) -> None:
        with pytest.raises(ValueError, match=sentence):
            report(tmp_path / "out", settings=ReportSettings(**given))
        assert not list(tmp_path.glob("out*"))

    refuse("has clusters of another map", map=screen.map, clusters=found)
    refuse("clusters goes with a map", clusters=found)
    refuse("holds wells, not clusters", map=imaged.map, clusters=imaged.corrected)
    copy = shutil.copytree(found, tmp_path / "copy")
    (copy / "sizes.csv").write_text("cluster\n")
    refuse(r"is damaged: sizes\.csv has changed since", map=imaged.map, clusters=copy)


def test_another_clustering_is_another_page(found, placed, tmp_path):
    report(tmp_path / "out", settings=ReportSettings(map=placed, clusters=found))
    with pytest.raises(ValueError, match="another source: clusters = "):
        report(tmp_path / "out", settings=ReportSettings(map=placed))


def test_clusters_of_a_copy_of_the_map_are_taken(found, placed, imaged):
    # The identity of a map does not depend on its layout.
    assert read_map(placed).identity == read_map(imaged.map).identity
