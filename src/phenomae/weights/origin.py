"""Finds weights by the name of a folder or of a repository on the hub."""

from dataclasses import dataclass
from pathlib import Path

from phenomae.paths import PathLike
from phenomae.weights.hub import fetch, is_hub_id
from phenomae.weights.io import CONFIG, TENSORS


@dataclass(frozen=True)
class WeightsOrigin:
    """The place where weights were found."""

    folder: Path
    """The folder with the weights; for a repository, the folder in the cache."""
    name: str
    """The folder's name, or OWNER/NAME on the hub."""
    revision: str | None
    """The commit on the hub; None for a folder."""


def find_weights(source: PathLike) -> WeightsOrigin:
    """Return the place of the weights `source`: a folder, or OWNER/NAME, fetched from the hub.

    Raises ValueError if `source` is neither, or cannot be fetched.
    """
    folder = Path(source)
    # A folder comes first, so that a folder OWNER/NAME can be used without internet access.
    if folder.is_dir():
        return WeightsOrigin(folder, folder.resolve().name, None)
    if folder.exists():
        raise ValueError(f"{source} is a file: give the folder with {CONFIG} and {TENSORS}")
    if not is_hub_id(str(source)):
        raise ValueError(f"{source}: there is no such folder, and it is no OWNER/NAME on the hub")
    fetched, commit = fetch(str(source), (CONFIG, TENSORS))
    return WeightsOrigin(fetched, str(source), commit)
