"""What views hand to the browser: missing values, picked crops, and the colors of the store."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import panel as pn
import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_similarity

import phenomae
from phenomae.explorer import pictures
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.pictures import FieldPictures
from phenomae.explorer.plate_values import list_wells
from phenomae.explorer.state import State
from phenomae.explorer.table import Table
from phenomae.explorer.view import Session
from phenomae.explorer.views import crops, doses, neighbors, plates
from phenomae.maps.map import MapSettings, map_wells
from phenomae.store.display import read_colors
from phenomae.store.read import open_store


def session_of(inputs: Inputs, **state: str) -> Session:
    return Session(inputs, State(**state), ThreadPoolExecutor(1))


def crop_of(url: str) -> str:
    state = State()
    state.read(url.partition("?")[2])
    return state.crop


@pytest.fixture(scope="module")
def dosed(explored, tmp_path_factory) -> Inputs:
    """Wells with doses; one plate has a single control, from which no distance follows."""
    folder = tmp_path_factory.mktemp("dosed")
    wells = phenomae.read_wells(explored.wells)
    lone = pl.col("plate") == wells.table["plate"].unique().sort()[0]
    first = pl.col("well") == wells.table.filter(lone, pl.col("control"))["well"][0]
    table = wells.table.with_columns(
        control=pl.when(lone).then(pl.col("control") & first).otherwise(pl.col("control")),
        compound=pl.when(~pl.col("control")).then(pl.lit("aspirin")),
        concentration_um=pl.col("well").str.slice(1).cast(pl.Float64),
    ).with_columns(
        compound=pl.when(pl.col("well").str.starts_with("C"))
        .then(pl.lit("bortezomib"))
        .otherwise("compound")
    )
    table = table.drop("focus")  # as profiles of other software
    names = [f"f{number}" for number in range(wells.features.shape[1])]
    vectors = pl.from_numpy(wells.features, schema=names)
    phenomae.write_wells(folder / "wells", pl.concat([table, vectors], how="horizontal"), names)
    map_wells(folder / "wells", folder / "map.h5ad", settings=MapSettings(by="gene"))
    return Inputs.open(folder / "map.h5ad", wells=folder / "wells")


def test_wells_without_a_value_are_not_drawn_as_zero(dosed):
    assert dosed.on_map.plates is not None
    table = dosed.on_map.plates.wells
    plate = table.filter(pl.col("distance").is_null())["plate"][0]
    shown = list_wells(dosed, "", plate, "distance")["value"]
    here = table.filter(plate=plate)["distance"]
    assert here.null_count() > 0
    np.testing.assert_array_equal(np.isnan(shown), here.is_null().to_numpy())


def test_doses_without_a_distance_are_not_drawn_as_zero(dosed):
    view = doses.VIEW.build(session_of(dosed, row=dosed.names[0]))
    plot = next(pane.object for pane in view if isinstance(pane, pn.pane.Bokeh))
    line, points = (renderer.data_source.data for renderer in plot.renderers)
    compounds, wells = doses.doses_of_row(dosed, dosed.names[0])
    unknown = wells["distance"].is_null().to_numpy()
    assert 0 < unknown.sum() < len(unknown)
    np.testing.assert_array_equal(np.isnan(points["distance"]), unknown)
    assert np.isfinite(line["distance"]).all()
    several = [name for name in dosed.names if len(doses.doses_of_row(dosed, name)[0]) > 1]
    for name in several[:1]:
        text = doses.VIEW.build(session_of(dosed, row=name))[0].object
        assert "have 2 compounds: " in text
    assert compounds


def test_a_picked_crop_is_one_step_of_the_address(explored):
    given = Inputs.open(explored.map, store=explored.store)
    session = session_of(given)
    crops._build_places(session)
    seen: list[str] = []
    session.state.param.watch(lambda event: seen.append(event.new), "crop")
    session.state.crop = "3,10,20"
    assert seen == ["3,10,20"]


def test_pictures_have_the_colors_that_the_store_was_given(explored, tmp_path: Path):
    shutil.copytree(explored.store, tmp_path / "store")
    store = open_store(tmp_path / "store")
    usual = read_colors(store)
    path = tmp_path / "store" / store.fields["path"][0] / "zarr.json"
    content = json.loads(path.read_text())
    for channel, color in zip(
        content["attributes"]["ome"]["omero"]["channels"], usual, strict=True
    ):
        channel["color"] = color[::-1]
    path.write_text(json.dumps(content))
    assert read_colors(store) == [color[::-1] for color in usual]
    own = np.array([list(bytes.fromhex(color[::-1])) for color in usual]) / 255
    np.testing.assert_allclose(FieldPictures.of(store).colors, own, atol=1e-6)


@pytest.mark.slow
def test_a_click_into_a_reduced_picture_is_a_pixel_of_the_store(app, explored, visit, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_SIDE", 16)  # the fields have 64 x 64
    given = Inputs.open(explored.map, store=explored.store)
    page = visit(f"{app(given)}?row=G005&view=cells&field=0")
    image = page.get_by_role("region", name=re.compile("full resolution$")).locator("img")
    image.wait_for()
    page.get_by_role("button", name="400 %").click()
    image.click(position={"x": 40, "y": 20})  # of 64 on the screen, at 4 times 16 pixels
    page.wait_for_url(re.compile("crop="))
    assert crop_of(page.url) == "0,20,40"


def test_a_name_in_other_letters_is_the_row_and_an_unknown_one_is_none(inputs):
    assert session_of(inputs, row="g005").row == "G005"
    assert session_of(inputs, row="absent").row == ""
    assert "Search for a compound" in doses.VIEW.build(session_of(inputs, row="absent"))[0].object
    near = neighbors.VIEW.build(session_of(inputs, row="g005"))
    assert near[1].label.startswith("Nearest to G005")


def test_known_partners_are_shown_with_the_ranks_of_scikit_learn(inputs, explored, monkeypatch):
    monkeypatch.setattr(neighbors, "MAX_PARTNERS", 1)
    view = neighbors.VIEW.build(session_of(inputs, row="G005"))
    [table] = [each for each in view.select(Table) if each.label.startswith("Known partners")]
    profiles = phenomae.read_map(explored.map)
    cosines = cosine_similarity(profiles.features.astype(np.float64))
    row = profiles.names.index("G005")
    order = [each for each in np.argsort(-cosines[row]).tolist() if each != row]
    partners: dict[str, list[str]] = {}
    for file in sorted(explored.annotations.glob("*.csv")):
        for first, second in pl.read_csv(file).select("entity1", "entity2").rows():
            if "G005" in (first, second):
                partner = second if first == "G005" else first
                partners.setdefault(partner, []).append(file.stem)
    rank = {profiles.names[each]: at for at, each in enumerate(order, start=1)}
    expected = sorted(partners, key=lambda name: rank[name])
    rows = [
        dict(zip([column["name"] for column in table.data["columns"]], values, strict=True))
        for values in table.data["rows"]
    ]
    assert [each["partner"] for each in rows] == expected
    assert [each["rank"] for each in rows] == [rank[name] for name in expected]
    assert [each["sources"] for each in rows] == [" | ".join(partners[name]) for name in expected]
    own = [cosines[row, profiles.names.index(name)] for name in expected]
    np.testing.assert_allclose([each["cosine"] for each in rows], own, atol=1e-6)
    # Five of the eleven others are listed as nearest and five as farthest.
    listed = ["nearest" if each["rank"] <= 5 else "no" for each in rows if each["rank"] <= 6]
    assert [each["listed"] for each in rows][: len(listed)] == listed
    near = sum(rank[name] <= 5 for name in expected)
    words = f"{len(expected)}, {near} among the 5 nearest; the nearest 1 are shown"
    assert table.label == f"Known partners of G005 on the map: {words}"


@pytest.mark.slow
def test_known_partners_in_a_browser_are_saved_beyond_those_that_are_shown(
    app, inputs, visit, tmp_path, monkeypatch
):
    monkeypatch.setattr(neighbors, "MAX_PARTNERS", 1)
    page = visit(f"{app(inputs)}?row=G005")
    caption = re.compile("^Known partners of G005 on the map: 2, ")
    page.get_by_role("region", name=caption).wait_for()
    shown = page.get_by_role("region", name=caption).locator("tbody tr")
    assert shown.count() == 1
    with page.expect_download() as started:
        page.get_by_role("button", name="Save as CSV").nth(1).click()  # below the nearest
    started.value.save_as(tmp_path / "saved.csv")
    assert started.value.suggested_filename == "G005-known-partners.csv"
    saved = pl.read_csv(tmp_path / "saved.csv")
    assert len(saved) == 2
    assert saved["partner"][0] == shown.locator("a").inner_text()
    shown.locator("a").click()
    page.get_by_role("region", name=f"Nearest to {saved['partner'][0]}").wait_for()


def test_measures_that_no_well_has_are_not_offered(dosed):
    view = plates.VIEW.build(session_of(dosed))
    selects = list(view.select(pn.widgets.Select))
    assert "focus, relative to the plate's fields" not in selects[1].options
    [summary] = [each for each in view if isinstance(each, Table)]
    assert "focus" not in [column["name"] for column in summary.data["columns"]]


def test_plates_open_at_one_with_the_searched_name(inputs):
    wells = inputs.wells.filter(name="G005")
    session = session_of(inputs, row="G005")
    view = plates.VIEW.build(session)
    [plot] = [each.object for each in view if isinstance(each, pn.pane.Bokeh)]
    assert plot.title.text.split(":")[0] in wells["plate"].to_list()
    title = plot.title
    for plate in inputs.on_map.plates.plates:
        session.state.plate = plate
        assert plot.title is title  # Bokeh would not draw another one
        assert title.text.startswith(f"{plate}: ")


def test_completions_are_sorted_so_that_a_name_precedes_longer_ones(inputs):
    offered = inputs.search.completions
    assert offered == sorted(offered, key=str.casefold)
