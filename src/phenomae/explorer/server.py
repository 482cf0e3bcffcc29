"""The web server of the app: one page and pictures, below a secret path of this machine."""

import gc
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import panel as pn
from bokeh.server.server import Server
from panel.io.server import ComponentResourceHandler, get_server
from tornado.ioloop import IOLoop, PeriodicCallback

from phenomae.cores import available_cores
from phenomae.explorer.figures import NAMES, FigureHandler
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.page import build_page
from phenomae.explorer.pictures import (
    CropHandler,
    FieldHandler,
    FieldPictures,
    ReconstructionHandler,
)
from phenomae.memory import return_freed_memory

_ANY = ("0.0.0.0", "::", "")
_COLLECT_MS = 5_000
_WARM_UP_S = 2  # after the first page, which would have to share the processor
_UNUSED_MS = 5_000
"""After so long a page that was asked for, and opened no connection, is forgotten."""


def start_server(
    inputs: Inputs, host: str, port: int, token: str | None = None
) -> tuple[Server, str]:
    """Return the server, which listens, and the address of its page.

    All paths begin with a token, by default a random one, so that neither other users of the
    machine nor pages in the same browser can ask for anything. Raises ValueError if the server
    cannot listen on the port.
    """
    token = token or secrets.token_urlsafe(24)
    port = port or _find_port(host)
    # Two, so that pictures do not wait for what takes seconds.
    pool, slow = (
        ThreadPoolExecutor(available_cores(), thread_name_prefix=name)
        for name in ("pictures", "answers")
    )
    pn.extension()
    try:
        server = get_server(
            {"/": lambda: build_page(inputs, slow)},
            port=port,
            address=host,
            prefix=f"/{token}",
            extra_patterns=_list_patterns(inputs, pool),
            title=inputs.path.name,
            websocket_origin=_list_origins(host, port),
            check_unused_sessions_milliseconds=_UNUSED_MS,
            unused_session_lifetime_milliseconds=_UNUSED_MS,
        )
    except OSError as error:
        where = f"cannot listen on {host}, port {port}"
        raise ValueError(f"{where} ({error.strerror or error}): choose another port") from None
    _remove_components(server)
    server.io_loop.call_later(_WARM_UP_S, slow.submit, inputs.warm_up)
    _forget_pages(server.io_loop)
    return server, f"http://{_shown(host)}:{port}/{token}/"


def _shown(host: str) -> str:
    """Return a host as addresses have it; this machine for all of its addresses."""
    if host in _ANY:
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _forget_pages(loop: IOLoop) -> None:
    """Free the memory of pages that were closed, every few seconds.

    Pages are cycles of references. Python looks for these when there are many more objects than
    at its last look, which with a large map in memory takes hundreds of pages of a megabyte each.
    """

    def collect() -> None:
        gc.collect()
        return_freed_memory()

    PeriodicCallback(collect, _COLLECT_MS).start()


def _find_port(host: str) -> int:
    """Return a port that is free; the server compares it with the origin of its pages."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        return free.getsockname()[1]


def _list_origins(host: str, port: int) -> list[str]:
    """Return the hosts whose pages may open a connection; all if others may connect."""
    own = ("127.0.0.1", "localhost")
    return [f"{name}:{port}" for name in own] if host in own else ["*"]


def _remove_components(server: Server) -> None:
    """Remove the path by which Panel serves files of Python modules that a request names.

    It imports the module first, whichever it is; the page needs none of them.
    """
    router = server._tornado.wildcard_router  # there is no public name for it
    router.rules = [rule for rule in router.rules if rule.target is not ComponentResourceHandler]


def _list_patterns(inputs: Inputs, pool: ThreadPoolExecutor) -> list[tuple[str, type, dict]]:
    """Return the paths of pictures, what answers them, and what from."""
    figures: dict[str, Any] = {"pool": pool, "inputs": inputs}
    patterns: list[tuple[str, type, dict]] = [
        (rf"/figures/({'|'.join(NAMES)})\.svg", FigureHandler, figures)
    ]
    if inputs.on_map.store is None:
        return patterns
    given: dict[str, Any] = {"pool": pool, "pictures": FieldPictures.of(inputs.on_map.store)}
    number = "([0-9]{1,9})"
    patterns += [
        (rf"/fields/{number}\.png", FieldHandler, given),
        (rf"/crops/{'-'.join([number] * 4)}\.png", CropHandler, given),
    ]
    if inputs.reconstructor is not None:
        network = {**given, "reconstructor": inputs.reconstructor}
        place = "-".join([number] * 3)
        patterns.append((rf"/reconstructions/{place}\.png", ReconstructionHandler, network))
    return patterns
