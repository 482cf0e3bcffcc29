"""The web server of the app: one page and pictures, below a secret path of this machine."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import panel as pn
from panel.io.server import get_server

from phenomae.cores import available_cores
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.page import build_page
from phenomae.explorer.pictures import FieldPictures, PictureHandler

_UNUSED_MS = 5_000
"""After so long a page that was asked for, and opened no connection, is forgotten."""


def start_server(inputs: Inputs, host: str, port: int) -> tuple[Any, str]:
    """Return the server, which listens, and the address of its page.

    All paths begin with a random token, so that neither other users of the machine nor pages in
    the same browser can ask for anything. Raises OSError if the port is in use.
    """
    token = secrets.token_urlsafe(24)
    pool = ThreadPoolExecutor(available_cores())
    patterns: list[tuple[Any, ...]] = []
    if inputs.store is not None:
        given = {"pictures": FieldPictures.of(inputs.store), "pool": pool}
        patterns.append((r"/fields/([0-9]{1,9})\.png", PictureHandler, given))
    pn.extension()
    page: Callable[[], Any] = lambda: build_page(inputs, pool)  # noqa: E731
    server = get_server(
        {"/": page},
        port=port,
        address=host,
        prefix=f"/{token}",
        extra_patterns=patterns,
        title=inputs.path.name,
        websocket_origin=[f"{name}:{port}" for name in {host, "localhost", "127.0.0.1"}],
        check_unused_sessions_milliseconds=_UNUSED_MS,
        unused_session_lifetime_milliseconds=_UNUSED_MS,
    )
    return server, f"http://{host}:{server.port}/{token}/"
