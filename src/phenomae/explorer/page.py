"""The page: search, layout of the map and views. It loads nothing from other machines."""

from concurrent.futures import ThreadPoolExecutor

import panel as pn
from bokeh.models import AutocompleteInput

from phenomae.explorer.assets import read_asset
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.layout_plot import build_layout
from phenomae.explorer.state import State
from phenomae.explorer.view import WIDGETS, Session, View, load_views, note, paragraph
from phenomae.explorer.window_title import build_title, describe_window

# Bokeh writes its document into a script of the page, and Panel runs components from blobs.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; connect-src 'self' blob:; "
    "font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'"
)


def build_page(inputs: Inputs, pool: ThreadPoolExecutor) -> pn.Template:
    """Return the page of one visit."""
    state = State()
    state.follow_address()
    in_address = state.row
    if inputs.search.look_up(in_address) is None:
        state.row = ""
    session = Session(inputs, state, pool)
    template = pn.Template(read_asset("page.html"), location=True)
    template.add_variable("heading", inputs.path.name)
    template.add_variable("about", inputs.about)
    template.add_variable("policy", POLICY)
    template.add_variable("app_favicon", "data:,")
    template.add_variable("css", read_asset("page.css"))
    views = {view.name: view for view in load_views()}
    if state.view not in views:
        state.view = next(iter(views))
    template.add_variable("window_title", describe_window(session))
    template.add_panel("window", build_title(session))
    template.add_panel("search", _build_search(session, in_address))
    template.add_panel("layout", build_layout(session))
    template.add_panel("views", _build_switch(session, views))
    template.add_panel("view", _build_view(session, views))
    return template


def _build_search(session: Session, text: str) -> pn.viewable.Viewable:
    state, index = session.state, session.inputs.search
    # Bokeh's own, because Panel waits for 50 ms before it tells of a value, and sends all options
    # again when one is set.
    box = AutocompleteInput(
        title="Search for a name, guide, compound or PLATE/WELL",
        completions=index.completions,
        value=text,
        case_sensitive=False,
        restrict=False,
        # Enter takes the first completion: in sorted order that is the text itself, if it is one.
        search_strategy="starts_with",
        min_characters=1,
        sizing_mode="stretch_width",
        stylesheets=[WIDGETS],
    )
    message = note("")

    def search() -> None:
        text = box.value.strip()
        found = index.look_up(text)
        message.visible = bool(text) and found is None
        if found is not None:
            state.row = index.names[found.row]
        elif text:
            unknown = f"{text} is not on the map."
            message.object = paragraph(unknown)
            session.later(
                lambda: index.resemble(text),  # of 55,000 names it takes a second
                lambda close: box.value.strip() == text and suggest(unknown, close),
            )

    def suggest(unknown: str, close: list[str]) -> None:
        if close:
            message.object = paragraph(f"{unknown} Did you mean {' or '.join(close)}?")

    def follow(event: object) -> None:
        found = index.look_up(box.value)
        if found is None or index.names[found.row] != state.row:
            box.value = state.row

    box.on_change("value", lambda attribute, old, new: search())

    def explain(*_: object) -> None:
        message.visible = bool(state.problem)
        message.object = paragraph(state.problem)

    state.param.watch(follow, "row")
    state.param.watch(explain, "problem")
    search()
    return pn.Column(pn.pane.Bokeh(box), message, sizing_mode="stretch_width")


def _build_switch(session: Session, views: dict[str, View]) -> pn.viewable.Viewable:
    titles = {view.title: view.name for view in views.values()}
    switch = pn.widgets.RadioButtonGroup(
        label="Views",
        options=titles,
        value=session.state.view,
        sizing_mode="stretch_width",
        stylesheets=[WIDGETS],
    )
    switch.link(session.state, value="view", bidirectional=True)
    return switch


def _build_view(session: Session, views: dict[str, View]) -> pn.viewable.Viewable:
    """Return a place in which the open view stands; a view is built when it is first opened."""
    place = pn.Column(sizing_mode="stretch_width")
    built: dict[str, pn.viewable.Viewable] = {}

    def open_view(*_: object) -> None:
        view = views.get(session.state.view)
        if view is None:
            return
        if view.name not in built:
            lacks = view.lacks(session.inputs)
            built[view.name] = note(lacks) if lacks else view.build(session)
        place[:] = [built[view.name]]

    session.state.param.watch(open_view, "view")
    open_view()
    return place
