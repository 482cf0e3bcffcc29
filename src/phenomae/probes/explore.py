"""The command `explore`: a local app that shows what is on a map.

It is here, and not in the room `explorer`, because reconstructions need networks, which that room
does not import.
"""

import gc
import re
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from phenomae import checks
from phenomae.outputs import Output
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.urls import Location

if TYPE_CHECKING:
    from phenomae.explorer.inputs import Inputs
    from phenomae.probes.reconstruct import Reconstructor
    from phenomae.store.read import Store

_OF_THE_APP = ("compare", "clusters", "tokens", "run", "host", "port", "token", "open")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,}")


@Parameter(name="*")
@dataclass(frozen=True)
class ExploreSettings:
    """What the app shows beside the map, and where it listens."""

    store: Location | None = None
    """Store that the wells were embedded from, also on s3://: the cells are shown."""
    wells: PathLike | None = None
    """Wells that the map was made from: p-values, plates and doses are shown."""
    annotations: PathLike | None = None
    """File of known pairs, or folder of such files: pairs found and missed are shown."""
    clusters: PathLike | None = None
    """Folder that `clusters` wrote for the map: points are colored by cluster."""
    compare: PathLike | None = None
    """Another map (.h5ad), to be compared with on the names that both have."""
    tokens: PathLike | None = None
    """Folder of one vector per crop, written by `embed --tokens`: crops that look alike are shown;
    needs `store`."""
    run: PathLike | None = None
    """Run or weights of a masked autoencoder: reconstructions are shown; needs `store`."""
    k: int = 20
    """Number of the nearest names, and of the farthest, that are listed."""
    host: str = "127.0.0.1"
    """Address to listen on. With the default only this machine can connect; with another one, all
    who can reach the machine and know the token."""
    port: int = 5006
    """Port to listen on; 0 chooses a free one."""
    token: str | None = None
    """Secret word in the address, of 16 or more letters, digits, - and _; by default another one at
    each start. With the same word, links are valid after a restart."""
    open: bool = False
    """Open the page in a browser."""
    export: PathLike | None = None
    """Folder to write, instead of serving pages: a site for any web server, with search, neighbors,
    pairs and small pictures of cells."""

    def __post_init__(self) -> None:
        """Raise ValueError, naming the setting, if a value is outside its range."""
        checks.whole_numbers(self)
        checks.at_least("k", self.k, 1)
        checks.require(0 <= self.port < 65536, "port", "from 0 to 65535", self.port)
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise ValueError("token must have 16 or more letters, digits, - and _")
        if self.export is not None:
            for name in _OF_THE_APP:
                if getattr(self, name) != getattr(ExploreSettings, name):
                    raise ValueError(f"export writes a site without {name}: leave {name} out")
        for name in ("tokens", "run"):
            if getattr(self, name) is not None and self.store is None:
                raise ValueError(f"{name} needs the pixels of the store: give store too")


def explore(
    map_path: PathLike,
    /,
    *,
    settings: ExploreSettings = ExploreSettings(),
    overwrite: bool = False,
) -> Output | None:
    """Show what is on a map, in a browser: neighbors, cells, pairs, plates, doses.

    Prints the address of the page and answers until it is interrupted (Ctrl-C).

    Parameters
    ----------
    map_path
        An .h5ad file written by `map`, or any other AnnData file with one row per name.
    overwrite
        Replace the folder `export` if it was made with other settings.

    Returns
    -------
    The folder that `export` names, else None.

    Raises
    ------
    ValueError
        If an input cannot be used or is not of this map, or the port is in use.
    """
    if settings.export is not None:
        from phenomae.explorer.static_site import export_site

        inputs = _open_inputs(Path(map_path), settings)
        return export_site(inputs, settings.export, overwrite=overwrite)
    serve(Path(map_path), settings)
    return None


def serve(map_path: Path, settings: ExploreSettings) -> None:
    """Answer requests until this is interrupted."""
    start_server, inputs = _prepare(map_path, settings)
    server, address = start_server(inputs, settings.host, settings.port, settings.token)
    info(f"{map_path} is shown at {address} until you stop this command (Ctrl-C)")
    if settings.open:
        webbrowser.open(address)
    try:
        server.start()  # forgets pages that were closed
        server.io_loop.start()
    except KeyboardInterrupt:
        info("stopped")
    finally:
        server.stop()


def _prepare(
    map_path: Path, settings: ExploreSettings
) -> "tuple[Callable[..., tuple[Any, str]], Inputs]":
    """Return what starts the server, and what it shows."""
    # All objects that are made here stay. Looking for cycles among them took .3 s.
    gc.disable()
    try:
        with ThreadPoolExecutor(1) as pool:
            # The map is read while Panel is imported: each takes a large part of a second.
            reading = pool.submit(_open_inputs, map_path, settings)
            return _import_server(), reading.result()
    finally:
        gc.freeze()
        gc.enable()


def _import_server() -> "Callable[..., tuple[Any, str]]":
    try:
        from phenomae.explorer.server import start_server
    except ImportError as error:
        if error.name not in ("panel", "bokeh", "param", "tornado"):
            raise
        raise ValueError(
            f"explore needs the package {error.name}: pip install 'phenomae[explore]'"
        ) from None
    return start_server


def _open_inputs(map_path: Path, settings: ExploreSettings) -> "Inputs":
    from phenomae.explorer.inputs import Inputs

    inputs = Inputs.open(
        map_path,
        store=settings.store,
        wells=settings.wells,
        annotations=settings.annotations,
        clusters=settings.clusters,
        compare=settings.compare,
        tokens=settings.tokens,
        k=settings.k,
        make_reconstructor=_reconstructor_of(settings.run),
    )
    inputs.prepare()
    return inputs


def _reconstructor_of(
    run: PathLike | None,
) -> "Callable[[Store], Reconstructor] | None":
    """Return what loads the network once the store is open; None without a run."""
    if run is None:
        return None
    from phenomae.probes.reconstruct import Reconstructor

    return lambda store: Reconstructor(run, store)
