"""A small screen, the app that shows it, and a real browser that looks at it.

Browser tests are skipped where there is no Chromium; nothing is installed for them.
"""

import asyncio
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl
import pytest

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.embedding.features import FeaturesSettings, features
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.server import start_server
from phenomae.maps.map import MapSettings, map_wells
from phenomae.simulation.simulate import SimulateSettings, simulate
from phenomae.store.ingest import ingest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SMOKE = "test_a_search_shows_the_neighbors_and_a_link_opens_them_again"
"""The one test with a browser that is in the fast suite."""
TIMEOUT_S = 30
HOSTILE = {
    "G001": '<img src=x onerror="window.broken=1">',
    "G002": "it's \"quoted\" & 'so'",
    "G003": "N" * 100,
    "G004": "007",
}
"""Names that a page must show as they are, in place of some genes of the small screen."""


@pytest.hookimpl(tryfirst=True)  # before slow tests are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests with a browser as slow: each waits a second for pages."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "chromium" in fixtures and getattr(item, "originalname", "") != SMOKE:
            item.add_marker(pytest.mark.slow)


@dataclass(frozen=True)
class Explored:
    """Where the artefacts of the small screen lie; tests copy what they change."""

    store: Path
    wells: Path
    map: Path
    other: Path
    """A map of the same genes by other features, without G011 and G012."""
    annotations: Path
    """A folder of two sources; the second has HTML in its name."""
    hostile: dict[str, str]
    """Names of the genes G001 to G004."""


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Explored:
    """A simulated screen of 12 genes in 4 complexes, some of them with hostile names."""
    folder = tmp_path_factory.mktemp("explored")
    raw, store = folder / "raw", folder / "store"
    size = SimulateSettings(
        genes=12, complexes=4, guides=2, batches=2, controls=8, sites=1, field_size=64, seed=1
    )
    simulate(raw, settings=size)
    for table in ("plate_map.csv", "relationships.csv"):
        plain = pl.read_csv(raw / table, infer_schema=False)
        plain.with_columns(pl.all().replace(HOSTILE)).write_csv(raw / table)
    ingest(raw, store)
    for kind in ("intensity", "spectra"):
        features(store, folder / f"{kind}.raw", settings=FeaturesSettings(kind=kind))
        by_plate = CorrectSettings(method="center-scale", batch="plate")
        correct(folder / f"{kind}.raw", folder / f"{kind}.wells", settings=by_plate)
    wells = folder / "intensity.wells"
    map_wells(wells, folder / "map.h5ad", settings=MapSettings(by="gene"))
    fewer = MapSettings(by="gene", where="gene NOT IN ('G011', 'G012')")
    map_wells(folder / "spectra.wells", folder / "other.h5ad", settings=fewer)
    annotations = folder / "annotations"
    annotations.mkdir()
    known = pl.read_csv(raw / "relationships.csv", infer_schema=False)
    known.write_csv(annotations / "complexes.csv")
    known.head(3).write_csv(annotations / "signal_ing <&> more.csv")
    maps = folder / "map.h5ad", folder / "other.h5ad"
    return Explored(store, wells, *maps, annotations, HOSTILE)


@pytest.fixture(scope="session")
def inputs(explored: Explored) -> Inputs:
    """All that the app can show of the small screen."""
    return Inputs.open(
        explored.map,
        store=explored.store,
        wells=explored.wells,
        annotations=explored.annotations,
        compare=explored.other,
        k=5,
    )


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """A browser that is installed: that of PHENOMAE_CHROMIUM, else `chromium` of the system."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    program = os.environ.get("PHENOMAE_CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.skip("needs Chromium: install it, or name its program in PHENOMAE_CHROMIUM")
    with playwright.sync_playwright() as driver:
        # Without its sandbox, which does not start where tests run as root.
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class _App:
    """A server of the app, in a thread with an event loop of its own."""

    address: str = ""
    server: Any = None
    error: BaseException | None = None
    listens: threading.Event = field(default_factory=threading.Event)

    def serve(self, inputs: Inputs, port: int) -> None:
        try:
            asyncio.set_event_loop(asyncio.new_event_loop())
            self.server, self.address = start_server(inputs, "127.0.0.1", port)
            self.server.start()
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.listens.set()
        self.server.io_loop.start()

    def stop(self, thread: threading.Thread) -> None:
        if self.server is not None:
            self.server.io_loop.add_callback(self.server.stop)
            self.server.io_loop.add_callback(self.server.io_loop.stop)
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def app() -> Iterator[Callable[[Inputs], str]]:
    """Starts the app for some inputs, once for each, and returns its address."""
    started: list[tuple[Inputs, _App, threading.Thread]] = []

    def start(inputs: Inputs) -> str:
        for known, running, _ in started:
            if known is inputs:
                return running.address
        # The port is chosen here, because the server compares it with the origin of each page.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        running = _App()
        thread = threading.Thread(target=running.serve, args=(inputs, port), daemon=True)
        thread.start()
        started.append((inputs, running, thread))
        assert running.listens.wait(TIMEOUT_S)
        assert running.error is None, running.error
        return running.address

    yield start
    for _, running, thread in started:
        running.stop(thread)


class Visit(Protocol):
    """Opens an address in a new window, which must load nothing else and raise no error."""

    def __call__(self, address: str, *, width: int = 1400, dark: bool = False) -> "Page": ...


@pytest.fixture
def visit(chromium: "Browser") -> Iterator[Visit]:
    """Opens pages; at the end none may have raised an error or asked another server."""
    problems: list[str] = []
    contexts = []

    def open_page(address: str, *, width: int = 1400, dark: bool = False) -> "Page":
        scheme = "dark" if dark else "light"
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * TIMEOUT_S)
        own = "/".join(address.split("/")[:3])
        page.on("pageerror", lambda error: problems.append(f"error: {error.stack}"))
        page.on("console", lambda said: said.type == "error" and problems.append(said.text))
        page.on(
            "request",
            lambda asked: (
                asked.url.startswith((own, "data:", "blob:"))
                or problems.append(f"asked {asked.url}")
            ),
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="session")
def find_faults() -> Callable[["Page"], list[str]]:
    """Returns what is wrong with a page: serious faults of axe-core, and a page that is too wide.

    It also fails on markup of a hostile name that was run.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")

    def find(page: "Page") -> list[str]:
        violations = axe.Axe().run(page).response["violations"]
        faults = [
            f"{fault['id']}: {[node['html'][:200] for node in fault['nodes'][:3]]}"
            for fault in violations
            if fault["impact"] in ("serious", "critical")
        ]
        if (wide := page.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
            faults.append(f"{wide} pixels wider than the window")
        if page.evaluate("window.broken !== undefined"):
            faults.append("the markup of a name was run")
        return faults

    return find
