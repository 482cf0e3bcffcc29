"""The title of the browser's window: what is open on the page."""

import panel as pn
import param
from panel.custom import JSComponent

from phenomae.explorer.view import Session


class WindowTitle(JSComponent):
    """Sets the title of the window; there is nothing of it on the page.

    Panel does not pass on the title of Bokeh's document after a page is loaded.
    """

    text = param.String("", doc="The title")

    _esm = """
        export function render({model}) {
          const follow = () => { document.title = model.text; };
          follow();
          model.on("text", follow);
        }
    """


def describe_window(session: Session) -> str:
    """Return what is open: the searched name, the view and the map."""
    parts = [session.row, session.state.view, session.inputs.path.stem]
    return f"{' · '.join(part for part in parts if part)} – phenomae"


def build_title(session: Session) -> pn.viewable.Viewable:
    """Return what keeps the title of the window at what is open."""
    title = WindowTitle(text=describe_window(session))

    def follow(*_: object) -> None:
        title.text = describe_window(session)

    session.state.param.watch(follow, ["row", "view"])
    return title
