"""A static site: its numbers against scikit-learn and the store, and in a browser."""

import base64
import csv
import hashlib
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.embedding.features import FeaturesSettings, features
from phenomae.evaluation.neighbors.neighbors import NeighborsSettings, neighbors
from phenomae.explorer import site_data
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.static_site import SIDE, export_site
from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import read_map
from phenomae.store.colors import choose_colors
from phenomae.store.read import open_store, read_field


@pytest.fixture(scope="module")
def site(inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with few rows and pairs in a file, so that it has several."""
    folder = tmp_path_factory.mktemp("served") / "sub folder" / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_data, "ROWS", 5)
        patch.setattr(site_data, "PAIRS", 4)
        export_site(inputs, folder)
    return folder


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def rows_of(site: Path) -> list[dict]:
    """Return what is said of each name."""
    return [row for path in sorted(site.glob("data/rows-*.json")) for row in read(path)["rows"]]


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_are_named_by_numbers(site):
    expected = re.compile(
        r"artefact\.json|index\.html|site\.js|layout\.svg|data/(names|new|layout)\.json"
        r"|data/rows-\d{4}\.json"
        r"|data/pairs-\d{2}-\d{4}\.json|pictures/\d{3}/\d+\.jpg"
    )
    names = list(all_bytes(site))
    assert [name for name in names if not expected.fullmatch(name)] == []
    assert sum(name.startswith("data/rows") for name in names) == 3  # 12 names
    assert sum(name.startswith("data/pairs-00") for name in names) == 3  # 12 pairs


def test_no_path_of_this_machine_is_in_it(site, explored):
    place = str(explored.map.parent).encode()
    assert [name for name, content in all_bytes(site).items() if place in content] == []


def test_neighbors_are_those_of_all_names(site, explored):
    settings = NeighborsSettings(k=5, wells=explored.wells, annotations=explored.annotations)
    every = neighbors(explored.map, *read_map(explored.map).names, settings=settings)
    assert isinstance(every, pl.DataFrame)
    data, rows = read(site / "data/names.json"), rows_of(site)
    profiles = read_map(explored.map)
    assert data["names"] == profiles.names
    between = cosine_similarity(profiles.features)
    for row, name in enumerate(data["names"]):
        order = [each for each in np.argsort(-between[row]) if each != row]
        for side, wanted in (("nearest", order[:5]), ("farthest", order[::-1][:5])):
            found = rows[row][side]
            assert [values[0] for values in found] == wanted
            np.testing.assert_allclose(
                [values[1] for values in found], between[row, wanted], atol=1e-6
            )
            table = every.filter(name=name, side=side)
            for at, column in ((2, "p"), (3, "fdr")):
                shown = [values[at] for values in found]
                np.testing.assert_allclose(shown, table[column], rtol=1e-3)
            assert [values[4] for values in found] == table["known"].to_list()
        one = every.filter(name=name).row(0, named=True)
        for effect, values in data["effects"].items():
            assert values[row] == pytest.approx(one[effect], rel=1e-3)


def test_known_pairs_are_those_of_the_annotations(site, explored):
    data = read(site / "data/names.json")
    number = {name: row for row, name in enumerate(data["names"])}
    between = cosine_similarity(read_map(explored.map).features)
    every = np.array([between[pair] for pair in combinations(range(12), 2)])
    of_rows = rows_of(site)
    for source, (name, *counts) in enumerate(data["sources"]):
        with open(explored.annotations / f"{name}.csv", newline="") as file:
            listed = {
                tuple(sorted((number[line["entity1"]], number[line["entity2"]])))
                for line in csv.DictReader(file)
            }
        files = sorted(site.glob(f"data/pairs-{source:02d}-*.json"))
        shown = [pair for path in files for pair in read(path)["pairs"]]
        assert {(first, second) for first, second, *_ in shown} == listed
        cosines = [between[first, second] for first, second, *_ in shown]
        assert cosines == sorted(cosines, reverse=True)
        np.testing.assert_allclose([pair[2] for pair in shown], cosines, atol=1e-6)
        below = [(every < cosine - 1e-9).mean() for cosine in cosines]
        np.testing.assert_allclose([pair[3] for pair in shown], below, atol=1e-6)
        assert counts == [[pair[4] for pair in shown].count(result) for result in range(3)]
        for row, of_row in enumerate(of_rows):
            own = [pair for pair in of_row["pairs"] if pair[0] == source]
            others = [
                [second if first == row else first, *values]
                for first, second, *values in shown
                if row in (first, second)
            ]
            assert [values[1:] for values in own] == others


def test_the_layout_has_the_points_of_the_map(site, inputs):
    """Both axes have one scale, and y points upwards."""
    layout = read(site / "data/layout.json")
    shown = np.array(layout["points"])
    assert shown.min() >= 0
    assert (shown.max(axis=0) <= [layout["width"], layout["height"]]).all()
    points = inputs.layout.points
    for axis, sign in ((0, 1), (1, -1)):
        slope, start = np.polyfit(points[:, axis], shown[:, axis], 1)
        assert slope == pytest.approx(sign * 940 / np.ptp(points, axis=0).max(), rel=1e-2)
        np.testing.assert_allclose(slope * points[:, axis] + start, shown[:, axis], atol=1)
    root = ElementTree.fromstring((site / "layout.svg").read_bytes())
    assert root.attrib["viewBox"] == f"0 0 {layout['width']} {layout['height']}"
    [path] = [each for each in root.iter() if each.tag.endswith("path")]
    drawn = [list(map(int, pair)) for pair in re.findall(r"M(\d+) (\d+)h0", path.attrib["d"])]
    assert drawn == layout["points"]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_the_layout_marks_the_searched_name_and_leads_to_others(
    address, site, explored, visit, find_faults, width, dark
):
    page = visit(f"{address}?row=G006", width=width, dark=dark)
    page.get_by_role("region", name="Nearest to G006").wait_for()
    profiles, points = read_map(explored.map), read(site / "data/layout.json")["points"]
    between = cosine_similarity(profiles.features)
    row = profiles.names.index("G006")
    near = [each for each in np.argsort(-between[row]).tolist() if each != row][:5]
    marks = page.locator("#marks")
    places = marks.locator("circle").evaluate_all(
        "circles => circles.map(each => [each.cx.baseVal.value, each.cy.baseVal.value])"
    )
    assert places == [points[each] for each in [*near[::-1], row]]
    assert marks.locator("text").text_content() == "G006"
    assert find_faults(page) == []
    image = page.get_by_role("img", name="Layout of the rows of the map")
    assert image.evaluate("image => image.naturalWidth") > 0
    # A click on the point of another name searches for it.
    other = profiles.names.index("G011")
    scale = image.bounding_box()["width"] / 1000
    x, y = (scale * value for value in points[other])
    marks.click(position={"x": x, "y": y})
    page.get_by_role("region", name="Nearest to G011").wait_for()


def test_labels_lead_to_the_rows_of_their_wells(site, explored):
    data = read(site / "data/names.json")
    fields = open_store(explored.store).fields
    for gene, guide, plate, well in fields.select("gene", "guide", "plate", "well").iter_rows():
        for label in (guide, f"{plate}/{well}"):
            if gene in data["names"]:
                assert data["names"][data["labels"][label]] == gene
            else:
                assert label not in data["labels"]


def test_pictures_have_the_pixels_of_the_store(site, explored):
    """Through the contrast of the plate, up to what JPEG leaves of them."""
    store = open_store(explored.store)
    colors = [list(bytes.fromhex(color)) for color in choose_colors(store.channels)]
    data = read(site / "data/names.json")
    for name, row in zip(data["names"], rows_of(site), strict=True):
        assert len(row["pictures"]) == 2
        for at, (path, text) in enumerate(row["pictures"]):
            field = int(Path(path).stem)
            facts = store.fields.row(field, named=True)
            assert facts["control"] == bool(at)
            assert (facts["gene"] == name) == (not at)
            assert text == f"{facts['plate']} {facts['well']}, site {facts['site']}"
            pixels = read_field(store, field).astype(float)
            low, high = (np.array(facts[f"window_{end}"])[:, None, None] for end in ("low", "high"))
            levels = ((pixels - low) / (high - low)).clip(0, 1)
            wanted = np.einsum("chw,cr->hwr", levels, np.array(colors, float)).clip(0, 255)
            shown = np.asarray(Image.open(site / path)).astype(float)
            assert shown.shape == (64, 64, 3)
            assert np.abs(shown - wanted).mean() < 6
            assert np.corrcoef(shown.ravel(), wanted.ravel())[0, 1] > 0.99


def test_a_picture_is_the_center_of_a_larger_field(tmp_path, make_store, explored):
    rng = np.random.default_rng(0)
    low = rng.integers(100, 4000, (1, 10, 10)).repeat(40, axis=1).repeat(40, axis=2)
    pixels = {
        ("P1", well, 1): low.astype(np.uint16) for well in ("A01", "A02", "B02", "C02", "D02")
    }
    make_store(tmp_path / "store", pixels, ["DNA"])
    features(tmp_path / "store", tmp_path / "wells", settings=FeaturesSettings(kind="intensity"))
    by_gene = MapSettings(by="gene", through="wells")
    map_wells(tmp_path / "wells", tmp_path / "map.h5ad", settings=by_gene)
    inputs = Inputs.open(tmp_path / "map.h5ad", store=tmp_path / "store")
    export_site(inputs, tmp_path / "site")
    [path, *_] = sorted((tmp_path / "site").glob("pictures/*/*.jpg"))
    shown = np.asarray(Image.open(path)).astype(float)
    assert shown.shape == (SIDE, SIDE, 3)
    start = (400 - SIDE) // 2
    wanted = 255 * (low[0, start : start + SIDE, start : start + SIDE] - 100) / 3900
    blue = shown[:, :, 2]
    assert np.corrcoef(blue.ravel(), wanted.clip(0, 255).ravel())[0, 1] > 0.99


def test_the_same_inputs_give_the_same_bytes(inputs, tmp_path):
    for name in ("one", "two"):
        export_site(inputs, tmp_path / name)
    assert all_bytes(tmp_path / "one") == all_bytes(tmp_path / "two")


def test_a_site_is_made_once_and_replaced_if_asked(inputs, explored, tmp_path, capfd):
    out = tmp_path / "site"
    made = export_site(inputs, out)
    before = (out / "index.html").stat().st_mtime_ns
    assert made.path == out
    assert made.counts() == f"{len(all_bytes(out)) - 1} files"  # all but artefact.json
    capfd.readouterr()
    export_site(inputs, out)
    assert "already there" in capfd.readouterr().err
    assert (out / "index.html").stat().st_mtime_ns == before
    bare = Inputs.open(explored.map, k=5)
    with pytest.raises(ValueError, match="made with another source: annotations"):
        export_site(bare, out)
    export_site(bare, out, overwrite=True)
    assert not (out / "pictures").exists()
    assert "effects" in read(out / "data/names.json")


def test_a_map_alone_has_a_site(explored, tmp_path):
    export_site(Inputs.open(explored.map), tmp_path / "site")
    data = read(tmp_path / "site/data/names.json")
    assert (data["sources"], data["effects"], data["labels"]) == ([], {}, {})
    assert rows_of(tmp_path / "site")[0]["pictures"] == []
    between = cosine_similarity(read_map(explored.map).features)
    highest = max(between[pair] for pair in combinations(range(12), 2))
    assert read(tmp_path / "site/data/new.json")["pairs"][0][2] == pytest.approx(highest, abs=1e-6)


def test_an_export_that_stopped_goes_on(explored, tmp_path):
    """A field of the store that cannot be read stops it; the pictures before it are kept."""
    store, away, out = (tmp_path / name for name in ("store", "away", "site"))
    shutil.copytree(explored.store, store)
    inputs, whole = Inputs.open(explored.map, store=store), tmp_path / "whole"
    export_site(inputs, whole)
    pictures = sorted(whole.glob("pictures/*/*.jpg"), key=lambda path: int(path.stem))
    path = inputs.on_map.store.fields["path"][int(pictures[-1].stem)]
    (store / path).rename(away)
    with pytest.raises(ValueError, match=re.escape(path)):
        export_site(Inputs.open(explored.map, store=store), out)
    assert not out.exists()
    places = [path.relative_to(whole) for path in pictures[:-1]]
    partial = tmp_path / "site.partial"
    kept = {place: (partial / place).stat().st_mtime_ns for place in places}
    away.rename(store / path)
    export_site(Inputs.open(explored.map, store=store), out)
    assert {place: (out / place).stat().st_mtime_ns for place in places} == kept
    assert all_bytes(out) == all_bytes(whole)


class Parts(HTMLParser):
    """The policy, the style and the scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.policy, self.style, self.sources, self.inline = "", "", [], ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._open = tag
        values = dict(attrs)
        assert not any(name.startswith("on") or name == "style" for name in values)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if tag == "script":
            self.sources.append(values["src"])

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open == "style":
            self.style += data
        if self._open == "script":
            self.inline += data


def test_the_policy_allows_the_script_and_the_style_of_the_page_only(site):
    parts = Parts((site / "index.html").read_text())
    rules = dict(rule.strip().split(" ", 1) for rule in parts.policy.split(";"))
    digest = base64.b64encode(hashlib.sha256(parts.style.encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert (parts.sources, parts.inline) == (["site.js"], "")
    script = (site / "site.js").read_text()
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|https?://|\beval\b", script)


@pytest.fixture
def address(site, served: str, tmp_path) -> str:
    """The address of the site, below the root of a web server."""
    shutil.copytree(site.parent, tmp_path / "sub folder")
    return f"{served}/sub%20folder/site/"


def texts(region) -> list[list[str]]:
    return [row.locator("th, td").all_inner_texts() for row in region.locator("tbody tr").all()]


@pytest.mark.slow
def test_a_site_in_a_browser(address, site, explored, visit, find_faults):
    page = visit(address)
    pairs = page.get_by_role("region", name="Known pairs (complexes): 12")
    pairs.wait_for()
    profiles = read_map(explored.map)
    between = cosine_similarity(profiles.features)
    shown = texts(pairs)
    for first, second, cosine, *_ in shown:
        rows = profiles.names.index(first), profiles.names.index(second)
        assert float(cosine) == pytest.approx(between[rows], rel=1e-2, abs=1e-5)
    assert len(shown) == 12
    page.get_by_label("Known pairs", exact=True).select_option("missed")
    missed = [row for row in shown if row[4] == "missed"]
    region = page.get_by_role("region", name=f"Known pairs (complexes, missed): {len(missed)}")
    region.wait_for()
    assert texts(region) == missed

    box = page.get_by_role("combobox", name="Search for a name")
    box.fill("g00")
    offered = page.get_by_role("listbox").get_by_role("option")
    assert offered.all_inner_texts()[:5] == ["G005", "G006", "G007", "G008", "G009"]
    assert find_faults(page) == []
    box.press("ArrowDown")
    box.press("ArrowDown")
    box.press("Enter")
    nearest = page.get_by_role("region", name="Nearest to G006")
    nearest.wait_for()
    row = profiles.names.index("G006")
    wanted = [profiles.names[each] for each in np.argsort(-between[row]) if each != row][:5]
    assert nearest.get_by_role("link").all_inner_texts() == wanted
    assert page.url.endswith("row=G006")
    nearest.get_by_role("link").first.click()
    page.get_by_role("region", name=f"Nearest to {wanted[0]}").wait_for()
    page.locator("#row:focus").wait_for()  # where the answer begins
    page.go_back()
    nearest.wait_for()
    box.fill("no such gene")
    box.press("Enter")
    page.get_by_text("no such gene is not on the map.").wait_for()


@pytest.mark.slow
def test_hostile_names_are_text_on_a_narrow_dark_page(address, explored, visit, find_faults):
    for name in explored.hostile.values():
        page = visit(address, width=400, dark=True)
        box = page.get_by_role("combobox", name="Search for a name")
        page.get_by_role("region", name="Known pairs (complexes): 12").wait_for()
        box.fill(name)
        box.press("Enter")
        page.get_by_role("region", name=f"Nearest to {name}", exact=True).wait_for()
        pictures = page.get_by_role("figure").get_by_role("img")
        assert pictures.count() == 2
        for picture in pictures.all():
            assert (
                picture.evaluate("async image => (await image.decode(), image.naturalWidth)") == 64
            )
        assert find_faults(page) == []
        again = visit(page.url)
        again.get_by_role("region", name=f"Nearest to {name}", exact=True).wait_for()


@pytest.mark.slow
def test_a_file_that_is_missing_is_named(address, site, tmp_path, chromium):
    (tmp_path / "sub folder/site/data/rows-0001.json").unlink()
    page = chromium.new_page()
    page.goto(f"{address}?row=G009")  # row 6, the second file of five rows
    page.get_by_text("data/rows-0001.json could not be read (404)").wait_for()
    page.close()
