"""Fetches published weights from the hub, into the hub's own cache."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] (of whichever httpx the library has)
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars, logging

from phenomae.progress import info, is_quiet
from phenomae.weights.licence import CARD

_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_hub_id(text: str) -> bool:
    """Say whether a text could name a repository on the hub: OWNER/NAME."""
    return _ID.fullmatch(text) is not None


def fetch(repository: str, files: tuple[str, ...]) -> tuple[Path, str]:
    """Return a folder that holds files of a repository, and their commit.

    The model card comes with them where there is one. What was fetched before is taken from the
    hub's cache, also where the hub cannot be reached. Raises ValueError where the hub does not
    know the repository or a file, does not give it, or cannot be reached.
    """
    info(f"fetching {repository} from the hub")
    first, *rest = files
    with _in_our_voice():
        paths = [_fetch(repository, first), _fetch(repository, CARD, needed=False)]
        paths += [_fetch(repository, name) for name in rest]
    folders = {path.parent for path in paths if path is not None}
    if len(folders) > 1:
        raise ValueError(f"{repository} changed on the hub as it was fetched: try again")
    (folder,) = folders
    return folder, folder.name


def _fetch(repository: str, name: str, needed: bool = True) -> Path | None:
    try:
        return Path(hf_hub_download(repository, name))
    except GatedRepoError:
        raise ValueError(
            f"{repository}: the hub gives it to those alone who accepted its terms there and are "
            "logged in"
        ) from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"{repository}: there is no such folder, and the hub has no such repository or keeps "
            "it private"
        ) from None
    except EntryNotFoundError as error:
        if not needed:
            return None  # or out of reach: then so is what comes after it
        if isinstance(error, RemoteEntryNotFoundError):
            raise ValueError(f"{repository}: the hub has no {name} there") from None
        raise ValueError(
            f"{repository}: there is no such folder, the hub cannot be reached, and {name} was not "
            "fetched before"
        ) from None
    except HFValidationError as error:
        raise ValueError(f"{repository} is no name of a repository: {error}") from None
    except (HTTPError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's: a full disk, a cache that cannot be written
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{repository}: {name} could not be fetched: {first}") from None


@contextmanager
def _in_our_voice() -> Iterator[None]:
    """Keep the library's warnings to itself, and its progress bars too with `--quiet`."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with disable_progress_bars() if is_quiet() else nullcontext():
            yield
    finally:
        logging.set_verbosity(level)
