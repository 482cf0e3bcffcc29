"""`phenomae explore --export FOLDER`: what is on a map as files that any web server can serve.

The page has one script, which is ours, asks no other machine for anything, and needs no phenomae.
"""

import base64
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from phenomae.artefacts import artefact_folder
from phenomae.cores import available_cores
from phenomae.evaluation.annotations import hash_annotations
from phenomae.explorer.assets import read_asset
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.site_data import Pictures, SiteData, path_of_picture
from phenomae.outputs import Output
from phenomae.paths import PathLike
from phenomae.progress import count_of, info, tracked
from phenomae.reporting.evidence.cells import Cells
from phenomae.signatures import Origin, list_files
from phenomae.whole_files import write_bytes

KIND = "explorer-site"
SIDE = 240
"""Side of a picture in pixels of the store, which are not scaled."""
_QUALITY = 85  # of JPEG: 8 to 15 kB a picture


class Site(Output):
    """A folder for a web server, as `explore --export` writes it."""

    def counts(self) -> str:
        """Return the number of files."""
        return count_of(sum(1 for _ in list_files(self.path)), "file")


def export_site(inputs: Inputs, out: PathLike, *, overwrite: bool = False) -> Site:
    """Write a folder that shows neighbors, known pairs and pictures of all names of a map.

    Any web server can serve it, also from a path below its root: `python -m http.server` in the
    folder does. It has `index.html`, `site.js`, `layout.svg`, answers as JSON in `data`, and with a
    store `pictures` of a field of each name and of controls of the same plates. Files are named by
    numbers, not by names of the map.

    Parameters
    ----------
    inputs
        The map, and what is given with it (`Inputs.open`).
    out
        Folder to write. A stopped call continues where it was.
    overwrite
        Replace `out` if it was made of other inputs.

    Raises
    ------
    ValueError
        If `out` was made of other inputs, or by another command, or an input cannot be read.
    """
    with artefact_folder(Path(out), _origin(inputs), overwrite) as folder:
        if folder is not None:
            inputs.warm_up()  # raises before pictures are written, if there are too few controls
            pictures = _choose_pictures(inputs)
            if inputs.on_map.cells is not None:
                _write_pictures(folder, inputs.on_map.cells, pictures)
            for path, content in [*_page(inputs), *SiteData(inputs, pictures).files()]:
                _write(folder / path, content)
            info(f"{out}: serve it with any web server, such as python -m http.server -d {out}")
    return Site(Path(out))


def _origin(inputs: Inputs) -> Origin:
    finder = inputs.finder
    sources = {"map": inputs.on_map.profiles.identity}
    if finder.wells is not None:
        sources["wells"] = finder.wells.profiles.identity
    if finder.annotations:
        sources["annotations"] = hash_annotations(finder.annotations)
    if inputs.on_map.store is not None:
        sources |= inputs.on_map.store.sources
    settings = {
        "title": inputs.path.name,
        "k": finder.k,
        "draws": finder.draws,
        "seed": finder.seed,
        "side": SIDE,
    }
    return Origin(KIND, settings, sources)


def _choose_pictures(inputs: Inputs) -> Pictures:
    """Return the field of each name, and a control beside it; nothing without a store."""
    if inputs.on_map.cells is None:
        return {}
    shown = {row: inputs.on_map.cells.of(name) for row, name in enumerate(inputs.names)}
    return {row: (first[0].field, first[0].control) for row, first in shown.items() if first}


def _write_pictures(folder: Path, cells: Cells, pictures: Pictures) -> None:
    """Write the pictures that are not there yet."""
    fields = sorted({field for both in pictures.values() for field in both if field is not None})
    missing = [field for field in fields if not (folder / path_of_picture(field)).exists()]

    def write(field: int) -> None:
        _write(folder / path_of_picture(field), encode_jpeg(cells.draw(field, SIDE)))

    with ThreadPoolExecutor(available_cores()) as pool:
        for _ in tracked(pool.map(write, missing), "pictures", len(missing), "fields"):
            pass


def encode_jpeg(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return a JPEG with all of its colors: the customary halving smears those of channels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


def _page(inputs: Inputs) -> Iterator[tuple[str, bytes]]:
    """Yield the page and its script, which has the table of the app in it."""
    # The table of the app is in a shadow tree, and here an element of a class.
    css = read_asset("page.css") + read_asset("table.css") + read_asset("site.css")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        f"style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    html = environment.from_string(read_asset("site.html")).render(
        heading=inputs.path.name,
        about=inputs.about,
        layout=inputs.layout.description,
        policy=policy,
        css=Markup(css),
    )
    yield "index.html", html.encode()
    yield "site.js", (read_asset("table.js") + read_asset("site.js")).encode()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
