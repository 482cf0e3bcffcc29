"""The command `annotations fetch`: downloads the public lists of known relationships.

Every file is pinned to a commit and a checksum, because a list that changes upstream would make
results incomparable with earlier results.
"""

import hashlib
import os
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from phenomae.outputs import Output
from phenomae.paths import PathLike
from phenomae.progress import info, tracked
from phenomae.whole_files import whole_file

PLACE = "https://raw.githubusercontent.com/recursionpharma/EFAAR_benchmarking"
FOLDER = "efaar_benchmarking/benchmark_annotations"
_TIMEOUT_S = 60  # without a timeout, urlopen waits forever for a server that stops answering


@dataclass(frozen=True)
class PublicFile:
    """One file of the public EFAAR benchmark at one commit."""

    name: str
    commit: str
    checksum: str
    """SHA-256 of the file, in hexadecimal."""
    licence: str


FILES = (
    PublicFile(
        "CORUM.txt",
        "2df17070e43d3ede7ecd0d14301c04828420b6ab",
        "edaafc77a184ef452996d211e9fe1699615315a36e1efc9d602042c06168a695",
        "CC BY-NC 4.0: not for commercial use",
    ),
    PublicFile(
        "CORUM_clusters.tsv",
        "03801df7553b442512d28f99a94eed2d967e4fa7",
        "caab1d3db6fa694c001f41e2973492d248ea3936a1249be3bf497648071f5c99",
        "CC BY-NC 4.0: not for commercial use",
    ),
    PublicFile(
        "HuMAP.txt",
        "104143a065e6208e738e88df4ac65a0c423b8271",
        "6d08074df77f1a7274e754bc6e5e29aa438004bec0a13cbfb934c2c81328f3c4",
        "CC BY 4.0",
    ),
    PublicFile(
        "Reactome.txt",
        "104143a065e6208e738e88df4ac65a0c423b8271",
        "ed3cd0fc32d2fe3510f167e9df39668bc9637348d78787615d3f970b2b862e70",
        "CC0 1.0",
    ),
    PublicFile(
        "SIGNOR.txt",
        "71ab9a28b550ddc6b10caf4a58b697577cae1622",
        "00525d3a90198378b54c5c3093374d5c9ee0550bbd799f06b443512a465bcad3",
        "CC BY-NC 4.0: not for commercial use",
    ),
    PublicFile(
        "StringDB.txt",
        "2df17070e43d3ede7ecd0d14301c04828420b6ab",
        "7955c846a551530c07b1eb508404cf15ef0b77ea39ad2368ed40c5c099dedb8c",
        "CC BY 4.0",
    ),
)


class Annotations(Output):
    """A folder of annotation files, for `BenchmarkSettings.annotations`."""


def fetch_annotations(folder: PathLike | None = None, /, *, place: str = PLACE) -> Annotations:
    """Download the public lists of known relationships, as prepared by the EFAAR benchmark.

    The lists are CORUM (pairs and complexes), hu.MAP, Reactome, SIGNOR and StringDB, 4 MB in total.
    Every file is verified by its checksum, and its licence is printed. Files that are already in
    the folder with the expected checksum are not downloaded again.

    Parameters
    ----------
    folder
        Folder to write the files to, by default phenomae/annotations in XDG_CACHE_HOME or ~/.cache.
    place
        URL (http, https or file) of a mirror that serves
        COMMIT/efaar_benchmarking/benchmark_annotations/FILE.

    Raises ValueError if a file cannot be downloaded or has another checksum.
    """
    folder = default_folder() if folder is None else Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give a folder for the annotation files")
    folder.mkdir(parents=True, exist_ok=True)
    # Verified files are kept, so that the command continues an interrupted download.
    for file in tracked(FILES, "fetch", len(FILES), "files"):
        path = folder / file.name
        if not path.is_file() or _checksum(path.read_bytes()) != file.checksum:
            content = _download(f"{place.rstrip('/')}/{file.commit}/{FOLDER}/{file.name}", file)
            with whole_file(path) as partial:
                partial.write_bytes(content)
    # Printed for every file, because the lists of CORUM and SIGNOR exclude commercial use.
    for file in FILES:
        print(f"{folder / file.name}  {file.licence}")
    info(f"phenomae benchmark MAP.h5ad RESULTS --annotations {folder}")
    return Annotations(folder)


def default_folder() -> Path:
    """Return the folder that `fetch_annotations` uses by default."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "phenomae" / "annotations"


def _download(address: str, file: PublicFile) -> bytes:
    # Checked here, because the error of urlopen does not name the setting.
    if urlsplit(address).scheme not in ("http", "https", "file"):
        raise ValueError(f"place: {address} is not a URL: expected http, https or file")
    try:
        with urlopen(address, timeout=_TIMEOUT_S) as response:
            content = response.read()
    except (OSError, HTTPException) as error:
        raise ValueError(
            f"{address} cannot be downloaded: {error}; without a network, copy the folder from "
            "another machine"
        ) from None
    if _checksum(content) != file.checksum:
        raise ValueError(
            f"{address} is not the expected {file.name}: its SHA-256 is {_checksum(content)}, not "
            f"{file.checksum}"
        )
    return content


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
