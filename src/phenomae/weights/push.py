"""`phenomae weights push`: uploads exported weights to the Hugging Face hub, by its own client.

Objects are addressed by their SHA-256: a repeated upload sends only what the hub does not have.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] (of whichever httpx the library has)
    RepositoryNotFoundError,
)

from phenomae import __version__
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.signatures import SIGNATURE, read_verified
from phenomae.weights.hub import is_hub_id, quiet_library
from phenomae.weights.io import KIND
from phenomae.weights.licence import CARD

PREFIX = "hf:"
_REFUSED = {
    401: "the hub does not accept the token: log in again with hf auth login",
    403: "the token may not do this: it needs the right to write to {repository}",
    409: "another commit was made meanwhile: run the command again",
    413: "a file is larger than the hub takes",
    429: "the hub limits the number of requests: run the command again later",
}


def push_weights(weights: PathLike, repository: str, /, *, public: bool = False) -> str:
    """Upload exported weights to the Hugging Face hub, and return the address of the commit.

    Visibility, files and sizes are printed before anything is uploaded. A repository that does not
    exist is created, private unless `public`; one that exists keeps its visibility and the files
    that are not replaced. The token is that of `hf auth login` or of the environment variable
    HF_TOKEN. After an interruption, the same command sends what is missing.

    Parameters
    ----------
    weights
        Folder that `weights export` wrote.
    repository
        Where to: hf:OWNER/NAME.
    public
        Create the repository so that everyone can read it.

    Raises
    ------
    ValueError
        If `weights` is not such a folder or is damaged, `repository` is no address, there is no
        token, or the hub refuses the upload or cannot be reached.
    """
    folder, name = Path(weights), repository.removeprefix(PREFIX)
    if not repository.startswith(PREFIX) or not is_hub_id(name):
        raise ValueError(f"repository must be {PREFIX}OWNER/NAME, not {repository}")
    files = _list_files(folder)
    if get_token() is None:
        raise ValueError("there is no token of the hub: run hf auth login, or set HF_TOKEN")
    api = HfApi(library_name="phenomae", library_version=__version__)
    with _one_sentence(name), quiet_library():
        exists = _announce(api, name, folder, files, public)
        if not exists:
            api.create_repo(name, private=not public, exist_ok=True)
        operations = [CommitOperationAdd(file, folder / file) for file in files]
        message = f"Upload weights exported by phenomae {__version__}"
        done = api.create_commit(name, operations, commit_message=message)
    info(f"uploaded: {done.commit_url}")
    return done.commit_url


def _list_files(folder: Path) -> list[str]:
    """Return the verified files of an export; raises ValueError if `folder` is none."""
    signature = read_verified(folder, KIND)
    files = signature["files"] or {}
    if signature["settings"].get("layout") != "public" or CARD not in files:
        raise ValueError(
            f"{folder} has no model card ({CARD}): export the weights with phenomae weights export"
        )
    return [*sorted(files), SIGNATURE]


def _announce(api: HfApi, name: str, folder: Path, files: Sequence[str], public: bool) -> bool:
    """Print what is uploaded and who can read it; return whether the repository exists."""
    try:
        found: Any = api.model_info(name)
    except RepositoryNotFoundError as error:
        if _status(error) == 401:  # of a token that is not valid
            raise
        exists, visibility = False, "new, public" if public else "new, private"
    else:
        exists, visibility = True, "exists, private" if found.private else "exists, public"
    info(f"uploading {folder} to {api.endpoint}/{name} ({visibility}):")
    for file in files:
        info(f"  {file}, {(folder / file).stat().st_size:,} bytes")
    return exists


@contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    """Raise ValueError with one sentence for the errors of huggingface_hub."""
    try:
        yield
    except HFValidationError as error:
        raise ValueError(f"{name} is not the name of a repository: {error}") from None
    # ValueError is raised for an answer that is no JSON, and for a card that the hub refuses.
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # by the operating system: a file that cannot be read
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        reason = _REFUSED.get(_status(error), f"{first}; run the same command again to go on")
        where = f"{name} cannot be uploaded"
        # Not `format`: the message of the library can have braces.
        raise ValueError(f"{where}: {reason.replace('{repository}', name)}") from None


def _status(error: Exception) -> int:
    response = error.response if isinstance(error, HfHubHTTPError) else None
    return 0 if response is None else response.status_code
