"""The app in a real browser: search, cells, state in the address, two browsers, a store that goes.

Whatever a page shows is compared with the map and the store themselves.
"""

import io
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from bokeh.palettes import Viridis256
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity

import phenomae
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.view import load_views
from phenomae.maps.read import read_map
from phenomae.store.colors import choose_colors
from phenomae.store.read import open_store, read_field

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SEARCH = "Search for"


def cells_of(page: "Page", caption: str) -> list[list[str]]:
    """Return the text of the rows of the table with a caption."""
    frame = page.get_by_role("region", name=caption, exact=True)
    frame.locator("tbody tr").first.wait_for()
    rows = frame.locator("tbody tr").all()
    return [[cell.inner_text() for cell in row.locator("th, td").all()] for row in rows]


def nearest(path: Path, name: str) -> list[str]:
    """Return the other names of a map by scikit-learn's cosine with one, the highest first."""
    profiles = read_map(path)
    cosines = cosine_similarity(profiles.features.astype(np.float64))
    row = profiles.names.index(name)
    order = [other for other in np.argsort(-cosines[row]).tolist() if other != row]
    return [profiles.names[other] for other in order]


def test_a_search_shows_the_neighbors_and_a_link_opens_them_again(app, inputs, explored, visit):
    """The smoke test: what scikit-learn finds is on the page, from the box and from the address."""
    address = app(inputs)
    page = visit(address)
    box = page.get_by_label(SEARCH)
    box.fill("g005")  # in any case
    box.press("Enter")
    caption = page.get_by_role("region", name=re.compile("^Nearest to G005"))
    caption.wait_for()
    shown = caption.locator("tbody tr td a").all_inner_texts()
    assert shown == nearest(explored.map, "G005")[:5]
    page.wait_for_url("**row=G005**")
    again = visit(page.url)
    found = again.get_by_role("region", name=re.compile("^Nearest to G005"))
    found.wait_for()
    assert again.get_by_label(SEARCH).input_value() == "G005"
    # A neighbor is a link, which searches for it.
    found.locator("tbody a").first.click()
    again.get_by_role("region", name=re.compile(f"^Nearest to {shown[0]}")).wait_for()


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("view", ["neighbors", "pairs", "maps"])
def test_after_a_link_the_answer_has_focus_and_is_in_sight(app, inputs, visit, view, width):
    page = visit(f"{app(inputs)}?row=G005&view={view}", width=width)
    page.set_viewport_size({"width": width, "height": 300})  # the link is below what is in sight
    links = page.locator("tbody a").filter(has_not_text="G005")
    links.first.wait_for()
    page.wait_for_timeout(1000)  # p-values come later and replace the rows
    link = links.last
    name = link.inner_text()
    link.focus()
    link.press("Enter")
    read = """() => {
        let focused = document.activeElement;
        while (focused.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
        return [focused.tagName, focused.textContent, focused.getBoundingClientRect().top];
    }"""
    page.get_by_role("heading", name=name).first.wait_for()
    page.wait_for_timeout(1000)
    tag, heading, top = page.evaluate(read)
    assert tag == "H2"
    assert name in heading
    assert 0 <= top < 100


def test_the_window_is_called_by_what_is_open(app, inputs, explored, visit):
    assert b"<title>G005 \xc2\xb7 cells \xc2\xb7 map \xe2\x80\x93 phenomae</title>" in (
        urllib.request.urlopen(f"{app(inputs)}?row=g005&view=cells").read()
    )
    page = visit(app(inputs))
    page.wait_for_function("document.title === 'neighbors · map – phenomae'")
    page.get_by_role("button", name="Pairs").click()
    page.wait_for_function("document.title === 'pairs · map – phenomae'")
    name = explored.hostile["G001"]
    page.get_by_label(SEARCH).fill(name)
    page.get_by_label(SEARCH).press("Enter")
    page.wait_for_function(
        "name => document.title === `${name} · pairs · map – phenomae`", arg=name
    )


def test_p_values_follow_and_are_those_of_the_command(app, inputs, explored, visit):
    settings = phenomae.NeighborsSettings(
        wells=explored.wells, annotations=explored.annotations, k=5
    )
    table = phenomae.neighbors(explored.map, "G006", settings=settings)
    expected = table.filter(side="nearest")["p"].to_list()
    page = visit(f"{app(inputs)}?row=G006")
    frame = page.get_by_role("region", name=re.compile("^Nearest to G006 "))
    frame.locator("tbody tr td:nth-child(4)", has_text=".").first.wait_for()
    shown = frame.locator("tbody tr td:nth-child(4)").all_inner_texts()
    assert [float(p) for p in shown] == pytest.approx(expected, rel=0.006)


def test_pixels_on_the_screen_are_the_stores_through_the_windows(app, inputs, explored, visit):
    page = visit(f"{app(inputs)}?row=G005&view=cells")
    picture = page.get_by_role("button", name=re.compile("^Enlarge (?!control)")).first
    name = picture.get_attribute("aria-label").removeprefix("Enlarge ")
    picture.click()
    image = page.get_by_role("region", name=f"{name}, full resolution").locator("img")
    image.wait_for()
    read = """async image => {
        await image.decode();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        const {data, width, height} = context.getImageData(0, 0, canvas.width, canvas.height);
        return [height, width, ...data];
    }"""
    height, width, *values = image.evaluate(read)
    shown = np.array(values, dtype=np.uint8).reshape(height, width, 4)[..., :3]
    store = open_store(explored.store)
    plate, well = name.split(",")[0].split(" ")
    fields = store.fields.with_row_index("index").filter(plate=plate, well=well)
    expected = through_windows(store, fields["index"][0])
    assert np.abs(shown - expected).max() <= 1  # of 255: halves are rounded in float32


def through_windows(store: Any, index: int) -> np.ndarray:
    row = store.fields.row(index, named=True)
    pixels = read_field(store, index).astype(np.float64)
    total = np.zeros((*pixels.shape[1:], 3))
    for channel, color in enumerate(choose_colors(store.channels)):
        low, high = row["window_low"][channel], row["window_high"][channel]
        level = np.clip((pixels[channel] - low) / (high - low), 0, 1)
        total += level[..., None] * np.array(list(bytes.fromhex(color)))
    return np.rint(np.minimum(total, 255))


def test_a_control_of_the_same_plate_is_beside_each_field(app, inputs, explored, visit):
    page = visit(f"{app(inputs)}?row=G006&view=cells")
    page.get_by_role("button", name=re.compile("^Enlarge control")).first.wait_for()
    captions = page.locator("figcaption").all_inner_texts()
    controls = set(
        open_store(explored.store)
        .fields.filter("control")
        .select(pl.format("{} {}", "plate", "well"))
        .to_series()
    )
    for name, beside in zip(captions[::2], captions[1::2], strict=True):
        place = beside.removeprefix("control, ").split(",")[0]
        assert place in controls
        assert place.split(" ")[0] == name.split(" ")[0]


def test_a_name_that_is_not_on_the_map_is_said(app, inputs, visit):
    page = visit(f"{app(inputs)}?row=G0055&view=absent")
    page.get_by_text("G0055 is not on the map. Did you mean G005").wait_for()
    page.get_by_text("Search for a name, or click").wait_for()


def test_two_browsers_see_their_own_pages(app, inputs, visit):
    address = app(inputs)
    first, second = visit(f"{address}?row=G005"), visit(f"{address}?row=G006")
    for page, name in ((first, "G005"), (second, "G006")):
        page.get_by_role("region", name=re.compile(f"^Nearest to {name}")).wait_for()
    first.get_by_label(SEARCH).fill("G007")
    first.get_by_label(SEARCH).press("Enter")
    first.get_by_role("region", name=re.compile("^Nearest to G007")).wait_for()
    assert second.get_by_label(SEARCH).input_value() == "G006"


def test_a_store_that_disappears_is_said_in_the_pictures_place(app, explored, tmp_path, chromium):
    store = tmp_path / "store"
    shutil.copytree(explored.store, store)
    address = app(Inputs.open(explored.map, store=store))
    page = chromium.new_page()
    shutil.rmtree(store)
    page.goto(f"{address}?row=G005&view=cells")
    page.get_by_role("button", name=re.compile("^Enlarge (?!control)")).first.wait_for()
    with pytest.raises(urllib.error.HTTPError, match="503") as failed:
        urllib.request.urlopen(f"{address}fields/0.png")
    assert "cannot be opened" in re.sub(r"<[^>]*>", " ", failed.value.read().decode())
    page.get_by_label(SEARCH).fill("G006")  # the rest of the page still works
    page.get_by_label(SEARCH).press("Enter")
    page.get_by_role("button", name="Neighbors").click()
    page.get_by_role("region", name=re.compile("^Nearest to G006")).wait_for()
    page.close()


@pytest.mark.parametrize("gene", ["G001", "G002", "G003", "G004"])
def test_hostile_names_are_text(app, inputs, explored, visit, find_faults, gene):
    name = explored.hostile[gene]
    page = visit(app(inputs))
    page.get_by_label(SEARCH).fill(name)
    page.get_by_label(SEARCH).press("Enter")
    frame = page.get_by_role("region", name=re.compile(re.escape(f"Nearest to {name}")))
    frame.wait_for()
    assert find_faults(page) == []
    assert frame.locator("tbody tr td a").all_inner_texts() == nearest(explored.map, name)[:5]


@pytest.mark.parametrize("view", [view.name for view in load_views()])
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_views_are_accessible_and_fit(app, inputs, visit, find_faults, view, width, dark):
    page = visit(f"{app(inputs)}?row=G005&view={view}", width=width, dark=dark)
    page.get_by_role("button", name="Neighbors").wait_for()
    page.wait_for_function("Bokeh.documents.length && Bokeh.documents[0].is_idle")
    page.wait_for_timeout(500)
    assert find_faults(page) == []


def colors_of(place: "Locator") -> set[tuple[int, ...]]:
    """Return the colors that the screen shows in a place."""
    with Image.open(io.BytesIO(place.screenshot())) as picture:
        values = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    return {tuple(color) for color in np.unique(values, axis=0).tolist()}


def test_dark_mode_leaves_pictures_and_scales_in_their_colors(app, inputs, visit):
    """The colors of a plate are Viridis in light and dark, and fields those of the store."""
    palette = {tuple(bytes.fromhex(color[1:])) for color in Viridis256}
    for dark in (False, True):
        page = visit(f"{app(inputs)}?row=G005&view=plates", dark=dark)
        page.wait_for_function("Bokeh.documents.length && Bokeh.documents[0].is_idle")
        plot = page.locator(".bk-Figure").last
        plot.wait_for()
        page.wait_for_timeout(500)
        shown = colors_of(plot)
        assert len(shown & palette) > 200  # of the bar beside the plate
        assert (255, 255, 255) in shown
        assert "invert" not in page.content()
        page.get_by_role("button", name="Cells").click()
        image = page.locator("figure img").first
        image.evaluate("image => image.decode()")
        filters = """image => {
            const found = [];
            for (let node = image; node; node = node.parentNode ?? node.host)
                if (node instanceof Element) found.push(getComputedStyle(node).filter);
            return found;
        }"""
        assert set(image.evaluate(filters)) == {"none"}


def test_what_is_missing_is_said(app, explored, visit):
    address = app(Inputs.open(explored.map))
    for view in load_views():
        lacks = view.lacks(Inputs.open(explored.map))
        if lacks is not None:
            visit(f"{address}?view={view.name}").get_by_text(lacks).wait_for()


def test_a_click_on_the_layout_searches(app, inputs, visit):
    page = visit(app(inputs))
    page.wait_for_function("Bokeh.documents.length && Bokeh.documents[0].is_idle")
    place = page.evaluate(
        """name => {
            const plot = Bokeh.documents[0].all_models.values().filter(
                model => model.type === "Figure").toArray()[0];
            const view = Bokeh.index.find_one(plot);
            const renderer = plot.renderers[0];
            const {x, y, name: names} = renderer.data_source.data;
            const at = [...names].indexOf(name);
            const frame = view.frame;
            const box = view.canvas_view.el.getBoundingClientRect();
            const [right, down] = [frame.x_scale.compute(x[at]), frame.y_scale.compute(y[at])];
            return [box.left + right, box.top + down];
        }""",
        "G008",
    )
    page.mouse.click(*place)
    page.get_by_role("region", name=re.compile("^Nearest to G008")).wait_for()


def test_the_app_loads_no_torch():
    code = (
        "import sys, phenomae.explorer.server, phenomae.probes.explore; "
        "from phenomae.explorer.view import load_views; load_views(); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def ask(address: str) -> int:
    try:
        with urllib.request.urlopen(address) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_nothing_but_the_page_and_fields_is_served(app, inputs):
    address = app(inputs)
    host = "/".join(address.split("/")[:3])
    assert ask(address) == 200
    assert ask(f"{address}fields/0.png") == 200
    # Not without the token, and no file of the machine with it.
    for path in ("", "fields/0.png", "static/js/bokeh.min.js", "wrong/fields/0.png"):
        assert ask(f"{host}/{path}") == 404
    outside = [
        "fields/..%2f..%2fetc%2fpasswd", "static/..%2f..%2f..%2f..%2fetc/passwd",
        "static/extensions/panel/..%2f..%2f..%2fphenomae/cli.py", "components/a/b/_css/c",
        "fields/999999.png", "fields/-1.png", "crops/0-0-0.png", "reconstructions/0-0-0.png",
    ]  # fmt: skip
    for path in outside:
        assert ask(f"{address}{path}") in (400, 403, 404)
    for query in (
        "channels=9",
        "channels=a",
        "size=0",
        f"size={'9' * 5000}",
        f"channels={'9' * 5000}",
    ):
        assert ask(f"{address}fields/0.png?{query}") == 400


def test_it_listens_on_this_machine_only(app, inputs):
    port = app(inputs).split(":")[2].split("/")[0]
    lines = Path("/proc/net/tcp").read_text().splitlines()
    listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    assert [place for place in listening if place.endswith(f":{int(port):04X}")] == [
        f"0100007F:{int(port):04X}"
    ]


def test_many_requests_leave_memory_flat(app, inputs):
    """Pages that are asked for and never opened are forgotten, as the pictures are."""
    address = app(inputs)

    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096 / 2**20

    def ask_all(count: int) -> None:
        for number in range(count):
            assert ask(f"{address}fields/{number % 8}.png") == 200

    ask_all(100)
    before = resident()
    ask_all(400)
    assert resident() < before + 20


Refused = Callable[[str], None]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"token": "short"}, "token must have 16 or more"),
        ({"port": 70000}, "port must be from 0 to 65535, not 70000"),
        ({"k": 0}, "k must be at least 1"),
        ({"run": "run"}, "run needs the pixels of the store"),
        ({"tokens": "tokens"}, "tokens needs the pixels of the store"),
        ({"export": "site", "compare": "m.h5ad"}, "export writes a site without compare: leave"),
        ({"export": "site", "port": 5007}, "export writes a site without port: leave port out"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], reason: str):
    with pytest.raises(ValueError, match=reason):
        phenomae.ExploreSettings(**settings)


def test_a_port_in_use_is_named(app, inputs, explored):
    port = int(app(inputs).split(":")[2].split("/")[0])
    with pytest.raises(ValueError, match=f"port {port} \\(Address already in use\\): choose"):
        phenomae.explore(explored.map, settings=phenomae.ExploreSettings(port=port))
