"""The search box: its data beside scikit-learn, its script in the policy, and in a browser."""

import base64
import json
import re
import shutil
from hashlib import sha256
from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest
from sklearn.neighbors import NearestNeighbors

from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import read_map
from phenomae.reporting import search
from phenomae.reporting.report import ReportSettings, report
from phenomae.wells import write_wells

ROWS, WIDTH = 30, 5


@pytest.fixture(scope="module")
def genes(tmp_path_factory) -> Path:
    """A map of 30 rows with points; the name of one would end a script."""
    folder = tmp_path_factory.mktemp("genes")
    names = [f"GENE{row:02d}" for row in range(ROWS - 1)] + ["</script><b>"]
    values = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
    columns = [f"x{column}" for column in range(WIDTH)]
    table = pl.DataFrame(
        {
            "plate": ["P1"] * ROWS,
            "well": [f"{'AB'[row // 24]}{row % 24 + 1:02d}" for row in range(ROWS)],
            "gene": names,
            "control": [False] * ROWS,
        }
    )
    features = pl.from_numpy(values, schema=columns, orient="row")
    write_wells(folder / "wells", pl.concat([table, features], how="horizontal"), columns)
    map_wells(folder / "wells", folder / "made.h5ad", settings=MapSettings(through="wells"))
    made = anndata.read_h5ad(folder / "made.h5ad")
    made.obsm["X_umap"] = np.random.default_rng(1).normal(size=(ROWS, 2)).astype(np.float32)
    made.write_h5ad(folder / "map.h5ad")
    return folder / "map.h5ad"


@pytest.fixture(scope="module")
def out(genes, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("search") / "out"
    report(folder, settings=ReportSettings(map=genes))
    return folder


@pytest.fixture(scope="module")
def source(out) -> str:
    return (out / "report.html").read_text()


def data_of(source: str) -> dict:
    return json.loads(source.partition('id="search-data">')[2].partition("</script>")[0])


def decode(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=kind)


def test_the_nearest_names_are_those_of_scikit_learn(genes, source):
    found, profiles = data_of(source), read_map(genes)
    assert found["names"] == profiles.names
    judge = NearestNeighbors(n_neighbors=10, metric="cosine").fit(profiles.features)
    distances, nearest = judge.kneighbors()
    shown = decode(found["nearest"], "<u2").reshape(ROWS, 10)
    np.testing.assert_array_equal(shown, nearest)
    cosines = decode(found["cosines"], "i1").reshape(ROWS, 10) / 100
    np.testing.assert_allclose(cosines, 1 - distances, atol=0.0051)


def test_points_are_those_of_the_layout(genes, source):
    places = decode(data_of(source)["points"], "<u2").reshape(ROWS, 2) / 65535
    layout = read_map(genes).layout
    assert layout is not None
    # The same scale in both directions, and y from the top.
    scale = np.ptp(layout, axis=0).max()
    for axis, sign in enumerate((1, -1)):
        steps = sign * (layout[:, axis] - layout[0, axis]) / scale
        np.testing.assert_allclose(places[:, axis] - places[0, axis], steps, atol=1e-4)


def test_the_policy_allows_this_script_alone(source):
    scripts = re.findall(r"<script>(.*?)</script>", source, flags=re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(sha256(scripts[0].encode()).digest()).decode()
    policy = re.findall(r'Content-Security-Policy" content="(.*?)"', source)[0]
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'"
    )


def test_a_page_can_be_without_script(genes, out, tmp_path, make_page):
    page = make_page(tmp_path / "out", map=genes, search=False)
    assert "<script" not in page.source
    assert "script-src" not in page.source
    assert "search" not in page.ids
    with pytest.raises(ValueError, match="another setting: search = None, now False"):
        report(out, settings=ReportSettings(map=genes, search=False))


def test_larger_maps_and_pages_without_map_have_no_box(
    genes, screen, tmp_path, make_page, monkeypatch
):
    assert "<script" not in make_page(tmp_path / "run", run=screen.run).source
    monkeypatch.setattr(search, "MAX_ROWS", ROWS - 1)
    assert "<script" not in make_page(tmp_path / "large", map=genes).source


def test_a_map_of_two_rows_has_one_neighbour(tmp_path, make_page):
    table = pl.DataFrame(
        {"plate": "P", "well": ["A01", "A02"], "gene": ["one", "two"], "control": False}
    ).with_columns(x=pl.Series([1.0, 2.0]), y=pl.Series([2.0, 1.0]))
    write_wells(tmp_path / "wells", table, ["x", "y"])
    map_wells(tmp_path / "wells", tmp_path / "map.h5ad", settings=MapSettings(through="wells"))
    source = make_page(tmp_path / "out", map=tmp_path / "map.h5ad").source
    assert decode(data_of(source)["nearest"], "<u2").tolist() == [1, 0]
    assert decode(data_of(source)["cosines"], "i1").tolist() == [80, 80]
    assert data_of(source)["points"] == ""


def test_a_browser_finds_names(genes, out):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    nearest = decode(data_of((out / "report.html").read_text())["nearest"], "<u2")
    names = read_map(genes).names
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto((out / "report.html").as_uri())
        page.fill("#search-box", "gene2")
        offered = page.inner_text("#search-matches").split()
        assert offered == [name for name in names if name.startswith("GENE2")]
        page.press("#search-box", "Enter")
        listed = [
            line.split()[0] for line in page.inner_text("#search-found ol").splitlines() if line
        ]
        row = names.index("GENE20")
        assert listed == [names[each] for each in nearest[10 * row : 10 * row + 10]]
        assert page.is_visible("#search-layout")
        page.click("#search-found button")
        assert page.input_value("#search-box") == listed[0]
        page.fill("#search-box", "no gene")
        assert page.inner_text("#search-matches") == "The map has no such name."
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        assert told == []
        browser.close()
