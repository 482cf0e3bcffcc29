"""The address of a page: what is written is read again, whatever names look like."""

from urllib.parse import parse_qs, urlsplit

import pytest

from phenomae.explorer.state import State

LIKE_OTHER_TYPES = ["007", "1e5", "true", "[1]", "{'a': 1}", "a&b=c", "ü +%20", "A\nB, C", "#x"]


@pytest.mark.parametrize("name", LIKE_OTHER_TYPES)
def test_a_name_is_read_as_it_was_written(name):
    query = State(row=name, names=name, field=3).write()
    assert parse_qs(query.removeprefix("?")) == {"row": [name], "names": [name], "field": ["3"]}
    state = State(view="cells", source="of another page")
    state.read(query)
    assert (state.row, state.names, state.field) == (name, name, 3)
    assert (state.view, state.source) == ("neighbors", "")


def test_no_channels_are_not_all_channels():
    query = State(channels="").write()
    state = State()
    state.read(query)
    assert state.channels == ""


def test_an_address_of_defaults_is_empty():
    assert State().write() == ""


NO_FIELDS = [
    "?view=bogus",
    "?field=x",
    "?field=-7",
    "?field=1.5",
    "?field",
    "?strange=1",
    f"?field={'9' * 5000}",
]


@pytest.mark.parametrize("query", NO_FIELDS)
def test_what_is_no_value_of_a_parameter_is_ignored(query):
    state = State(field=3)
    state.read(query)
    assert state.write() == ""


def test_a_problem_is_forgotten_with_what_it_was_of():
    state = State(row="G005")
    for _ in range(2):  # the same sentence again is an event again
        state.problem = "there are too few controls"
        state.row = f"{state.row}x"
        assert state.problem == ""


@pytest.mark.slow
def test_back_shows_what_was_shown_before(app, inputs, visit):
    page = visit(f"{app(inputs)}?row=G005")
    page.get_by_role("region", name="Nearest to G005").wait_for()
    box = page.get_by_label("Search for")
    box.fill("G006")
    box.press("Enter")
    page.get_by_role("region", name="Nearest to G006").wait_for()
    page.wait_for_url("**?row=G006")
    page.evaluate("history.back()")
    page.get_by_role("region", name="Nearest to G005").wait_for()
    assert box.input_value() == "G005"
    page.evaluate("window.kept = true")
    page.get_by_role("link", name="Skip to the answers").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**?row=G005#answers")
    assert page.evaluate("window.kept")  # a jump to a part of the page does not load it again


def column_of(region, heading: str) -> list[str]:
    at = region.locator("thead th").all_inner_texts().index(heading)
    return [row.locator("th, td").nth(at).inner_text() for row in region.locator("tbody tr").all()]


@pytest.mark.slow
def test_the_order_of_the_neighbors_is_in_the_address(app, inputs, visit):
    page = visit(f"{app(inputs)}?row=G005")
    nearest = page.get_by_role("region", name="Nearest to G005 (")  # p-values are there
    farthest = page.get_by_role("region", name="Farthest from G005 (")
    nearest.wait_for()
    known = page.get_by_role("region", name="Known partners of G005")
    names = column_of(nearest, "neighbor")
    partners = column_of(known, "partner")
    assert len(partners) > 1
    heading = nearest.get_by_role("button", name="cosine")
    heading.click()
    assert column_of(nearest, "neighbor") == names  # the highest cosine is the first
    heading.click()  # the other direction
    assert column_of(nearest, "neighbor") == names[::-1]
    farthest.get_by_role("button", name="magnitude").click()
    known.get_by_role("button", name="rank").click()
    chosen = {
        "row": ["G005"],
        "sort_nearest": ["cosine"],
        "sort_farthest": ["-magnitude"],
        "sort_known": ["-rank"],
    }
    page.wait_for_url(lambda address: parse_qs(urlsplit(address).query) == chosen)
    again = visit(page.url)
    nearest = again.get_by_role("region", name="Nearest to G005 (")
    nearest.wait_for()
    assert column_of(nearest, "neighbor") == names[::-1]
    headings = again.get_by_role("columnheader")
    assert headings.filter(has_text="cosine").first.get_attribute("aria-sort") == "ascending"
    known = again.get_by_role("region", name="Known partners of G005")
    assert column_of(known, "partner") == partners[::-1]
    farthest = again.get_by_role("region", name="Farthest from G005 (")
    magnitudes = [float(text) for text in column_of(farthest, "magnitude")]
    assert magnitudes == sorted(magnitudes, reverse=True)
    # Another name is listed in the same order.
    again.get_by_label("Search for").fill("G006")
    again.get_by_label("Search for").press("Enter")
    region = again.get_by_role("region", name="Nearest to G006 (")
    region.wait_for()
    assert column_of(region, "rank") == ["5", "4", "3", "2", "1"]


@pytest.mark.slow
def test_an_order_by_no_column_is_that_of_ranks(app, inputs, visit):
    page = visit(f"{app(inputs)}?row=G005&sort_nearest=-absent")
    nearest = page.get_by_role("region", name="Nearest to G005 (")
    nearest.wait_for()
    assert column_of(nearest, "rank") == ["1", "2", "3", "4", "5"]
