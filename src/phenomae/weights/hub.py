"""Fetches published weights from the Hugging Face hub into the cache of huggingface_hub.

huggingface_hub raises a dozen classes of errors; `fetch` raises ValueError with one sentence.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] (of whichever httpx the library has)
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars, logging

from phenomae.progress import info, is_quiet
from phenomae.weights.licence import CARD


class NotOnHub(ValueError):  # noqa: N818
    """Raised when a repository of the hub does not have a file."""


class HubNotReached(ValueError):  # noqa: N818
    """Raised when the hub cannot be reached, and the cache does not tell about a file."""


_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_hub_id(text: str) -> bool:
    """Return whether a text has the form of a repository's name on the hub: OWNER/NAME."""
    return _ID.fullmatch(text) is not None


def fetch(
    repository: str,
    files: tuple[str, ...],
    revision: str | None = None,
    optional: tuple[str, ...] = (),
) -> tuple[Path, str]:
    """Return a folder with `files` of a repository and its model card, if any, and the commit.

    `revision` is a branch, tag or commit (None: the main branch), and `optional` are files that are
    fetched if the repository has them. If the hub cannot be reached, files that were fetched before
    are taken from the cache, which also knows the files that the repository lacks. Raises
    ValueError if the hub does not have the repository or a file (NotOnHub), or denies access, or if
    the hub cannot be reached and a file is not in the cache (HubNotReached).
    """
    info(f"fetching {repository} from the hub")
    # The card comes second: if the hub cannot be reached, the error should name a required file.
    first, *rest = files
    with quiet_library():
        paths = [_fetch(repository, first, revision)]
        with suppress(NotOnHub, HubNotReached):
            paths.append(_fetch(repository, CARD, revision))
        for name in optional:
            with suppress(NotOnHub):
                paths.append(_fetch(repository, name, revision))
        paths += [_fetch(repository, name, revision) for name in rest]
    # The cache has one folder per commit, so two folders mean two versions.
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        raise ValueError(f"{repository} changed on the hub while it was fetched: try again")
    (folder,) = folders
    return folder, folder.name


def _fetch(repository: str, name: str, revision: str | None = None) -> Path:
    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except GatedRepoError:
        raise ValueError(f"{repository} is gated: accept its terms on the hub and log in") from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"{repository}: there is no such folder, and on the hub no such repository, or it is "
            "private"
        ) from None
    except RevisionNotFoundError:
        raise ValueError(f"{repository} has no revision {revision} on the hub") from None
    except EntryNotFoundError as error:
        known = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(error, RemoteEntryNotFoundError) or known is _CACHED_NO_EXIST:
            raise NotOnHub(f"{repository} has no {name} on the hub") from None
        raise HubNotReached(
            f"{repository}: there is no such folder, the hub cannot be reached, and {name} is not "
            "in its cache"
        ) from None
    except HFValidationError as error:
        raise ValueError(f"{repository} is not the name of a repository: {error}") from None
    except (HTTPError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # by the operating system: a full disk, a cache without write permission
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{repository}: {name} cannot be fetched: {first}") from None


@contextmanager
def quiet_library() -> Iterator[None]:
    """Silence warnings of huggingface_hub, and its progress bars if this process is quiet."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with disable_progress_bars() if is_quiet() else nullcontext():
            yield
    finally:
        logging.set_verbosity(level)
