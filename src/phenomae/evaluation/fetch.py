"""The command `annotations fetch`: the public lists of known pairs, into the user's cache."""

import hashlib
import os
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from phenomae.artefacts import whole_file
from phenomae.progress import info, tracked

PLACE = "https://raw.githubusercontent.com/recursionpharma/EFAAR_benchmarking"
FOLDER = "efaar_benchmarking/benchmark_annotations"
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Listed:
    """One file of the public EFAAR benchmark, as of one commit."""

    name: str
    commit: str
    checksum: str
    """SHA-256."""
    licence: str


FILES = (
    Listed(
        "CORUM.txt",
        "2df17070e43d3ede7ecd0d14301c04828420b6ab",
        "edaafc77a184ef452996d211e9fe1699615315a36e1efc9d602042c06168a695",
        "CC BY-NC 4.0: not for commercial use",
    ),
    Listed(
        "CORUM_clusters.tsv",
        "03801df7553b442512d28f99a94eed2d967e4fa7",
        "caab1d3db6fa694c001f41e2973492d248ea3936a1249be3bf497648071f5c99",
        "CC BY-NC 4.0: not for commercial use",
    ),
    Listed(
        "HuMAP.txt",
        "104143a065e6208e738e88df4ac65a0c423b8271",
        "6d08074df77f1a7274e754bc6e5e29aa438004bec0a13cbfb934c2c81328f3c4",
        "CC BY 4.0",
    ),
    Listed(
        "Reactome.txt",
        "104143a065e6208e738e88df4ac65a0c423b8271",
        "ed3cd0fc32d2fe3510f167e9df39668bc9637348d78787615d3f970b2b862e70",
        "CC0 1.0",
    ),
    Listed(
        "SIGNOR.txt",
        "71ab9a28b550ddc6b10caf4a58b697577cae1622",
        "00525d3a90198378b54c5c3093374d5c9ee0550bbd799f06b443512a465bcad3",
        "CC BY-NC 4.0: not for commercial use",
    ),
    Listed(
        "StringDB.txt",
        "2df17070e43d3ede7ecd0d14301c04828420b6ab",
        "7955c846a551530c07b1eb508404cf15ef0b77ea39ad2368ed40c5c099dedb8c",
        "CC BY 4.0",
    ),
)


def fetch(folder: Path | None = None, /, *, place: str = PLACE) -> None:
    """Get the public lists of known pairs, as the EFAAR benchmark prepared them.

    CORUM, hu.MAP, Reactome, SIGNOR and StringDB, and the complexes of CORUM: 4 MB. Every file is
    checked against its checksum, and its licence is printed. Files that are there are not fetched
    again.

    Parameters
    ----------
    folder
        Where to put them; ~/.cache/phenomae/annotations (or below XDG_CACHE_HOME) if not given.
    place
        Address of a mirror that holds COMMIT/efaar_benchmarking/benchmark_annotations/FILE; http,
        https or file.

    Raises ValueError where a file cannot be got, or is not the one that is expected.
    """
    folder = default_folder() if folder is None else folder
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder for the lists")
    folder.mkdir(parents=True, exist_ok=True)
    for file in tracked(FILES, "fetch", len(FILES), "files"):
        path = folder / file.name
        if not path.is_file() or _checksum(path.read_bytes()) != file.checksum:
            content = _download(f"{place.rstrip('/')}/{file.commit}/{FOLDER}/{file.name}", file)
            with whole_file(path) as partial:
                partial.write_bytes(content)
    for file in FILES:
        print(f"{folder / file.name}  {file.licence}")
    info(f"phenomae benchmark MAP.h5ad RESULTS --annotations {folder}")


def default_folder() -> Path:
    """Return where `fetch` puts the files that no folder is named for."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "phenomae" / "annotations"


def _download(address: str, file: Listed) -> bytes:
    if urlsplit(address).scheme not in ("http", "https", "file"):
        raise ValueError(f"--place: {address} is no address: expected http, https or file")
    try:
        with urlopen(address, timeout=_TIMEOUT_S) as answer:
            content = answer.read()
    except (OSError, HTTPException) as error:
        raise ValueError(
            f"{address} cannot be got: {error}; on a machine without a network, bring a folder of "
            "such files from another one"
        ) from None
    if _checksum(content) != file.checksum:
        raise ValueError(
            f"{address} is not the {file.name} that is expected: its SHA-256 is "
            f"{_checksum(content)}, not {file.checksum}"
        )
    return content


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
