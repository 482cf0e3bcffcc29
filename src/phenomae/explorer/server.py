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
from phenomae.explorer.pictures import (
    CropHandler,
    FieldHandler,
    FieldPictures,
    ReconstructionHandler,
)

_UNUSED_MS = 5_000
"""After so long a page that was asked for, and opened no connection, is forgotten."""


def start_server(inputs: Inputs, host: str, port: int, token: str | None = None) -> tuple[Any, str]:
    """Return the server, which listens, and the address of its page.

    All paths begin with a random token, so that neither other users of the machine nor pages in
    the same browser can ask for anything. Raises OSError if the port is in use.
    """
    token = token or secrets.token_urlsafe(24)
    pool = ThreadPoolExecutor(available_cores())
    patterns = _list_patterns(inputs, pool)
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


def _list_patterns(inputs: Inputs, pool: ThreadPoolExecutor) -> list[tuple[str, type, dict]]:
    """Return the paths of pictures, what answers them, and what from."""
    if inputs.store is None:
        return []
    given: dict[str, Any] = {"pool": pool, "pictures": FieldPictures.of(inputs.store)}
    number = "([0-9]{1,9})"
    patterns: list[tuple[str, type, dict]] = [
        (rf"/fields/{number}\.png", FieldHandler, given),
        (rf"/crops/{'-'.join([number] * 4)}\.png", CropHandler, given),
    ]
    if inputs.reconstructor is not None:
        network = {**given, "reconstructor": inputs.reconstructor}
        place = "-".join([number] * 3)
        patterns.append((rf"/reconstructions/{place}\.png", ReconstructionHandler, network))
    return patterns
