"""Finds the folder of weights that a text means: a folder, or a repository on the hub."""

from dataclasses import dataclass
from pathlib import Path

from phenomae.paths import PathLike
from phenomae.weights.hub import fetch, is_hub_id
from phenomae.weights.io import CONFIG, TENSORS


@dataclass(frozen=True)
class WeightsOrigin:
    """Where weights come from."""

    folder: Path
    """The folder that holds them; of a repository, the hub's cache."""
    name: str
    """The folder's name, or OWNER/NAME on the hub."""
    revision: str | None
    """The commit on the hub; None for a folder."""


def find_weights(source: PathLike) -> WeightsOrigin:
    """Return where the weights `source` are: a folder, else OWNER/NAME, fetched from the hub.

    Raises ValueError if it is neither, or cannot be fetched.
    """
    folder = Path(source)
    if folder.is_dir():  # a folder comes first, so that no network is needed to use one
        return WeightsOrigin(folder, folder.resolve().name, None)
    if folder.exists():
        raise ValueError(f"{source} is a file: give the folder with {CONFIG} and {TENSORS}")
    if not is_hub_id(str(source)):
        raise ValueError(f"{source}: there is no such folder, and it is no OWNER/NAME on the hub")
    fetched, commit = fetch(str(source), (CONFIG, TENSORS))
    return WeightsOrigin(fetched, str(source), commit)
